"""``align``: learn from preferences, on the same loop as ``tune``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from regimen import console
from regimen.alignment.reference import check_reference, reference_logps
from regimen.errors import DataError, TokenError
from regimen.models.hardware import set_up
from regimen.objectives.preference import Dpo
from regimen.runs import Run
from regimen.settings.align import AlignSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.training import ModelSettings
from regimen.stages.arrangements import wants_bf16
from regimen.stages.common import StageResult, path_key, run_stage
from regimen.stages.profile import profile_stage
from regimen.stages.rows import account, origin
from regimen.stages.training import (
    MERGED,
    Prepared,
    finish_model,
    prepare_model,
    start_from,
)
from regimen.stages.training_run import KEPT, Job, run_training, training_summary
from regimen.stages.tune import instances_path
from regimen.tables import read_table, table_to_preferences
from regimen.tokens.overflow import fit_pair
from regimen.tokens.rendering import RenderedPair
from regimen.tokens.store import TokenRows, load_token_rows, save_token_rows, token_rows


def align(
    settings: PipelineSettings,
    root: Path,
    data: Path | None = None,
    start: ModelSettings | None = None,
) -> StageResult:
    """Align the tuned model with preferences.

    Args:
        settings: of the pipeline.
        root: the pipeline's run directory; this stage writes ``root/align``.
        data: the directory of ``build``; ``settings.align.data`` if None.
        start: what the last tuning ended with, None where there was none; ``settings.align.model``
            says otherwise.

    Raises:
        DataError: no usable preference is left.
        TrainingError: the policy does not start at its reference.
    """
    section, model, source = _inputs(settings, data, start)
    inputs = {"model": path_key(model.path or ""), "preferences": path_key(source)}
    return run_stage(
        "align",
        settings,
        root / "align",
        inputs,
        lambda run: _work(settings, section, model, run, source),
        keep=KEPT,
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
    section, model, source = _inputs(settings, data, start)

    def job(run: Run) -> Job:
        prepared, rows, _ = _rendered(settings, section, model, run, source)
        # what the reference says has no part in how long a step takes
        objective = Dpo(torch.zeros(len(rows), 2), section.beta, section.label_smoothing)
        return _job(settings, section, prepared, rows, objective, {})

    return profile_stage("align", root, job)


def _inputs(
    settings: PipelineSettings, data: Path | None, start: ModelSettings | None
) -> tuple[AlignSettings, ModelSettings, Path]:
    """The section, the model to start from and the file of preferences."""
    section = settings.align
    assert section is not None
    model = start if section.model is None else start_from(section.model, start)
    assert model is not None
    source = instances_path(section.data or data, "preferences.parquet")
    if source is None or not source.is_file():
        raise DataError(
            "There are no preferences to learn from.",
            slug="no-preferences",
            got=str(source),
            fix="Add a source of preferences or build.preferences to the settings.",
        )
    return section, model, source


def _work(
    settings: PipelineSettings,
    section: AlignSettings,
    model: ModelSettings,
    run: Run,
    source: Path,
) -> Mapping[str, Any]:
    hardware = set_up()
    prepared, rows, counts = _rendered(settings, section, model, run, source)
    bf16 = wants_bf16(section)
    console.line(f"align: {len(rows):,} pairs, {int(rows.lengths.sum()):,} tokens; reference")
    reference_R2 = reference_logps(
        prepared.language_model, rows, tokens_per_batch=section.tokens_per_batch, bf16=bf16
    )
    gap = check_reference(prepared.language_model, rows, reference_R2, bf16=bf16)
    objective = Dpo(reference_R2, section.beta, section.label_smoothing)
    extra = {"rendering": counts, "pairs": len(rows), "logratio_at_start": gap}
    job = _job(settings, section, prepared, rows, objective, extra)
    done = run_training(run, job)
    return training_summary(prepared, done, hardware, {**extra, **finish_model(run, prepared)})


def _rendered(
    settings: PipelineSettings,
    section: AlignSettings,
    model: ModelSettings,
    run: Run,
    source: Path,
) -> tuple[Prepared, TokenRows, dict[str, Any]]:
    """The model, the tokens of the pairs, and what became of which pair."""
    seed = settings.seed_of("align")
    prepared = prepare_model(model, section, seed=seed, merged=run.path(MERGED))
    rendered, counts = _pairs(section, prepared, run, source)
    save_token_rows(run.path("tokens.arrow"), rendered)
    return prepared, load_token_rows(run.path("tokens.arrow")), counts


def _job(
    settings: PipelineSettings,
    section: AlignSettings,
    prepared: Prepared,
    rows: TokenRows,
    objective: Dpo,
    extra: Mapping[str, Any],
) -> Job:
    return Job(
        prepared=prepared,
        rows=rows,
        objective=objective,
        training=section,
        seed=settings.seed_of("align"),
        extra=extra,
    )


def _pairs(
    section: AlignSettings, prepared: Prepared, run: Run, source: Path
) -> tuple[TokenRows, dict[str, Any]]:
    """Render pairs; what cannot be rendered or is too long is counted."""
    pairs: list[RenderedPair] = []
    renderer, limit = prepared.renderer, section.max_length
    with account(run, section, section.overflow, "pair") as found:
        for preference in table_to_preferences(read_table(source)):
            found.step.enter()
            name = origin(preference.lineage, preference.instance_id)
            try:
                pair, whole = fit_pair(renderer, preference, limit, section.overflow)
            except TokenError as error:
                found.step.fail(name, error.slug, error.got, error.fix)
                continue
            if whole.chosen == whole.rejected:
                found.step.remove(preference, "equal_answers")
                continue
            learnt = len(whole.chosen) + len(whole.rejected)
            found.settle(
                preference,
                int(pair is not None),
                supervised=learnt,
                lost=0 if pair is not None else learnt,
                longest=whole.longest,
            )
            pairs += [replace(pair, name=name)] if pair is not None else []
    counts = found.counts()
    run.write_json("rendering.json", {**counts, "notes": prepared.renderer.notes})
    return token_rows(pairs), counts
