"""Settings of ``build.formatting``: formatting design, each variable alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from regimen.settings.base import Conflict, Count, Section, Share, Text

Encoding = Literal["definition", "template", "natural_instructions", "tk_instruct", "mixed"]
OptionLabels = Literal[
    "dash", "star", "line", "(A)", "A.", "A)", "(a)", "a.", "1.", "(1)", "(i)", "mixed"
]
Shots = Annotated[int, Field(ge=0, le=64)]
ShotCount = Shots | Annotated[tuple[Shots, ...], Strict(False), Field(min_length=1)]

_PUBLISHED = ("natural_instructions", "tk_instruct")
_UNWRITTEN = {
    "template": ("task_name", "avoid", "negative", "explanations", "reasons", "suggestions"),
    **dict.fromkeys(_PUBLISHED, ("reasons", "suggestions")),
}
"""What an encoding has no place for: set, it would change nothing."""


class FormattingSettings(Section):
    """How an instance of a task becomes a conversation."""

    encoding: Encoding = "definition"
    """``definition`` states the task, ``template`` asks by one of its templates,
    ``natural_instructions`` writes definition, input and output under headings as
    Super-NaturalInstructions does, ``tk_instruct`` draws one of the five encodings that Tk-Instruct
    mixes, ``mixed`` uses templates for ``template_share`` of the instances and definitions for the
    others."""

    definition: bool = True
    """Say the task's definition."""

    task_name: bool = False
    """Say the task's name before its definition."""

    avoid: bool = False
    """Say the things to avoid, for tasks that name some."""

    output_format: bool = False
    """Say what an answer looks like: the task's own hint, or its options."""

    order: Literal["definition_first", "input_first"] = "definition_first"
    """Where the definition stands: before the input, or after it. A small causal model finds it
    easier after it, because the words of the definition can then look at the input."""

    positive: ShotCount = 0
    """Positive demonstrations in a prompt; a list such as ``[0, 0, 1, 3]`` gives each instance one
    of its numbers, so that zero- and few-shot prompts are mixed."""

    negative: ShotCount = 0
    """Negative demonstrations in a prompt; a number or a list of numbers."""

    demonstrations: Literal["examples", "rows", "both"] = "examples"
    """Where demonstrations come from: the task's examples, its other rows, or both. Never the
    instance itself, nor a row with an equal input."""

    explanations: bool = False
    """Add to each demonstration why it is right or wrong."""

    reasons: bool = False
    """Add the reasons that the first Natural Instructions give for their examples."""

    suggestions: bool = False
    """Add how to mend a negative demonstration."""

    templates: Literal["one", "all"] | Count = "one"
    """Templates used for one row: one drawn by the seed, all of them, or this many."""

    template_pool: Count | None = None
    """Templates of each task that the build uses, drawn by the seed; all of them when not given.
    With ``inverted_share``, those that turn a task round are counted apart."""

    template_share: Share = 0.3
    """Share of the instances that ``mixed`` asks by a template."""

    instruction_language: Text = "own"
    """Language of definition and templates: ``own`` as the task has them, ``input`` that of the
    input, or a code such as ``es``. Rows of a task that has no such words are counted failures."""

    options: bool = True
    """Show the options of tasks and rows that have some."""

    option_order: Literal["given", "shuffled"] = "shuffled"
    """Order of the options: as given, or drawn for each instance."""

    option_labels: OptionLabels = "dash"
    """How options are listed, by the look of the first; ``mixed`` draws a style for each instance.
    Options that are labels themselves (``A``, ``1``) have none, nor have those that a template
    lists in its own way."""

    option_answer: Literal["label", "text", "both"] = "label"
    """What is learned where options have labels: the label, the option's text, or both."""

    reference: Literal["first", "random"] = "first"
    """Which of several accepted answers is learned."""

    inverted_share: Share | None = None
    """Share of the instances that are turned round: the output is given and the input is learned,
    by a template of that kind where the task has one. When not given, such templates are used like
    any other."""

    chain_of_thought: Literal["none", "before", "after", "reasoning"] = "none"
    """Where the rationale of rows that have one goes: before the answer, after it, or into the
    message's reasoning, which thinking templates render. Instances that are turned round have
    none: it leads to the output, which they are given."""

    chain_of_thought_share: Share = 1.0
    """Share of the rows with a rationale that show it."""

    max_characters: Annotated[int, Field(ge=16, le=10_000_000)] = 4000
    """Longest prompt in characters; demonstrations are left out until it fits."""

    max_tokens: Annotated[int, Field(ge=8, le=10_000_000)] | None = None
    """Longest prompt in tokens; demonstrations are left out until it fits. The query is always
    whole."""

    tokenizer: Text | None = None
    """Model folder or ``tokenizer.json`` that counts them; ``tune.model`` when not given."""

    def conflicts(self) -> Iterator[Conflict]:
        """Remarks belong to demonstrations; encodings have no place for some variables."""
        shown = self.positive or self.negative or self.encoding == "tk_instruct"
        for name in ("explanations", "reasons", "suggestions"):
            if getattr(self, name) and not shown:
                yield Conflict(
                    what="needs demonstrations, and there are none",
                    at=(name,),
                    fix="Set 'positive' or 'negative' too.",
                )
        for name in _UNWRITTEN.get(self.encoding, ()):
            if getattr(self, name):
                yield Conflict(
                    what=f"is nothing that the encoding {self.encoding} writes",
                    at=(name,),
                    fix="Remove it, or set encoding: definition or mixed.",
                )
        if self.order != "definition_first" and self.encoding in (*_PUBLISHED, "template"):
            yield Conflict(
                what=f"is not for the encoding {self.encoding}, which says where everything stands",
                at=("order",),
                fix="Remove it, or set encoding: definition or mixed.",
            )
        if self.encoding == "tk_instruct" and (self.positive or self.negative or self.explanations):
            yield Conflict(
                what="draws definition, demonstrations and explanations itself",
                at=("encoding",),
                fix="Remove 'positive', 'negative' and 'explanations', or choose another encoding.",
            )
        if self.template_pool is not None and self.encoding not in ("template", "mixed"):
            yield Conflict(
                what=f"is for templates, and the encoding {self.encoding} asks by none",
                at=("template_pool",),
                fix="Remove it, or set encoding: template or mixed.",
            )
        if self.tokenizer is not None and self.max_tokens is None:
            yield Conflict(
                what="counts tokens, and nothing bounds them",
                at=("tokenizer",),
                fix="Set 'max_tokens' too, or remove it.",
            )
