"""Lints on the examples of a task: against its rows, its options and one another."""

from __future__ import annotations

from collections.abc import Iterator

from regimen.instances.lints.columns import Columns, among, labels
from regimen.instances.lints.findings import Finding, Severity, found, listed, quote
from regimen.instances.lints.spaces import Space
from regimen.instances.words import normalise
from regimen.records import Example


def numbered(c: Columns) -> Iterator[tuple[str, Example]]:
    """The examples with the names that a lineage gives them: ``positive:1``."""
    for kind, examples in (("positive", c.task.positive), ("negative", c.task.negative)):
        for number, example in enumerate(examples, start=1):
            yield f"{kind}:{number}", example


def examples_among_rows(c: Columns) -> Iterator[Finding]:
    """Examples whose input is a row's."""
    at: dict[str, list[int]] = {}
    for i, text in enumerate(c.folded):
        if text:
            at.setdefault(text, []).append(i)
    shared = {name: at.get(normalise(e.input), []) for name, e in numbered(c)}
    names = [name for name, rows in shared.items() if rows]
    if names:
        rows = sorted({row for name in names for row in shared[name]})
        positive = any(name.startswith("positive") for name in names)
        severity: Severity = "warning" if positive else "note"
        detail = f"{', '.join(names[:6])} {'is a row' if len(names) == 1 else 'are rows'}"
        count, of = len(names), len(shared)
        yield found(
            c.task.name,
            "example_is_instance",
            rows,
            of,
            detail,
            count=count,
            severity=severity,
        )


def examples_against_task(c: Columns, space: Space | None) -> Iterator[Finding]:
    """Wrong examples that are right, right ones that are wrong."""
    accepted: dict[str, set[str]] = {}
    rows: dict[str, int] = {}
    inputs = {normalise(example.input) for _, example in numbered(c)}
    for i, (text, answers) in enumerate(zip(c.folded, c.answers, strict=True)):
        if text in inputs:
            accepted.setdefault(text, set()).update(map(_squeezed, answers))
            rows.setdefault(text, i)
    right = {key: set(values) for key, values in accepted.items()}
    for example in c.task.positive:
        right.setdefault(normalise(example.input), set()).add(_squeezed(example.output))
    problems: list[str] = []
    places: list[int] = []
    for name, example in numbered(c):
        key, output = normalise(example.input), _squeezed(example.output)
        problem = ""
        if name.startswith("negative"):
            if output in right.get(key, set()):
                problem = f"{name} is wrong, yet {quote(example.output)} is accepted for its input"
        elif (
            accepted.get(key) and not _among(output, accepted[key]) and labels(c.first) is not None
        ):
            problem = f"{name} answers {quote(example.output)}, its row otherwise"
        else:
            problem = _outside(c, space, name, example)
        if problem:
            problems.append(problem)
            places += [rows[key]] if key in rows else []
    if problems:
        of = len(c.task.positive) + len(c.task.negative)
        detail = "; ".join(problems[:3])
        count = len(problems)
        yield found(c.task.name, "example_conflict", sorted(places), of, detail, count=count)


def _squeezed(text: str) -> str:
    """The text with single spaces; case stays, as a wrong example may be wrong in case alone."""
    return " ".join(text.split())


def _among(output: str, accepted: set[str]) -> bool:
    return normalise(output) in set(map(normalise, accepted))


def _outside(c: Columns, space: Space | None, name: str, example: Example) -> str:
    """That a positive example is outside the options or the stated answers; else nothing.

    The stated answers count only where the rows keep to them: else they are read wrongly.
    """
    output = example.output
    if c.task.options and not among(output, c.task.options):
        return f"{name} answers {quote(output)}, which is none of {listed(c.task.options)}"
    short = len(normalise(output).split()) < 4
    if space is not None and short and not space.allows(output) and _keeps_to(c, space):
        return f"{name} answers {quote(output)}; the definition names {space}"
    return ""


def _keeps_to(c: Columns, space: Space) -> bool:
    allowed = sum(map(space.allows, c.first))
    return bool(c.first) and allowed > len(c.first) / 2
