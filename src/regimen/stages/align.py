"""``align``: learn from preferences, on the same loop as ``tune``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regimen import console
from regimen.alignment.reference import check_reference, reference_logps
from regimen.errors import DataError, TokenError
from regimen.models.hardware import set_up
from regimen.objectives.preference import Dpo
from regimen.runs import Run
from regimen.settings.align import AlignSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.training import ModelSettings
from regimen.stages.common import StageResult, path_key, run_stage
from regimen.stages.rows import account, origin
from regimen.stages.training import (
    MERGED,
    Prepared,
    finish_model,
    prepare_model,
    start_from,
    training_summary,
    wants_bf16,
)
from regimen.stages.training_run import KEPT, run_training
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
    inputs = {"model": path_key(model.path or ""), "preferences": path_key(source)}
    return run_stage(
        "align",
        settings,
        root / "align",
        inputs,
        lambda run: _work(settings, section, model, run, source),
        keep=KEPT,
    )


def _work(
    settings: PipelineSettings,
    section: AlignSettings,
    model: ModelSettings,
    run: Run,
    source: Path,
) -> Mapping[str, Any]:
    hardware = set_up()
    seed = settings.seed_of("align")
    prepared = prepare_model(model, section, seed=seed, merged=run.path(MERGED))
    rendered, counts = _pairs(section, prepared, run, source)
    save_token_rows(run.path("tokens.arrow"), rendered)
    rows = load_token_rows(run.path("tokens.arrow"))
    bf16 = wants_bf16(section)
    console.line(f"align: {len(rows):,} pairs, {int(rows.lengths.sum()):,} tokens; reference")
    reference_R2 = reference_logps(
        prepared.language_model, rows, tokens_per_batch=section.tokens_per_batch, bf16=bf16
    )
    gap = check_reference(prepared.language_model, rows, reference_R2, bf16=bf16)
    objective = Dpo(reference_R2, section.beta, section.label_smoothing)
    state = run_training(run, prepared, rows, objective, section, seed=seed)
    finish_model(run, prepared)
    extra = {"rendering": counts, "pairs": len(rows), "logratio_at_start": gap}
    return training_summary(prepared, state, hardware, extra)


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
