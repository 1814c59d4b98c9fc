"""The origin of an instance of a task: row, template, demonstrations, permutation, licence."""

from __future__ import annotations

from collections.abc import Sequence

from regimen.instances.licences import strictest
from regimen.instances.options import Shown
from regimen.records import Lineage, Row, Task, Template


def task_lineage(
    task: Task,
    number: int,
    row: Row,
    seed: int,
    *,
    template: Template | str,
    demonstrations: tuple[str, ...] = (),
    shown: Shown | None = None,
    permutation: tuple[int, ...] = (),
    position: int | None = None,
    variant: str = "",
    parents: Sequence[Row] = (),
) -> Lineage:
    """The lineage of one row of a task.

    Args:
        task: what it is a row of.
        number: of the row.
        row: the row; its column ``licence`` (or ``license``), a text or several, is one of its
            parents' terms.
        seed: of the formatting.
        template: the template, or the name of the encoding.
        demonstrations: their names, in the order shown.
        shown: the options as the engine showed them.
        permutation: of options that a template showed itself.
        position: place of the answer among the options shown, from 0.
        variant: what else was drawn of the formatting.
        parents: rows that are shown as demonstrations, whose licences hold too.
    """
    if shown is not None:
        permutation, position = shown.permutation, shown.position
    answered = () if position is None else (f"answer_at:{position + 1}/{len(permutation)}",)
    tags = {} if isinstance(template, str) else template.tags
    return Lineage(
        source=task.source,
        row=number,
        task=task.name,
        family=task.family,
        category=task.category,
        language=task.language,
        licence=_licence(task, tags.get("licence", ""), (row, *parents)),
        template=template if isinstance(template, str) else template.name,
        demonstrations=demonstrations,
        option_permutation=permutation,
        generator=tags.get("generator", ""),
        seed=seed,
        variant=variant,
        verdicts=answered,
    )


def _licence(task: Task, template: str, rows: Sequence[Row]) -> str:
    """The strictest of what rows, task and template say.

    Not known ("") where neither a row nor its task says anything: the terms of a template, or of
    another row, do not cover that row. A template without terms is the task's own.
    """
    said = {task.licence, template}
    for row in rows:
        own = _said(row)
        if not own and not task.licence:
            return ""
        said |= own
    said.discard("")
    return next(iter(said)) if len(said) == 1 else strictest(said)


def _said(row: Row) -> set[str]:
    """The licences that a row names."""
    own = row.get("licence", row.get("license"))
    values = own if isinstance(own, list | tuple) else (own,)
    return {value.strip() for value in values if isinstance(value, str)} - {""}
