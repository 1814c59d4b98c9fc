"""The process of one cell of a study: ``python -m regimen.stages.study_cell CELL DIRECTORY``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from regimen.errors import RegimenError
from regimen.files import atomic_write, json_text
from regimen.manifests import read_manifest
from regimen.runs import METRICS, Run
from regimen.stages.study_scores import keep_scores
from regimen.studies.cells import FAILED, LINE, RESULT, SCORES, TIMES, USE, beside

GOES_ON = (LINE, "checkpoint-*", METRICS)
"""What an interrupted cell goes on from: its line of stages, or a training of its own."""

TRAININGS = ("tune", "align")
"""How the names of stages that train begin."""

ORPHAN_SECONDS = 1.0
STARTED = time.monotonic()


def pipeline(body: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Build, tune and evaluate by ordinary settings; the scores of every answer are kept.

    ``work`` holds ``settings``, ``stages`` and ``keep``: ``model`` where other cells start from
    it, ``items`` where others are asked its items, ``preferences`` and ``instances`` where others
    learn from them.
    ``{place:0}`` in a path is the directory of the first cell that this one needs. ``beside`` keeps
    more numbers of an answer (:func:`~regimen.stages.study_scores.keep_scores`), ``drift`` measures
    how far the model went (:func:`~regimen.stages.study_drift.drift`).
    """
    from regimen.settings.loading import settings_from
    from regimen.stages.pipeline import run_pipeline

    work = body["work"]
    directory = run.path(LINE)
    settings = settings_from(
        {**_placed(work["settings"], body["places"]), "run": str(directory), "seed": body["seed"]}
    )
    done = run_pipeline(settings, work["stages"])
    summaries = {name: stage["summary"] for name, stage in done["stages"].items()}
    run.write_json(TIMES, {**_times(directory, summaries), "whole": time.monotonic() - STARTED})
    if trained := [name for name in summaries if name.startswith(TRAININGS)]:
        run.write_json(USE, _use(directory / trained[-1] / METRICS))
    if "evaluate" in work["stages"]:
        answers = directory / "evaluate" / "answers.parquet"
        keep_scores(answers, run.path(SCORES), work.get("beside"))
    result = _result(directory, summaries)
    if "drift" in work:
        from regimen.stages.study_drift import drift

        result["drift"] = drift(settings, directory, **_placed(work["drift"], body["places"]))
    _tidy(directory, work.get("keep", ()), list(settings.tunings))
    return result


def rewrites(body: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """A model from scratch on string rewriting rules, asked rules that it never saw."""
    from regimen.stages.study_rewrites import train_and_ask

    return train_and_ask(body, run)


def requests(body: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """The files of requests that parents and aligned models learn from and are asked."""
    from regimen.stages.study_requests import write_requests

    return write_requests(body, run)


WORKS: Mapping[str, Callable[[Mapping[str, Any], Run], dict[str, Any]]] = {
    "pipeline": pipeline,
    "rewrites": rewrites,
    "requests": requests,
}


def _placed(value: Any, places: Sequence[str]) -> Any:
    """The settings with the directories of the needed cells filled in."""
    if isinstance(value, Mapping):
        return {key: _placed(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [_placed(inner, places) for inner in value]
    if isinstance(value, str) and "{place:" in value:
        for number, place in enumerate(places):
            value = value.replace(f"{{place:{number}}}", place)
    return value


def _times(directory: Path, summaries: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of each stage, from its manifest."""
    return {name: float(read_manifest(directory / name).volatile["seconds"]) for name in summaries}


def _use(metrics: Path) -> dict[str, float]:
    """The usual speed of a training and the largest memory of its process, from its log."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return {
        "tokens_per_second": median(line["tokens_per_second"] for line in lines),
        "peak_memory_gib": max(line["peak_memory_gib"] for line in lines),
    }


def _result(directory: Path, summaries: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of the stages, and the blocks of the evaluation that tables are made of."""
    result: dict[str, Any] = {}
    if "build" in summaries:
        build = summaries["build"]
        result |= {name: build[name] for name in ("instances", "training_tasks", "items")}
    if "build" in summaries and summaries["build"]["preferences"]:
        result["preferences"] = summaries["build"]["preferences"]
    tunings = [summary for name, summary in summaries.items() if name.startswith(TRAININGS)]
    if tunings:
        result["num_tokens"] = sum(summary["num_tokens"] for summary in tunings)
        result["steps"] = sum(summary["steps"] for summary in tunings)
        last = tunings[-1]
        result |= {name: last[name] for name in ("trainable_parameters", "memory")}
        if "best_loss" in last:
            result["validation_loss"] = last["best_loss"]
    file = directory / "evaluate" / "evaluation.json"
    if file.is_file():
        body = json.loads(file.read_text(encoding="utf-8"))
        result["retention"] = body.get("retention") or {}
    return result


def _tidy(directory: Path, keep: Sequence[str], tunings: Sequence[str]) -> None:
    """Keep what others need and what a person reads; a grid of models would fill the disk."""
    trainings = [*tunings, "align"]
    for name in (name for name in trainings if (directory / name).is_dir()):
        last = bool(tunings) and name == tunings[-1]
        for child in sorted((directory / name).iterdir()):
            wanted = child.suffix in (".json", ".jsonl", ".yaml")
            wanted |= child.name == "final" and last and "model" in keep
            if not wanted:
                shutil.rmtree(child) if child.is_dir() else child.unlink()
    if "instances" not in keep:
        (directory / "build" / "instances.parquet").unlink(missing_ok=True)
    if "preferences" not in keep:
        (directory / "build" / "preferences.parquet").unlink(missing_ok=True)
    shutil.rmtree(directory / "reference", ignore_errors=True)
    if "items" not in keep:
        (directory / "build" / "items.parquet").unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    """Make the cell; 0 where it is done, 1 with an error for a person beside its directory."""
    file, place = Path(arguments[0]), Path(arguments[1])
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    body = json.loads(file.read_text(encoding="utf-8"))
    failed = beside(place, FAILED)
    failed.unlink(missing_ok=True)
    try:
        run = Run.start(place, stage="cell", key=body["key"], settings=body["work"], keep=GOES_ON)
        run.write_json(RESULT, WORKS[body["kind"]](body, run))
        run.finish(volatile_files=[TIMES, USE])
    except RegimenError as error:
        atomic_write(failed, json_text({"error": error.render()}))
        return 1
    return 0


def _watch(parent: int) -> None:
    """End this process where the study that started it is gone: two would write one directory."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_SECONDS)
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
