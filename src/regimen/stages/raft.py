"""``align`` with ``method: raft``: rounds of sampling, choosing the best answers, tuning on them.

RAFT (Dong et al. 2023, algorithm 1, arXiv 2304.06767). A round is a ``build`` with best-of-n and a
``tune``, in ``round-<n>`` of the stage's folder, each with its ledger. What is done of an
interrupted run is found there and not done again. A round's model goes when the next one has its
own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regimen import console
from regimen.errors import DataError
from regimen.files import atomic_write, json_text
from regimen.manifests import MANIFEST
from regimen.runs import METRICS, Run, publish
from regimen.settings.align import AlignSettings
from regimen.settings.build import BuildSettings
from regimen.settings.feedback import BestOfNSettings
from regimen.settings.generators import GeneratorSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.raft import RaftSettings
from regimen.settings.training import ModelSettings, TrainingSettings
from regimen.settings.tune import TuneSettings
from regimen.stages.build import build
from regimen.stages.common import StageResult, path_key, read_json, run_stage
from regimen.stages.on_policy import score_inputs
from regimen.stages.profile import profile_stage
from regimen.stages.training import MERGED
from regimen.stages.training_run import Job
from regimen.stages.tune import tune, tuning_job

ROUND = "round-{}"
DONE = "done.json"
"""What a round leaves when it is done."""
SEEDS = 2**32


def raft(settings: PipelineSettings, root: Path, model: ModelSettings) -> StageResult:
    """Run all rounds from ``model``; this stage writes ``root/align``.

    Raises:
        DataError: nothing can be asked, or no sample of a round can be used.
        TrainingError: a round cannot be trained.
    """
    section = settings.align
    assert section is not None
    assert section.raft is not None
    inputs = {
        "model": path_key(model.path or ""),
        "raft.prompts": path_key(section.raft.prompts),
        **score_inputs("raft", section.raft.score),
    }
    return run_stage(
        "align",
        settings,
        root / "align",
        inputs,
        lambda run: _rounds(settings, section, model, run),
        keep=(ROUND.format("*"),),
    )


def profile_raft(settings: PipelineSettings, root: Path, model: ModelSettings) -> StageResult:
    """Sample and choose as the first round does, then measure some steps of its tuning.

    Raises:
        DataError: nothing can be asked, or no sample can be used.
        TrainingError: there is nothing to train, or a loss is not finite.
    """

    def job(run: Run) -> Job:
        place = run.path(ROUND.format(1))
        own = _settings(settings, model, 1, place)
        return tuning_job(own, run, build(own, place).directory)

    return profile_stage("align", root, job)


def _rounds(
    settings: PipelineSettings, section: AlignSettings, model: ModelSettings, run: Run
) -> Mapping[str, Any]:
    """The rounds, one after another, and what is told of them.

    Each is written down when it is done; only then the model before it goes, so that an interrupted
    run always finds the model that it goes on from.
    """
    wanted = section.raft
    assert wanted is not None
    done: list[dict[str, Any]] = []
    for number in range(1, wanted.rounds + 1):
        place = run.path(ROUND.format(number))
        if not (place / DONE).is_file():
            console.line(f"align: round {number} of {wanted.rounds}")
            try:
                found = _round(_settings(settings, model, number, place), place)
            except DataError as error:
                if error.slug != "all-ties" or not done:
                    raise
                console.line(f"align: no round {number}, for all answers to a prompt score alike")
                break
            atomic_write(place / DONE, json_text(found))
        done.append(read_json(place / DONE))
        _log(run, place / "tune" / METRICS, number, sum(one["steps"] for one in done[:-1]))
        if not wanted.keep_rounds and number > 1:
            _let_go(run.path(ROUND.format(number - 1)) / "tune")
        model = ModelSettings(path=str(place / "tune" / "final"), dtype=model.dtype)
    publish(str(model.path), run.path("final"))
    told = [
        {"round": number, **one["about"], "steps": one["steps"]}
        for number, one in enumerate(done, start=1)
    ]
    _show(told)
    return {**done[-1]["trained"], "rounds": told}


def _round(own: PipelineSettings, place: Path) -> dict[str, Any]:
    """Build and tune; what is told of both."""
    built = build(own, place)
    trained = tune(own, place, built.directory).summary
    about = read_json(built.directory / "data_card.json")["feedback"]["best-of-n"]
    return {"about": about, "steps": trained["steps"], "trained": trained}


def _let_go(tuned: Path) -> None:
    """Remove the model of a round, and the manifest that says it is there."""
    (tuned / MANIFEST).unlink(missing_ok=True)
    for name in ("final", MERGED):
        shutil.rmtree(tuned / name, ignore_errors=True)


def _settings(
    settings: PipelineSettings, model: ModelSettings, number: int, place: Path
) -> PipelineSettings:
    """The settings of a round: a build and a tuning, with a seed of their own."""
    section = settings.align
    assert section is not None
    assert section.raft is not None
    return PipelineSettings(
        run=str(place),
        seed=(settings.seed_of("align") + number - 1) % SEEDS,
        build=_build(section.raft, str(model.path)),
        tune=_tuning(section, model),
    )


def _log(run: Run, metrics: Path, number: int, before: int) -> None:
    """A round's lines of ``metrics.jsonl`` with the steps of all rounds."""
    for line in metrics.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        run.log({**values, "step": values["step"] + before, "round": number})


def _build(section: RaftSettings, model: str) -> BuildSettings:
    """The best answers of the model as it is now."""
    generator = GeneratorSettings(
        model=model, temperature=section.temperature, max_new_tokens=section.max_new_tokens
    )
    best = BestOfNSettings(
        kind="best_of_n",
        generator=generator,
        prompts=section.prompts,
        limit=section.limit,
        samples=section.samples,
        top_p=section.top_p,
        keep_cut=section.keep_cut,
        score=section.score,
        min_score=section.min_score,
    )
    return BuildSettings(feedback=(best,), lints=False)


def _tuning(section: AlignSettings, model: ModelSettings) -> TuneSettings:
    """Tuning as ``align`` says, on answers that were chosen."""
    shared = TrainingSettings.model_fields.keys() - {"seed"}
    given = {name: getattr(section, name) for name in shared}
    return TuneSettings(model=model, overflow=section.overflow, **given)


def _show(told: list[dict[str, Any]]) -> None:
    """A table of the rounds."""
    columns = ("round", "prompts", "kept", "mean score", "mean best", "KL of the choice")
    names = ("round", "prompts", "kept", "mean_score", "mean_best_score", "kl_of_usable")
    rows = [[_short(one[name]) for name in names] for one in told]
    console.table("align: rounds", columns, rows)


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
