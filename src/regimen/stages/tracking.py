"""What a training tells its trackers, and what happens when one of them fails.

A tracker never stops a training, not even before its first step: a training that goes on by itself
after an interruption must not hang on somebody's server. One that raises is told once, at once,
switched off for the rest of the training, and named in the run's summary; ``metrics.jsonl`` has
every line in any case. Which run of a tracker a training belongs to is kept in ``tracking.json``,
so that one that goes on continues its curves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from regimen import console
from regimen.errors import InterruptedRun
from regimen.runs import METRICS, TRACKING, Run
from regimen.settings.training import REPORTING, TrainingSettings
from regimen.stages.trackers import TRACKERS, Opening, Status, Tracker

NAMES = {"tokens_per_second": "tokens/s", "peak_memory_gib": "memory/max_alloc"}
"""Fields of ``metrics.jsonl`` that trackers know by another name; all others keep theirs."""


@dataclass(slots=True)
class Tracking:
    """The trackers of a training.

    Args:
        stage: named in messages.
        active: those that are open, by name.
        known: those whose run was there before this process.
        reported: the last step that an earlier process logged; trackers that were there have it.
        step: the last step that was logged.
        opened: all that could be opened.
        failed: what happened to those that raised, by name.
    """

    stage: str
    active: dict[str, Tracker] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    reported: int = 0
    step: int = 0
    opened: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def open(self, library: str, opening: Opening) -> None:
        """Open one tracker."""
        tracker = self._attempt(library, partial(TRACKERS[library], opening))
        if tracker is not None:
            self.active[library] = tracker
            self.opened.append(library)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand the values of a step to every tracker that has not had them."""
        self.step = step
        sent = {NAMES.get(name, name): float(value) for name, value in values.items()}
        for library, tracker in list(self.active.items()):
            had = library in self.known and step <= self.reported and not tracker.rewinds
            if not had:
                self._attempt(library, partial(tracker.log, sent, step))

    def close(self, status: Status) -> None:
        """Close every tracker."""
        trackers, self.active = self.active, {}  # one that fails now is not closed a second time
        for library, tracker in trackers.items():
            self._attempt(library, partial(tracker.close, status))

    def told(self) -> dict[str, str]:
        """``ok`` or what happened, for each tracker."""
        return {**dict.fromkeys(self.opened, "ok"), **self.failed}

    def _attempt(self, library: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:
            self._switch_off(library, error)
            return None

    def _switch_off(self, library: str, error: Exception) -> None:
        what = f"switched off at step {self.step}: {_words(error)}"
        tracker = self.active.pop(library, None)
        try:
            if tracker is not None:
                tracker.close("failed")
        except Exception as second:
            what += f"; it could not be closed either: {_words(second)}"
        self.failed[library] = what
        console.line(f"{self.stage}: {library} {what}; training goes on, {METRICS} has every line")


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__} {lines[0][:200]}".strip()


@contextmanager
def tracked(
    run: Run, training: TrainingSettings, *, seed: int, step: int, reported: int
) -> Iterator[Tracking]:
    """The trackers that the settings ask for, open inside the block.

    Args:
        run: of the stage; ``tracking.json`` in it names the trackers' runs.
        training: the stage's settings; they are logged once.
        seed: of the training.
        step: optimizer steps that are done.
        reported: the last step that an earlier process logged.
    """
    ids = _ids(run)
    libraries = tuple(dict.fromkeys(training.report_to))
    known = frozenset(ids) & frozenset(libraries)
    tracking = Tracking(run.stage, known=known, reported=reported, step=step)
    opening = Opening(
        directory=run.directory,
        name=training.run_name or f"{run.directory.parent.name}-{run.stage}",
        project=training.project or "",
        settings={**training.model_dump(mode="json", exclude=set(REPORTING)), "seed": seed},
        step=step,
    )
    for library in libraries:
        tracking.open(library, replace(opening, id=ids.get(library, "")))
    if libraries:
        ids |= {library: tracker.id for library, tracker in tracking.active.items()}
        run.write_json(TRACKING, ids)
    status: Status = "failed"
    try:
        yield tracking
        status = "finished"
    except InterruptedRun:
        status = "interrupted"
        raise
    finally:
        tracking.close(status)


def _ids(run: Run) -> dict[str, str]:
    """The runs of trackers that an interrupted process of this training left."""
    try:
        ids: dict[str, str] = json.loads(run.path(TRACKING).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return ids
