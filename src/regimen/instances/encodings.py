"""The prompts of tasks: one function writes every prompt, for training and for evaluation."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from regimen.records import Example, Task

Encoding = Literal["definition", "template", "natural_instructions", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormattingSpec:
    """Formatting design, each variable alone.

    ``order`` says whether the definition stands before the input or after it, where everything that
    a causal model reads of it has seen the input already.
    ``positive`` and ``negative`` are numbers of demonstrations; ``few_shot_share`` of the instances
    carry one to three positive ones when ``positive`` is 0. ``template_share`` is what ``mixed``
    asks by a template. ``max_characters`` bounds a prompt: demonstrations give way to the query,
    which is always whole. The labels are the scaffolding around demonstrations.
    """

    encoding: Encoding = "definition"
    definition: bool = True
    order: Literal["definition_first", "input_first"] = "definition_first"
    positive: int = 0
    negative: int = 0
    explanations: bool = False
    templates: Literal["one", "all"] | int = "one"
    few_shot_share: float = 0.0
    template_share: float = 0.3
    max_characters: int = 4000
    input_label: str = "Input: "
    output_label: str = "Output: "
    explanation_label: str = "Explanation: "
    negative_label: str = "Not like this. "


def user_message(
    task: Task,
    text: str,
    spec: FormattingSpec,
    positive: Sequence[Example] = (),
    negative: Sequence[Example] = (),
) -> str:
    """The prompt of a task for one input: definition, demonstrations, query.

    Without demonstrations the query is the bare input under the definition: scaffolding costs
    tokens that a small model has to read.
    """
    if spec.encoding == "natural_instructions":
        return natural_instructions(
            task, text, positive, negative, spec.explanations, definition=spec.definition
        )
    told = [task.definition.strip()] if spec.definition and task.definition.strip() else []
    before, after = ([], told) if spec.order == "input_first" else (told, [])
    if not positive and not negative:
        query = [text] if text.strip() or not told else []
        return "\n".join([*before, *query, *after])
    lines = list(before)
    for heading, shown in (("", positive), (spec.negative_label, negative)):
        for example in shown:
            lines.append(f"{heading}{spec.input_label}{example.input}")
            lines.append(f"{spec.output_label}{example.output}")
            if spec.explanations and example.explanation:
                lines.append(f"{spec.explanation_label}{example.explanation}")
    return "\n".join([*lines, f"{spec.input_label}{text}", *after, spec.output_label.rstrip()])


def natural_instructions(
    task: Task,
    text: str,
    positive: Sequence[Example] = (),
    negative: Sequence[Example] = (),
    explanations: bool = False,
    *,
    definition: bool = True,
) -> str:
    """The encoding of Super-NaturalInstructions (arXiv 2204.07705), byte for byte.

    An example without an explanation has no explanation line; the published code, which looks for
    the key alone, writes one that is empty where the key is there and the text is not.
    """
    pieces = []
    if definition:
        pieces.append(_stopped(f"Definition: {task.definition.strip()}") + "\n\n")
    for kind, examples in (("Positive", positive), ("Negative", negative)):
        for number, example in enumerate(examples, start=1):
            lines = [
                f" {kind} Example {number} -",
                _stopped(f"Input: {example.input.strip()}"),
                _stopped(f" Output: {example.output.strip()}"),
            ]
            if explanations and example.explanation:
                lines.append(_stopped(f" Explanation: {example.explanation.strip()}"))
            pieces.append("\n".join(lines) + "\n\n")
    query = _stopped(f"Input: {text.strip()}")
    return "".join(pieces) + f"Now complete the following example -\n{query}\nOutput: "


def _stopped(line: str) -> str:
    """A full stop at the end, unless there is (ASCII) punctuation."""
    return line if line[-1] in string.punctuation else line + "."
