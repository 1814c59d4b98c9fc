"""``run``: the stages that a settings file lists, in order, each only if it is not up to date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regimen import console, runs
from regimen.errors import RunError, SettingsError
from regimen.records import stable_hash
from regimen.settings.chains import FileSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.training import ModelSettings
from regimen.stages.common import StageResult, read_json

# Files of the stages that a person or a program looks for at the top of a run.
PUBLISHED = {
    "build": ("ledger", "data_card.md"),
    "compress": ("compression.json",),
    "evaluate": ("evaluation.json",),
}


def run_file(settings: FileSettings) -> dict[str, Any]:
    """Every run of a file, one after the other, each as ``run_pipeline`` does it.

    Returns:
        What ``--json`` prints: that of the first run, with those after it in ``then``.
    """
    first, *later = settings.runs
    result = run_pipeline(first)
    if not later:
        return result
    told = []
    for number, one in enumerate(later, start=2):
        console.line()
        console.line(f"run {number} of {len(later) + 1}: {one.run}")
        told.append(run_pipeline(one))
    return {**result, "then": told}


def run_pipeline(
    settings: PipelineSettings, stages: Sequence[str] | None = None, *, gate: bool = False
) -> dict[str, Any]:
    """Run the listed stages (all that the settings hold, if None) in ``settings.run``.

    With ``gate``, or a gate in the settings, an evaluation is held against it.

    Returns:
        What ``--json`` prints: each stage with its directory, whether it was reused, its summary;
        ``gate`` is the object of ``gate.json``, None without one.

    Raises:
        SettingsError: a stage is asked for that the settings do not describe.
        RunError: a stage needs another's result that is not there.
    """
    root = Path(settings.run)
    wanted = tuple(stages or settings.stages)
    for stage in wanted:
        _require(settings, stage)
    done = [result for stage in wanted for result in _stage(stage, settings, root)]
    held = _held(settings, done, gate)
    report = _publish(settings, root, wanted, done, held)
    if held is not None:
        from regimen.stages.evaluate_gate import say_gate

        say_gate(held)
    return {
        "run": str(root),
        "stages": {
            r.stage: {"directory": str(r.directory), "reused": r.reused, "summary": r.summary}
            for r in done
        },
        "gate": held,
        "report": str(report) if report else None,
    }


def run_profile(settings: PipelineSettings, stage: str) -> dict[str, Any]:
    """Measure some steps of ``tune`` or ``align``; no stage is finished or changed by it.

    Of several tunings, the first that is not finished is measured, or else the last.

    Returns:
        What ``--json`` prints: the stage with its directory and the measurements.

    Raises:
        SettingsError: the settings do not describe the stage.
        RunError: the stage needs another's result that is not there.
    """
    root = Path(settings.run)
    _require(settings, stage)
    built = _built(settings, root)
    if stage == "tune":
        from regimen.stages.tune import profile_tune

        name, before = _next_tuning(settings, root)
        done = profile_tune(settings, root, built, stage=name, before=before)
    else:
        from regimen.stages.align import profile_align

        done = profile_align(settings, root, built, _tuned(settings, root))
    return {"run": str(root), "stage": stage, "file": str(done.directory / runs.PROFILE)} | {
        "profile": done.summary
    }


def _next_tuning(settings: PipelineSettings, root: Path) -> tuple[str, ModelSettings | None]:
    """The first tuning that is not finished, else the last, and what the one before ended with."""
    before = None
    for stage, section in settings.tunings.items():
        last = stage == list(settings.tunings)[-1]
        if last or not (root / stage / "manifest.json").is_file():
            return stage, before
        before = ModelSettings(path=str(root / stage / "final"), dtype=section.model.dtype)
    raise AssertionError("settings with a tune section have a tuning")


def _require(settings: PipelineSettings, stage: str) -> None:
    if stage not in settings.stages:
        raise SettingsError(
            f"The settings have no section for {stage!r}.",
            slug="section-missing",
            got=", ".join(settings.stages),
            fix=f"Add a '{stage}' section, or run one of the stages above.",
        )


def _stage(stage: str, settings: PipelineSettings, root: Path) -> list[StageResult]:
    """What a stage of the settings did: one result, one for each of several tunings."""
    if stage == "report":
        return []
    if stage == "build":
        from regimen.stages.build import build

        return [build(settings, root)]
    if stage == "tune":
        return _tunings(settings, root)
    if stage == "align":
        from regimen.stages.align import align

        return [align(settings, root, _built(settings, root), _tuned(settings, root))]
    if stage == "compress":
        from regimen.stages.compress import compress

        return [compress(settings, root, _finished_model(settings, root))]
    from regimen.stages.evaluate import evaluate

    return [evaluate(settings, root, _models(settings, root))]


def _tunings(settings: PipelineSettings, root: Path) -> list[StageResult]:
    """Every tuning in its turn, each from what the one before it ended with."""
    from regimen.stages.tune import tune

    built = _built(settings, root)
    done: list[StageResult] = []
    before = None
    for stage, section in settings.tunings.items():
        done.append(tune(settings, root, built, stage=stage, before=before))
        before = ModelSettings(path=str(root / stage / "final"), dtype=section.model.dtype)
    return done


def _built(settings: PipelineSettings, root: Path) -> Path | None:
    return _finished(root / "build", "build") if settings.build is not None else None


def _tuned(settings: PipelineSettings, root: Path) -> ModelSettings | None:
    """What the last tuning ended with."""
    if settings.tune is None:
        return None
    stage, section = list(settings.tunings.items())[-1]
    final = _finished(root / stage, "tune") / "final"
    return ModelSettings(path=str(final), dtype=section.model.dtype)


def _finished_model(settings: PipelineSettings, root: Path) -> str:
    """The folder of what the training ended with, or of the model that ``compress`` names."""
    named = settings.compress
    assert named is not None
    if named.model is not None:
        return named.model
    if settings.align is not None:
        return str(_finished(root / "align", "align") / "final")
    tuned = _tuned(settings, root)
    assert tuned is not None, "the settings were checked"
    return str(tuned.path)


def _models(settings: PipelineSettings, root: Path) -> dict[str, str]:
    """The folders of base, tuned and aligned."""
    named = settings.evaluate
    assert named is not None
    if named.base is not None and named.tuned is not None:
        return {"base": named.base, "tuned": named.tuned}
    tuned = list(settings.tunings.values())
    start = tuned[0].model if tuned else settings.align.model if settings.align else None
    assert start is not None, "the settings were checked"
    # a first tuning that makes a fresh model makes the base of the ones after it
    made = named.base or start.path
    models = {"base": made or str(_finished(root / "tune-0", "tune") / "final")}
    if tuned:
        last = list(settings.tunings)[-1]
        models["tuned"] = str(_finished(root / last, "tune") / "final")
    if settings.align is not None:
        name = "aligned" if tuned else "tuned"
        models[name] = str(_finished(root / "align", "align") / "final")
    return models


def _finished(directory: Path, stage: str) -> Path:
    if not (directory / "manifest.json").is_file():
        raise RunError(
            f"The result of '{stage}' is not there.",
            slug="stage-missing",
            got=f"{directory} has no manifest.json",
            fix=f"Run `regimen {stage}` with the same settings first, or `regimen run`.",
        )
    return directory


def _held(
    settings: PipelineSettings, done: Sequence[StageResult], gate: bool
) -> dict[str, Any] | None:
    """What the gate says of an evaluation; None where there is neither or nothing asks for it."""
    section = settings.evaluate.gate if settings.evaluate else None
    evaluated = [result.directory for result in done if result.stage == "evaluate"]
    if not evaluated or not (gate or section):
        return None
    from regimen.stages.evaluate_gate import gate_of

    return gate_of(evaluated[0], section)


def _publish(
    settings: PipelineSettings,
    root: Path,
    wanted: Sequence[str],
    done: Sequence[StageResult],
    held: dict[str, Any] | None,
) -> Path | None:
    """Copy what people look for to the top of the run, write the report, finish the run."""
    key = {"settings": stable_hash(settings.model_dump(mode="json"))}
    key |= {r.stage: runs.file_hash(r.directory / "manifest.json") for r in done}
    if held is not None:
        key["gate"] = stable_hash(held)
    if runs.is_fresh(root, key):
        console.line(f"run: nothing to do, {root} is up to date")
        return root / "report.html" if "report" in wanted else None
    run = runs.Run.start(
        root, stage="run", key=key, settings=settings.model_dump(mode="json"), clear=False
    )
    for result in done:
        for name in PUBLISHED.get(result.stage, ()):
            if (result.directory / name).exists():
                runs.publish(result.directory / name, run.path(name))
    if held is not None:
        run.write_json("gate.json", held)
    elif "evaluate" in wanted:
        # of an earlier evaluation, perhaps
        (root / "gate.json").unlink(missing_ok=True)
    report = None
    if "report" in wanted:
        from regimen.reports import write_markdown, write_report

        title = settings.report.title if settings.report else ""
        report = write_report(root, run.path("report.html"), title=title)
        write_markdown(root, run.path("report.md"), title=title)
    run.finish(volatile_files=["report.html", "report.md"] if report else [])
    _say(root, done, report)
    return report


def _say(root: Path, done: Sequence[StageResult], report: Path | None) -> None:
    for result in done:
        if result.stage == "evaluate":
            from regimen.evaluation.tables import result_tables

            for table in result_tables(read_json(result.directory / "evaluation.json")):
                console.table(table.title, table.columns, table.rows)
    console.line(f"run: {root}" + (f"; open {report}" if report else ""))
