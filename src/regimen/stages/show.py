"""``show``: tasks in every encoding, conversations as a model reads them, pairs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regimen.errors import DataError, SettingsError
from regimen.stages.show_material import is_settings, read_tasks
from regimen.stages.show_preferences import pairs_to_show, show_preferences
from regimen.stages.show_tasks import LIMIT, show_tasks


def show(
    source: Path | str,
    model: str = "",
    *,
    number: int | None = None,
    mask: str = "assistant",
    task: str = "",
    row: int | None = None,
    seed: int | None = None,
    limit: int = LIMIT,
    trace: str = "",
) -> dict[str, Any]:
    """Show what a source holds: its tasks (``show_tasks``), pairs, else its conversations.

    Args:
        source: a file, a directory, ``starter:tasks``, or a settings file whose ``build`` names
            sources.
        model: a model or tokenizer folder; conversations need one.
        number: rows of a task, or pairs or conversations, to show; 1 and 3 unless given.
        mask: which turns are learnt, for conversations.
        task: the task to show; the first unless given.
        row: number of the first row to show; drawn by the seed unless given.
        seed: of all draws; that of the settings, or 0, unless given.
        limit: most rows of a task that are looked at for its coverage.
        trace: the id of a record, or its beginning; the source is then a run (``show_trace``).

    Raises:
        SettingsError: conversations without a model (``show-model``), no such task or row
            (``task-unknown``, ``row-unknown``), faults of a settings file, or as ``show_trace``.
        DataError: nothing to show (``no-tasks``, ``nothing-to-show``), or what cannot be read.
    """
    if trace:
        from regimen.stages.show_trace import show_trace

        return show_trace(Path(source), trace)
    needed = bool(task) or row is not None
    if not needed and not _is_settings_file(source):
        pairs = pairs_to_show(source)
        if pairs:
            return show_preferences(pairs, model, number=number or 3)
    try:
        material = read_tasks(source, seed, needed=needed, search=not model)
    except DataError as error:
        pairs = pairs_to_show(source, seed or 0) if error.slug == "no-tasks" and not needed else []
        if not pairs:
            raise
        return show_preferences(pairs, model, number=number or 3)
    if material is not None:
        return show_tasks(
            material, task=task, row=row, number=number or 1, limit=limit, model=model
        )
    if not model:
        raise SettingsError(
            "The source holds conversations, which are shown as a model reads them.",
            slug="show-model",
            got="no model",
            expected="--model with a folder of a model or tokenizer",
            fix=f"regimen show {source} --model FOLDER",
        )
    from regimen.stages.show_instances import show_instances

    shown: dict[str, Any] = show_instances(Path(source), model, number=number or 3, mask=mask)
    return shown


def _is_settings_file(source: Path | str) -> bool:
    return Path(source).is_file() and is_settings(Path(source))
