"""Lints on rendered prompts: answers that a template shows, and options that it hides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from regimen.instances.lints.columns import among, next_others
from regimen.instances.lints.findings import Finding, Severity, found, listed, quote
from regimen.instances.lints.spaces import holds
from regimen.instances.words import normalise
from regimen.records import Row, Task, Template

SHORTEST_LEAK = 4
"""Characters of an answer that is no label, from which its place in a prompt is no chance."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a template wrote for one row: as rendered, and normalised."""

    number: int
    row: Row
    prompt: str
    answer: str
    options: tuple[str, ...]
    folded_prompt: str
    folded_answer: str


def leaks(task: Task, template: Template, asked: Sequence[Written]) -> Iterator[Finding]:
    """Answers that the template put into the prompt.

    The answer stands in the prompt of its row, in no column but the one that it is, and not in the
    prompt of the next row with another answer: so it is no wording of the template.
    """
    folded = [(one.folded_prompt, one.folded_answer) for one in asked]
    different = Counter(answer for _, answer in folded)
    if len(different) < 2:
        return
    labels = len(different) <= len(folded) / 2
    others = next_others([answer for _, answer in folded])
    rows = [
        one.number
        for one, (prompt, answer), other in zip(asked, folded, others, strict=True)
        if (len(answer) >= SHORTEST_LEAK or labels)
        and holds(prompt, answer)
        and not holds(folded[other][0], answer)
        and not _in_columns(one.row, answer)
        and not any(holds(normalise(option), answer) for option in one.options)
    ]
    if rows:
        i = next(i for i, one in enumerate(asked) if one.number == rows[0])
        detail = f"the prompt holds the answer {quote(asked[i].answer)}, which no input holds"
        yield found(
            task.name,
            "template_leaks_answer",
            rows,
            len(asked),
            detail,
            template=template.name,
        )


def _in_columns(row: Row, answer: str) -> bool:
    """Whether a column holds the answer as a part of it: then the prompt may quote that column.

    A column that is the answer itself does not count, but for the input, which is to be shown.
    """
    for column, value in row.items():
        if column == "output":
            continue
        for text in value if isinstance(value, list | tuple) else (value,):
            folded = normalise(str(text))
            if holds(folded, answer) and (folded != answer or column in ("input", "options")):
                return True
    return False


def shown_options(task: Task, template: Template, asked: Sequence[Written]) -> Iterator[Finding]:
    """Answers that are no option, and prompts that show options without the right one."""
    with_options = [one for one in asked if len(one.options) > 1]
    outside = [one for one in with_options if not among(one.answer, one.options)]
    if outside:
        first = outside[0]
        detail = f"{quote(first.answer)} is none of {listed(first.options)}"
        # a template none of whose answers is an option asks for more, such as a rationale
        every = len(outside) == len(with_options) > 1
        severity: Severity = "note" if every else "error"
        yield found(
            task.name,
            "answer_outside_options",
            [one.number for one in outside],
            len(with_options),
            detail,
            template=template.name,
            severity=severity,
        )
    marked = template.tags.get("choices_in_prompt", "").casefold() in ("true", "yes")
    hidden = [one for one in with_options if _hides(one, marked)]
    if hidden:
        first = hidden[0]
        detail = f"options are shown, the answer {quote(first.answer)} is not"
        yield found(
            task.name,
            "options_not_shown",
            [one.number for one in hidden],
            len(with_options),
            detail,
            template=template.name,
        )


def _hides(one: Written, marked: bool) -> bool:
    """Whether a prompt lists options, each on a line or all in the text, without the answer.

    Two others must be shown; where the template is known to show its options, one will do.
    """
    answer = one.folded_answer
    options = _folded(one.options)
    if answer not in options:
        return False
    others = [option for option in options if option != answer]
    need = 1 if marked else 2
    lines = {_without_mark(line) for line in _lines(one.prompt)} if "\n" in one.prompt else set()
    if sum(option in lines for option in others) >= max(need, 2):
        return answer not in lines
    prompt = one.folded_prompt
    return not holds(prompt, answer) and sum(holds(prompt, o) for o in others) >= need


@lru_cache(maxsize=1024)
def _folded(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(normalise, options))


def _lines(text: str) -> list[str]:
    """The lines of a text, each normalised."""
    return [normalise(line) for line in text.splitlines()]


def _without_mark(line: str) -> str:
    """A line without the mark of a list in front: ``-``, ``*``, ``(a)``, ``1.``."""
    head, _, rest = line.partition(" ")
    is_mark = len(head) < 5 and (not head.isalnum() or len(head) == 1)
    return rest if rest and is_mark else line
