"""What lints report, and the table of all lints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

FIRST_ROWS = 5
"""Rows that a finding names."""
_LONGEST_QUOTE = 60


@dataclass(frozen=True, slots=True)
class Lint:
    """One entry of the table: what is found, why it harms, what to do, how bad it is at most."""

    what: str
    why: str
    fix: str
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found in one task.

    Args:
        task: name of the task.
        lint: a name of ``LINTS``.
        count: how many rows (examples, templates, columns) it holds for.
        of: of how many.
        detail: what was found, in a sentence or two.
        rows: the first few row numbers, positions from 0 in the rows that were given.
        severity: ``error``, ``warning`` or ``note``.
        fix: what to do.
        template: name of the template, for lints on templates.
    """

    task: str
    lint: str
    count: int
    of: int
    detail: str
    rows: tuple[int, ...]
    severity: Severity
    fix: str
    template: str = ""

    @property
    def where(self) -> str:
        """The task, with ``#template`` behind it where one is meant."""
        return f"{self.task}#{self.template}" if self.template else self.task


LINTS: dict[str, Lint] = {
    "label_entropy_zero": Lint(
        "Every row has the same answer.",
        "A model learns to ignore the input, and any score on the task says nothing.",
        "Add rows with other answers, or remove the task.",
        "error",
    ),
    "label_imbalance": Lint(
        "One label answers more than nine rows in ten.",
        "Always giving that label scores as high as a good model.",
        "Balance the labels, or score by a measure that weighs them equally.",
        "note",
    ),
    "conflicting_duplicates": Lint(
        "Rows with equal inputs accept no common answer.",
        "At most one of the answers can be learned, and an evaluation punishes the others.",
        "Correct the wrong rows, or accept all answers in one row's list.",
        "error",
    ),
    "repeated_inputs": Lint(
        "An input occurs in several rows with an answer in common.",
        "Repeated rows weigh more than others, and may lie on both sides of a split.",
        "Keep one of them.",
        "note",
    ),
    "empty_outputs": Lint(
        "Rows have no answer.",
        "They cannot be learned or scored.",
        "Write the expected output, or remove the rows.",
        "error",
    ),
    "answer_outside_options": Lint(
        "The answer is none of the options.",
        "The row asks for a choice that does not hold what it then teaches.",
        "Correct the answer or the options.",
        "error",
    ),
    "answer_outside_stated_space": Lint(
        "The definition names the allowed answers, and rows answer otherwise.",
        "Following the instruction is then punished.",
        "Correct the rows, or let the definition name all answers.",
        "warning",
    ),
    "example_is_instance": Lint(
        "An example of the task is also one of its rows.",
        "A prompt that shows it gives the row's answer away.",
        "Remove the row, or take another example.",
        "warning",
    ),
    "example_conflict": Lint(
        "An example contradicts the task.",
        "A demonstration that is wrong teaches the opposite of the definition.",
        "Correct the example.",
        "warning",
    ),
    "answer_in_input": Lint(
        "The answer stands at the end of the input, or is marked in it.",
        "The task can be solved by copying that place.",
        "Remove the answer from the inputs, unless copying is the task.",
        "note",
    ),
    "template_leaks_answer": Lint(
        "The prompt of a template shows the answer.",
        "A model learns to copy, and its score says nothing.",
        "Take the answer out of the prompt.",
        "error",
    ),
    "templates_alike": Lint(
        "Templates write the same prompts and answers.",
        "They count as several wordings and are one.",
        "Keep one of them, or word them differently.",
        "warning",
    ),
    "template_ignores_input": Lint(
        "The prompt of a template is the same for different rows.",
        "Nothing in it says which row is asked, so it cannot be answered.",
        "Show the columns that the answer depends on.",
        "warning",
    ),
    "template_without_answer": Lint(
        "A template writes no answer for some rows.",
        "These rows are lost to the template, or teach silence.",
        "Write an answer, or leave the rows out on purpose with a blank prompt as well.",
        "warning",
    ),
    "template_fails": Lint(
        "A template cannot be compiled, or fails on rows.",
        "These rows are lost to the template.",
        "Correct the template, or guard the expression with an {% if %}.",
        "error",
    ),
    "options_not_shown": Lint(
        "A prompt lists options without the right one.",
        "The row cannot be answered from its prompt.",
        "List every option once; shuffle by seed, not by a hand-written list of orders.",
        "error",
    ),
    "unused_columns": Lint(
        "Columns that no template reads.",
        "Something that the answer depends on may be missing from the prompts.",
        "Use them in a template, or drop them.",
        "note",
    ),
    "too_few_rows": Lint(
        "The task has a single row.",
        "It can be trained on or held out, not both, and no score of it is stable.",
        "Add rows, or join it to a task of the same kind.",
        "warning",
    ),
    "definition_missing": Lint(
        "The task has neither a definition nor a template.",
        "Unless the inputs say what to do, a model cannot know it.",
        "Write a definition or a template, unless the inputs are whole prompts.",
        "note",
    ),
    "mojibake": Lint(
        "Text was decoded with the wrong character set.",
        "The model learns the damage.",
        "Decode the source as UTF-8, or repair the rows.",
        "warning",
    ),
    "control_characters": Lint(
        "Text holds control characters or halves of surrogate pairs.",
        "They are invisible, split tokens, and cannot be written in every format.",
        "Remove them from the rows.",
        "warning",
    ),
}


def found(
    task: str,
    lint: str,
    rows: Sequence[int],
    of: int,
    detail: str,
    *,
    count: int | None = None,
    severity: Severity | None = None,
    template: str = "",
) -> Finding:
    """A finding with the table's fix; ``count`` is the number of rows unless it is given."""
    entry = LINTS[lint]
    return Finding(
        task=task,
        lint=lint,
        count=len(rows) if count is None else count,
        of=of,
        detail=detail,
        rows=tuple(rows[:FIRST_ROWS]),
        severity=severity or entry.severity,
        fix=entry.fix,
        template=template,
    )


def quote(text: str) -> str:
    """A text in quotes on one line, shortened to 60 characters."""
    line = " ".join(text.split())
    if len(line) > _LONGEST_QUOTE:
        line = line[: _LONGEST_QUOTE - 1] + "…"
    return repr(line)


def listed(texts: Sequence[str], most: int = 6) -> str:
    """Texts in quotes with commas, the first few."""
    return ", ".join(map(quote, texts[:most])) + (", …" if len(texts) > most else "")
