"""Lints on what templates write for rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from regimen.instances.asking import Unanswerable, ask
from regimen.instances.draws import Draws
from regimen.instances.encodings import FormattingSpec
from regimen.instances.lints.findings import Finding, Severity, found, listed
from regimen.instances.lints.halves import Parts, loaded, parts_of, template_names
from regimen.instances.lints.rendered import Written, leaks, shown_options
from regimen.instances.lints.sources import alike, lint_sources
from regimen.instances.task_rows import accepted_outputs
from regimen.instances.templates import RenderFailure, Rendering, RenderJob, template_job
from regimen.instances.words import normalise
from regimen.records import Row, Task, Template

BATCH = 4096
_OWN_COLUMNS = {"input", "output", "options", "rationale", "id"}


class Render(Protocol):
    """Renders jobs; a failure takes its place in the list. ``TemplateWorker.render`` is one."""

    def __call__(self, jobs: Sequence[RenderJob]) -> Sequence[Rendering | RenderFailure]:
        """One rendering or failure per job, in order."""


_AS_GIVEN = FormattingSpec(option_order="given")
_MOST_LABELS = 200
"""A column of more different values names rows rather than labels."""


def unused_columns(task: Task, rows: Sequence[Row]) -> Iterator[Finding]:
    """Columns of the rows that no template reads; those that regimen reads itself do not count."""
    used = {name for template in task.templates for name in template_names(template)}
    counts = Counter(str(column) for row in rows for column in row)
    unused = [column for column in counts if column not in used | _OWN_COLUMNS]
    unused = [column for column in unused if not _became_another(column, rows)]
    if unused:
        detail = f"no template reads {listed(unused)}"
        yield found(task.name, "unused_columns", [], len(counts), detail, count=len(unused))


def _became_another(column: str, rows: Sequence[Row]) -> bool:
    """Whether a column stands again under a name that regimen reads, perhaps as label words."""
    values = [_text(row.get(column)) for row in rows]
    for own in _OWN_COLUMNS:
        others = [_text(row.get(own)) for row in rows]
        pairs = set(zip(values, others, strict=True))
        if all(one == other for one, other in pairs):
            return True
        one_to_one = len(pairs) == len({one for one, _ in pairs}) == len({two for _, two in pairs})
        if own == "output" and one_to_one and 1 < len(pairs) <= _MOST_LABELS:
            return True
    return False


def _text(value: object) -> str:
    return str(value[0] if isinstance(value, list | tuple) and len(value) == 1 else value)


def lint_templates(task: Task, render: Render, rows: Sequence[Row]) -> list[Finding]:
    """What is likely wrong with a task's templates: their sources, and what they write.

    Args:
        task: the task with its templates.
        render: ``TemplateWorker.render``.
        rows: rows that every template is rendered on; findings number them from 0. A template's
            draws (``choice``) are seeded by the number of the row.

    Time grows linearly with rows times templates.

    Raises:
        TemplateError: as ``render``.
    """
    return list(lint_rendered(task, render, list(enumerate(rows))))


def lint_rendered(
    task: Task, render: Render, numbered: Sequence[tuple[int, Row]]
) -> Iterator[Finding]:
    """As ``lint_templates``, for rows with numbers of their own."""
    static = lint_sources(task)
    yield from static
    known = {(finding.lint, finding.template) for finding in static}
    broken = {finding.template for finding in static if finding.lint == "template_fails"}
    texts: dict[str, tuple[object, ...]] = {}
    for template in task.templates:
        if template.name in broken or not numbered:
            continue
        written, failed = _render(task, template, render, numbered)
        yield from _failures(task, template, failed, len(numbered))
        for finding in _on_template(task, template, written, len(numbered)):
            if (finding.lint, template.name) not in known:
                yield finding
        if any(one.prompt.strip() for one in written):
            texts[template.name] = (_digest(written),)
    same = [group.template for group in static if group.lint == "templates_alike"]
    if not same:
        yield from alike(task, texts)


def _render(
    task: Task, template: Template, render: Render, numbered: Sequence[tuple[int, Row]]
) -> tuple[list[Written], list[tuple[int, RenderFailure]]]:
    written: list[Written] = []
    failed: list[tuple[int, RenderFailure]] = []
    for start in range(0, len(numbered), BATCH):
        batch: list[tuple[int, Row]] = []
        jobs = []
        for number, row in numbered[start : start + BATCH]:
            try:
                asked = ask(task, number, row, _AS_GIVEN, Draws(0, task.name, number))
            except Unanswerable:
                # no instance is made of it either; ``answer_outside_options`` counts it
                continue
            values = asked.values(row, task) if accepted_outputs(row) else row
            batch.append((number, row))
            jobs.append(template_job(template, values, seed=number))
        for (number, row), result in zip(batch, render(jobs), strict=True):
            if isinstance(result, RenderFailure):
                failed.append((number, result))
            else:
                prompt, answer = result.texts[0], result.texts[-1]
                folded = normalise(prompt), normalise(answer)
                written.append(Written(number, row, prompt, answer, tuple(result.options), *folded))
    return written, failed


def _digest(written: Sequence[Written]) -> str:
    """Of all prompts and answers, without differences of white space."""
    state = hashlib.blake2b(digest_size=16)
    for one in written:
        for text in (str(one.number), one.prompt, one.answer):
            state.update(" ".join(text.split()).encode("utf-8", "surrogatepass") + b"\0")
    return state.hexdigest()


def _failures(
    task: Task, template: Template, failed: Sequence[tuple[int, RenderFailure]], of: int
) -> Iterator[Finding]:
    """One finding for each error and message."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, failure in failed:
        groups.setdefault((failure.error, failure.got), []).append(number)
    for (error, got), rows in groups.items():
        detail = f"{error}: {got}"
        yield found(task.name, "template_fails", rows, of, detail, template=template.name)


def _on_template(
    task: Task, template: Template, written: Sequence[Written], of: int
) -> Iterator[Finding]:
    asked = [one for one in written if one.answer.strip()]
    yield from _blank(task, template, written, of)
    yield from _same_prompt(task, template, asked)
    yield from leaks(task, template, asked)
    yield from shown_options(task, template, asked)


def _blank(
    task: Task, template: Template, written: Sequence[Written], of: int
) -> Iterator[Finding]:
    """Blank answers; with a blank prompt as well the template leaves the row out on purpose."""
    silent = [one.number for one in written if one.prompt.strip() and not one.answer.strip()]
    left_out = [one.number for one in written if not one.prompt.strip() and not one.answer.strip()]
    if silent:
        detail = "a prompt with a blank answer"
        yield found(
            task.name, "template_without_answer", silent, of, detail, template=template.name
        )
    elif left_out:
        severity: Severity = "error" if len(left_out) == of else "note"
        detail = "prompt and answer are blank: the template leaves these rows out"
        yield found(
            task.name,
            "template_without_answer",
            left_out,
            of,
            detail,
            severity=severity,
            template=template.name,
        )


def _same_prompt(task: Task, template: Template, asked: Sequence[Written]) -> Iterator[Finding]:
    """One prompt for all rows, or the same for rows that differ in what it writes."""
    parts = parts_of(template)
    assert isinstance(parts, Parts)
    written = {name for expression in parts.prompt for name in loaded(expression)} or parts.reads
    shown: dict[str, set[str]] = {}
    whole: set[str] = set()
    numbers: dict[str, list[int]] = {}
    for one in asked:
        key = " ".join(one.prompt.split())
        values = [value for name, value in one.row.items() if name in written]
        shown.setdefault(key, set()).add(repr(values))
        # two rows that differ are enough
        if len(whole) < 2:
            whole.add(repr([v for name, v in one.row.items() if name != "output"]))
        numbers.setdefault(key, []).append(one.number)
    keys = [key for key, values in shown.items() if len(values) > 1]
    if len(shown) == 1 and len(whole) > 1 and not template.inverted:
        keys = list(shown)
    if keys:
        rows = sorted(number for key in keys for number in numbers[key])
        detail = f"{len(rows)} different rows share {len(keys)} prompt(s)"
        yield found(
            task.name,
            "template_ignores_input",
            rows,
            len(asked),
            detail,
            template=template.name,
        )
