"""``align``: learn from preferences, on the same loop as ``tune``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regimen import console
from regimen.alignment.forms import answer_table
from regimen.alignment.reference import (
    check_identity,
    check_reference,
    kept_reference,
    reference_identity,
)
from regimen.curation.ledger import Ledger
from regimen.models.hardware import set_up
from regimen.objectives.answers import AnswerObjective
from regimen.objectives.base import Objective
from regimen.objectives.replay import WithReplay
from regimen.objectives.supervised import Supervised
from regimen.objectives.table import METHODS
from regimen.runs import Run
from regimen.settings.align import AlignSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.training import ModelSettings
from regimen.stages.align_rewards import rendered_rewards, reward_job, reward_work
from regimen.stages.align_rows import (
    Rows,
    align_rows,
    conditioned_method,
    left_aside,
    source_of,
)
from regimen.stages.arrangements import wants_bf16
from regimen.stages.common import StageResult, path_key, read_json, run_stage
from regimen.stages.profile import profile_stage
from regimen.stages.raft import profile_raft, raft
from regimen.stages.replay import replay_source, replayed_conversations
from regimen.stages.training import (
    MERGED,
    Prepared,
    finish_model,
    prepare_model,
    start_from,
)
from regimen.stages.training_run import KEPT, Job, run_training, training_summary
from regimen.tokens.rendering import Rendered, RenderedAnswers
from regimen.tokens.store import TokenRows, load_token_rows, save_token_rows, token_rows

IDENTITY = "reference.json"
"""What the reference is; an interrupted training leaves it for the one that goes on."""

KEPT_REFERENCES = "reference"
"""The folder of the run with what references say of rows, by content."""


def align(
    settings: PipelineSettings,
    root: Path,
    data: Path | None = None,
    start: ModelSettings | None = None,
) -> StageResult:
    """Align the tuned model with preferences, or with the best of its own answers.

    Args:
        settings: of the pipeline.
        root: the pipeline's run directory; this stage writes ``root/align``.
        data: the directory of ``build``; ``settings.align.data`` if None.
        start: what the last tuning ended with, None where there was none; ``settings.align.model``
            says otherwise.

    Raises:
        DataError: no usable preference is left.
        ModelError: the architecture cannot score (reward methods).
        TrainingError: the policy does not start at its reference, or the reference moved.
    """
    if settings.align is not None and settings.align.method == "raft":
        return raft(settings, root, start_of(settings.align, start))
    section, model, source = _inputs(settings, data, start)
    inputs = {"model": path_key(model.path or ""), "preferences": path_key(source)}
    replayed = None if section.replay is None else replay_source(section.replay, data)
    if replayed is not None:
        inputs["replay"] = path_key(replayed)

    def work(run: Run) -> Mapping[str, Any]:
        if section.rewards:
            return reward_work(settings, section, model, run, source)
        return _work(settings, section, model, run, source, replayed)

    return run_stage(
        "align",
        settings,
        root / "align",
        inputs,
        work,
        keep=(*KEPT, IDENTITY),
    )


def profile_align(
    settings: PipelineSettings,
    root: Path,
    data: Path | None = None,
    start: ModelSettings | None = None,
) -> StageResult:
    """Measure some steps of what ``align`` would train, with the same arguments and errors.

    The reference's pass over the data, once before the first step, is left out.
    """
    if settings.align is not None and settings.align.method == "raft":
        return profile_raft(settings, root, start_of(settings.align, start))
    section, model, source = _inputs(settings, data, start)

    def job(run: Run) -> Job:
        if section.rewards:
            return reward_job(
                settings, section, rendered_rewards(settings, section, model, run, source)
            )
        replayed = None if section.replay is None else replay_source(section.replay, data)
        work = _rendered(settings, section, model, run, source, replayed)
        # what the reference says has no part in how long a step takes
        return _job(settings, section, work, objective_of(section, work.found, None), {})

    return profile_stage("align", root, job)


def _inputs(
    settings: PipelineSettings, data: Path | None, start: ModelSettings | None
) -> tuple[AlignSettings, ModelSettings, Path]:
    """The section, the model to start from and the file of preferences."""
    section = settings.align
    assert section is not None
    model = start_of(section, start)
    return section, with_new_tokens(section, model), source_of(section, data)


def start_of(section: AlignSettings, start: ModelSettings | None) -> ModelSettings:
    """The model to start from."""
    model = start if section.model is None else start_from(section.model, start)
    assert model is not None
    return model


def with_new_tokens(section: AlignSettings, model: ModelSettings) -> ModelSettings:
    """The model with the tokens that conditioned tuning writes into prompts."""
    if section.method != "quark":
        return model
    method = conditioned_method(section)
    tokens = dict.fromkeys((*model.new_tokens, *getattr(method, "tokens", ())))
    return model.model_copy(update={"new_tokens": tuple(tokens)})


@dataclass(frozen=True, slots=True)
class Work:
    """The model, its rows as tokens, and what became of which record.

    ``judged`` are those of the rows that are learnt from judgements; behind them are those that are
    replayed.
    """

    prepared: Prepared
    rows: TokenRows
    judged: TokenRows
    found: Rows


def _work(
    settings: PipelineSettings,
    section: AlignSettings,
    model: ModelSettings,
    run: Run,
    source: Path,
    replayed: Path | None,
) -> Mapping[str, Any]:
    hardware = set_up()
    work = _rendered(settings, section, model, run, source, replayed)
    tokens = int(work.rows.lengths.sum())
    console.line(f"align: {len(work.rows):,} rows, {tokens:,} tokens")
    reference_A: torch.Tensor | None = None
    told: dict[str, Any] = {}
    if any(METHODS[loss.name].reference for loss in section.losses):
        reference_A, told = _reference(section, work, run)
    objective = objective_of(section, work.found, reference_A)
    extra = {**(work.found.told or {}), **told}
    done = run_training(run, _job(settings, section, work, objective, extra))
    kept = finish_model(run, work.prepared)
    return training_summary(work.prepared, done, hardware, {**extra, **kept})


def _reference(section: AlignSettings, work: Work, run: Run) -> tuple[torch.Tensor, dict[str, Any]]:
    """What the frozen start says of the answers, and what is told of it."""
    model, bf16 = work.prepared.language_model, wants_bf16(section)
    identity = reference_identity(model.model, bf16=bf16)
    begun = run.directory / IDENTITY
    if begun.is_file():
        check_identity(read_json(begun), identity)
    run.write_json(IDENTITY, asdict(identity))
    reference_A, reused = kept_reference(
        model,
        work.judged,
        run.directory.parent / KEPT_REFERENCES,
        identity,
        tokens_per_batch=section.tokens_per_batch,
    )
    console.line(f"align: reference {'taken from an earlier run' if reused else 'computed'}")
    gap = check_reference(model, work.judged, reference_A, bf16=bf16)
    about = {**asdict(identity), "reused": reused}
    return reference_A, {"reference": about, "logratio_at_start": gap}


def objective_of(section: AlignSettings, rows: Rows, reference_A: torch.Tensor | None) -> Objective:
    """What the loop minimises: a weighted sum of losses, or the likelihood of conversations."""
    if not section.losses:
        return Supervised()
    losses = [(one.weight, METHODS[one.name].loss(**one.given())) for one in section.losses]
    objective = AnswerObjective(answer_table(rows.answers, reference_A), tuple(losses))
    return objective if section.replay is None else WithReplay(objective, section.replay.weight)


def _rendered(
    settings: PipelineSettings,
    section: AlignSettings,
    model: ModelSettings,
    run: Run,
    source: Path,
    replayed: Path | None,
) -> Work:
    """The model, the tokens of the rows, and what became of which record."""
    seed = settings.seed_of("align")
    prepared = prepare_model(model, section, seed=seed, merged=run.path(MERGED))
    aside = left_aside(section, source)
    ledger = Ledger(run.path("ledger"))
    found = align_rows(section, prepared.renderer, run, source, seed, ledger)
    if aside:
        found = replace(found, told={**(found.told or {}), "left_aside": aside})
    judged: list[Rendered | RenderedAnswers] = [
        *found.conversations,
        *(row.rendered for row in found.answers),
    ]
    rows = token_rows(judged)
    if replayed is not None:
        tokens = int(rows.lengths.sum())
        given = section, prepared.renderer, run, ledger, replayed
        again, about = replayed_conversations(*given, tokens=tokens, seed=seed)
        rows = token_rows([*judged, *again])
        found = replace(found, told={**(found.told or {}), "replay": about})
    save_token_rows(run.path("tokens.arrow"), rows)
    rows = load_token_rows(run.path("tokens.arrow"))
    return Work(prepared, rows, rows.take(range(len(judged))) if replayed else rows, found)


def _job(
    settings: PipelineSettings,
    section: AlignSettings,
    work: Work,
    objective: Objective,
    extra: Mapping[str, Any],
) -> Job:
    return Job(
        prepared=work.prepared,
        rows=work.rows,
        objective=objective,
        training=section,
        seed=settings.seed_of("align"),
        extra=extra,
    )
