"""What the evaluated items have to do with the training rows: the nearest, and contamination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from regimen import console
from regimen.evaluation.traces import Traces, trace
from regimen.records import Item
from regimen.reports.files import count_rows
from regimen.settings.pipeline import PipelineSettings
from regimen.stages.align_rows import learnt_from
from regimen.stages.raft import ROUND
from regimen.stages.tune import instances_path


def training_files(settings: PipelineSettings, root: Path) -> dict[str, Path]:
    """The files of instances and judged answers that a run learns from, by what they are called.

    Empty where they are not known: nothing of the run learns either.
    """
    built = root / "build" if settings.build is not None else None
    found: dict[str, Path] = {}

    def add(path: Path) -> None:
        inside = built is not None and path.parent == built
        found[f"build/{path.name}" if inside else str(path)] = path

    for section in settings.tunings.values():
        path = instances_path(section.data or built)
        if path is not None and section.objective == "supervised":
            add(path)
    if settings.align is not None and settings.align.method == "raft":
        for path in sorted((root / "align").glob(f"{ROUND.format('*')}/build/instances.parquet")):
            add(path)
    elif settings.align is not None:
        path = learnt_from(settings.align, built)
        if path is not None and path.is_file():
            add(path)
        replay = settings.align.replay
        replayed = None if replay is None else instances_path(replay.data or built)
        if replayed is not None:
            add(replayed)
    return found


def traced(items: Sequence[Item], files: Mapping[str, Path], k: int) -> Traces:
    """``trace``, with its progress shown."""
    rows = sum(count_rows(path) or 0 for path in files.values())
    with console.progress(2 * rows if k else rows, "nearest training rows", "rows") as bar:
        return trace(items, files, k, bar.advance)
