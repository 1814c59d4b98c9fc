"""The prompts of tasks: one function writes every prompt, for training and for evaluation."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from regimen.instances.options import BULLETS
from regimen.instances.wordings import wording
from regimen.records import Example, Task

Encoding = Literal["definition", "template", "natural_instructions", "tk_instruct", "mixed"]
Count = int | tuple[int, ...]

# The five encodings that Tk-Instruct mixes, each with the same chance (arXiv 2204.07705).
TK_INSTRUCT: tuple[Mapping[str, Any], ...] = (
    {"definition": True, "positive": 0, "negative": 0, "explanations": False},
    {"definition": False, "positive": 2, "negative": 0, "explanations": False},
    {"definition": True, "positive": 2, "negative": 0, "explanations": False},
    {"definition": True, "positive": 2, "negative": 2, "explanations": False},
    {"definition": True, "positive": 2, "negative": 0, "explanations": True},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormattingSpec:
    """Formatting design, each variable alone. ``settings.build.FormattingSettings`` explains them.

    ``positive`` and ``negative`` are numbers of demonstrations, or several numbers of which each
    row draws one: ``(0, 2)`` shows two to half of the rows. The labels are the scaffolding around
    demonstrations.
    """

    encoding: Encoding = "definition"
    definition: bool = True
    task_name: bool = False
    avoid: bool = False
    output_format: bool = False
    order: Literal["definition_first", "input_first"] = "definition_first"
    positive: Count = 0
    negative: Count = 0
    demonstrations: Literal["examples", "rows", "both"] = "examples"
    explanations: bool = False
    reasons: bool = False
    suggestions: bool = False
    templates: Literal["one", "all"] | int = "one"
    template_pool: int | None = None
    template_share: float = 0.3
    instruction_language: str = "own"
    options: bool = True
    option_order: Literal["given", "shuffled"] = "shuffled"
    option_labels: str = "dash"
    option_answer: Literal["label", "text", "both"] = "label"
    reference: Literal["first", "random"] = "first"
    inverted_share: float | None = None
    chain_of_thought: Literal["none", "before", "after", "reasoning"] = "none"
    chain_of_thought_share: float = 1.0
    max_characters: int = 4000
    max_tokens: int | None = None
    input_label: str = "Input: "
    output_label: str = "Output: "
    explanation_label: str = "Explanation: "
    reason_label: str = "Reason: "
    suggestion_label: str = "Suggestion: "
    negative_label: str = "Not like this. "


def told(task: Task, spec: FormattingSpec) -> list[str]:
    """What a prompt says of the task itself: name, definition, things to avoid, output format."""
    name = [f"{task.name}."] if spec.task_name else []
    parts = [task.definition] if spec.definition else []
    parts += [task.avoid] if spec.avoid else []
    parts += [output_hint(task, spec)] if spec.output_format else []
    return [*name, *(part.strip() for part in parts if part.strip())]


def output_hint(task: Task, spec: FormattingSpec) -> str:
    """What an answer looks like: as the task says, or one of its options as the row shows them."""
    if task.output_format.strip() or not task.options:
        return task.output_format.strip()
    phrases = wording(task.instruction_language)
    if spec.options and spec.option_labels not in BULLETS:
        by_label = {"label": phrases.label_of, "both": phrases.both_of}
        if spec.option_answer in by_label:
            return by_label[spec.option_answer]
    return f"{phrases.one_of} {', '.join(task.options)}"


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
        shown = replace(task, definition="\n".join(told(task, replace(spec, task_name=False))))
        prompt = natural_instructions(
            *(shown, text, positive, negative, spec.explanations),
            definition=bool(shown.definition),
        )
        return f"{task.name}. {prompt}" if spec.task_name else prompt
    said = told(task, spec)
    before, after = ([], said) if spec.order == "input_first" else (said, [])
    if not positive and not negative:
        query = [text] if text.strip() or not said else []
        return "\n".join([*before, *query, *after])
    lines = list(before)
    for heading, shown_examples in (("", positive), (spec.negative_label, negative)):
        for example in shown_examples:
            lines += _example(example, spec, heading)
    return "\n".join([*lines, f"{spec.input_label}{text}", *after, spec.output_label.rstrip()])


def _example(example: Example, spec: FormattingSpec, heading: str) -> list[str]:
    """The lines of a demonstration."""
    remarks = (
        (spec.explanations, spec.explanation_label, example.explanation),
        (spec.reasons, spec.reason_label, example.reason),
        (spec.suggestions, spec.suggestion_label, example.suggestion),
    )
    return [
        f"{heading}{spec.input_label}{example.input}",
        f"{spec.output_label}{example.output}",
        *(f"{label}{text}" for wanted, label, text in remarks if wanted and text),
    ]


def inverted_message(
    task: Task, answer: str, spec: FormattingSpec, positive: Sequence[Example] = ()
) -> str:
    """The prompt that gives an output and asks for an input (input inversion, arXiv 2301.13688)."""
    ask = wording(task.instruction_language).invert
    lines = [*told(task, replace(spec, output_format=False)), ask]
    for example in positive:
        lines += [f"{spec.output_label}{example.output}", f"{spec.input_label}{example.input}"]
    return "\n".join([*lines, f"{spec.output_label}{answer}", spec.input_label.rstrip()])


def natural_instructions(
    task: Task,
    text: str,
    positive: Sequence[Example] = (),
    negative: Sequence[Example] = (),
    explanations: bool = False,
    *,
    definition: bool = True,
) -> str:
    """The encoding of Super-NaturalInstructions (arXiv 2204.07705), byte for byte."""
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
            if explanations and example.explanation is not None:
                lines.append(_stopped(f" Explanation: {example.explanation.strip()}"))
            pieces.append("\n".join(lines) + "\n\n")
    query = _stopped(f"Input: {text.strip()}")
    return "".join(pieces) + f"Now complete the following example -\n{query}\nOutput: "


def _stopped(line: str) -> str:
    """A full stop at the end, unless there is (ASCII) punctuation."""
    return line if line[-1] in string.punctuation else line + "."
