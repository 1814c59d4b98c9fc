"""``align`` with a reward method: a model that scores answers, on the loop of every training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regimen import console
from regimen.alignment.forms import all_alike
from regimen.alignment.reward_rows import (
    RewardRecord,
    RewardRow,
    as_levels,
    held_out,
    judged,
    levels_of,
    marked,
    reward_row,
    score_table,
    turns_of,
    why_not,
)
from regimen.alignment.reward_spec import RewardSpec, write_spec
from regimen.errors import DataError, TokenError
from regimen.models.hardware import set_up
from regimen.models.scoring import add_cuts, pad_id_of, take_cuts
from regimen.objectives.reward import RewardObjective, borders, cuts_from_counts
from regimen.objectives.table import REWARDS
from regimen.records import Stepwise
from regimen.runs import Run
from regimen.settings.align import AlignSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.training import ModelSettings
from regimen.stages.align_rows import check_margins, left_aside, read_records
from regimen.stages.arrangements import wants_bf16
from regimen.stages.reward_quality import measure, show, write_quality
from regimen.stages.rows import Account, account, origin
from regimen.stages.training import MERGED, Prepared, finish_model, prepare_model
from regimen.stages.training_run import Job, run_training, training_summary
from regimen.tables import read_table
from regimen.tokens.overflow import fit_answers
from regimen.tokens.store import TokenRows, load_token_rows, save_token_rows, token_rows

HELD_OUT = 0.1
"""Share of the prompts that is measured on where the settings do not say."""

MOST_LEVELS = 20
ONE = ("reward",)
"""The dimension of a model that has one alone."""

_UNITS = {"reward": "comparison", "reward_ordinal": "record", "reward_process": "answer"}


@dataclass(frozen=True, slots=True)
class RewardWork:
    """The model, the rows to learn from and those to measure on, and what the scores are."""

    prepared: Prepared
    rows: TokenRows
    learnt: Sequence[RewardRow]
    apart: Sequence[RewardRow]
    spec: RewardSpec
    told: Mapping[str, Any]


def reward_work(
    settings: PipelineSettings,
    section: AlignSettings,
    model: ModelSettings,
    run: Run,
    source: Path,
) -> Mapping[str, Any]:
    """Train a reward model, measure it on held-out prompts and write it; the stage's summary.

    Raises:
        DataError: no usable record is left, or the records say nothing of what is asked.
        ModelError: the architecture has no class that scores texts.
    """
    hardware = set_up()
    work = rendered_rewards(settings, section, model, run, source)
    tokens = int(work.rows.lengths.sum())
    console.line(f"align: {len(work.rows):,} rows, {tokens:,} tokens")
    done = run_training(run, reward_job(settings, section, work))
    cuts_J = take_cuts_of(work)
    spec = work.spec
    if cuts_J is not None:
        spec = replace(spec, borders=tuple(borders(cuts_J).tolist()))
    quality = measure(
        work.prepared.language_model,
        spec,
        work.apart,
        tokens_per_batch=section.tokens_per_batch,
        bf16=wants_bf16(section),
    )
    write_quality(run, quality)
    show(quality)
    kept = finish_model(run, work.prepared)
    write_spec(spec, run.path("final"))
    extra = {**work.told, "rewards": quality["summary"], **kept}
    return training_summary(work.prepared, done, hardware, extra)


def take_cuts_of(work: RewardWork) -> torch.Tensor | None:
    """The free numbers behind borders, learnt and taken off the model; None without levels."""
    return take_cuts(work.prepared.model) if work.spec.levels else None


def rendered_rewards(
    settings: PipelineSettings,
    section: AlignSettings,
    model: ModelSettings,
    run: Run,
    source: Path,
) -> RewardWork:
    """The model with its scores, the rows as tokens, and what became of which record."""
    seed = settings.seed_of("align")
    spec = RewardSpec(
        method=str(section.method),
        dimensions=section.dimensions or ONE,
        members=section.ensemble or 1,
        pad_id=-1,
    )
    prepared = prepare_model(model, section, seed=seed, merged=run.path(MERGED), scores=spec.names)
    spec = replace(spec, pad_id=pad_id_of(prepared.tokenizer))
    found, counts = _rows(section, prepared, run, source, spec)
    if spec.method == "reward_ordinal":
        spec = replace(spec, levels=_levels(found))
        found = as_levels(found, spec.levels)
    elif spec.method == "reward_process":
        _labels(found)
    share = HELD_OUT if section.held_out is None else section.held_out
    learnt, apart = held_out(found, share, seed)
    _check_dimensions(learnt, spec)
    if spec.levels:
        values = torch.tensor([value for row in learnt for value in row.values]).long()
        counted = torch.bincount(values, minlength=len(spec.levels)) + 0.5
        add_cuts(prepared.model, cuts_from_counts(counted))
    save_token_rows(run.path("tokens.arrow"), token_rows(row.rendered for row in learnt))
    rows = replace(load_token_rows(run.path("tokens.arrow")), scored=True)
    told = {"rendering": counts, "rows": len(learnt), "held_out_rows": len(apart)}
    aside = left_aside(section, source)
    told |= {"left_aside": aside} if aside else {}
    return RewardWork(prepared, rows, learnt, apart, spec, told)


def reward_job(settings: PipelineSettings, section: AlignSettings, work: RewardWork) -> Job:
    """What the loop trains."""
    seed = settings.seed_of("align")
    taken = {name: getattr(section, name) for name in REWARDS[work.spec.method].hyperparameters}
    loss = REWARDS[work.spec.method].loss(**{n: v for n, v in taken.items() if v is not None})
    table = score_table(work.learnt, work.spec.dimensions, work.spec.members, seed)
    return Job(
        prepared=work.prepared,
        rows=work.rows,
        objective=RewardObjective(table, loss),
        training=section,
        seed=seed,
        extra=work.told,
    )


def _rows(
    section: AlignSettings, prepared: Prepared, run: Run, source: Path, spec: RewardSpec
) -> tuple[list[RewardRow], dict[str, Any]]:
    """The rows of a file's records; what nothing can be learnt from is counted."""
    records = list(read_records(section, read_table(source), source))
    if section.margin:
        check_margins(records, source, "Remove align.margin")
    rows: list[RewardRow] = []
    with account(run, section, section.overflow, _UNITS[spec.method]) as found:
        for record in records:
            rows += _row(section, prepared, found, record, spec)
    counts = found.counts()
    run.write_json("rendering.json", {**counts, "notes": prepared.renderer.notes})
    return rows, counts


def _row(
    section: AlignSettings,
    prepared: Prepared,
    found: Account,
    record: RewardRecord,
    spec: RewardSpec,
) -> list[RewardRow]:
    """The row of a record, none where it is removed or failed."""
    found.step.enter()
    margin = bool(section.margin)
    name = origin(record.lineage, record.instance_id)
    dimensions = judged(record, spec.dimensions, section.dimensions_of or {})
    _check_known(dimensions, spec, name)
    reason = why_not(record, spec.method, margin=margin)
    if reason or not dimensions:
        found.step.remove(record, reason or "no_dimension")
        return []
    answers, steps = turns_of(record), isinstance(record, Stepwise)
    try:
        fitted, whole = fit_answers(
            prepared.renderer, record.prompt, answers, section.max_length, section.overflow
        )
        own = marked(whole, answers, prepared.tokenizer, spec.pad_id, steps=steps)
    except TokenError as error:
        found.step.fail(name, error.slug, error.got, error.fix)
        return []
    if spec.method == "reward" and all_alike(whole):
        found.step.remove(record, "equal_answers")
        return []
    if own is None:
        found.step.remove(record, "no_token_to_score")
        return []
    marks = sum(map(sum, own.weights))
    found.settle(
        record,
        int(fitted is not None),
        supervised=int(marks),
        lost=0 if fitted is not None else int(marks),
        longest=whole.longest,
    )
    if fitted is None:
        return []
    rendered = replace(fitted, weights=own.weights, name=name)
    return [reward_row(record, rendered, dimensions, margin=margin)]


def _check_known(dimensions: Sequence[str], spec: RewardSpec, name: str) -> None:
    unknown = [one for one in dimensions if one not in spec.dimensions]
    if unknown:
        raise DataError(
            "A row judges a dimension that the settings do not name.",
            slug="unknown-dimension",
            got=f"{', '.join(unknown)} in {name}",
            expected=", ".join(spec.dimensions),
            fix="Add it to align.dimensions, or remove such rows.",
        )


def _check_dimensions(rows: Sequence[RewardRow], spec: RewardSpec) -> None:
    """Every score needs rows to be learnt from."""
    without = [d for d in spec.dimensions if not any(d in row.dimensions for row in rows)]
    if without:
        raise DataError(
            "A dimension has no row to be learnt from.",
            slug="dimension-without-rows",
            got=", ".join(without),
            expected=f"rows that judge each of {', '.join(spec.dimensions)}",
            fix="Name what the rows of a source judge in align.dimensions_of, write 'dimensions' "
            "into the rows, or remove the name from align.dimensions.",
        )


def _levels(rows: Sequence[RewardRow]) -> tuple[float, ...]:
    """The levels of the data, at least two and not too many."""
    levels = levels_of(rows)
    if not 2 <= len(levels) <= MOST_LEVELS:
        raise DataError(
            "The answers have one level only." if len(levels) < 2 else "There are too many levels.",
            slug="one-level" if len(levels) < 2 else "many-levels",
            got=f"{len(levels)} different values: {', '.join(f'{v:g}' for v in levels[:8])}",
            expected=f"2 to {MOST_LEVELS} levels of an ordered scale",
            fix="Add answers of other levels."
            if len(levels) < 2
            else "Round the scores to levels, or compare answers with method: reward.",
        )
    return levels


def _labels(rows: Sequence[RewardRow]) -> None:
    """Right and wrong steps are needed."""
    labels = {value > 0.5 for row in rows for value in row.values}
    if len(labels) == 1:
        raise DataError(
            "All steps have the same label.",
            slug="one-label",
            got=f"{'right' if True in labels else 'wrong'} steps alone",
            expected="some of each",
            fix="Add answers with steps of the other kind.",
        )
