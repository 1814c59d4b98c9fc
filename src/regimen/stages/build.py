"""``build``: raw material to curated instances, preferences and held-out items, with a ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from regimen import console
from regimen.curation.card import card_markdown
from regimen.curation.filters import apply, exact_duplicates
from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.evaluation.pairs import pair_statistics
from regimen.instances.compression import suffixes
from regimen.instances.formatting import task_rows
from regimen.instances.task_files import TASK_SUFFIXES, task_inputs
from regimen.records import Instance, Item, Preference, Task
from regimen.runs import Run
from regimen.settings.build import BuildSettings, FormattingSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.tune import TuneSettings
from regimen.stages.asked import formatting_spec
from regimen.stages.build_items import build_items
from regimen.stages.common import StageResult, path_key, run_stage
from regimen.stages.feedback import feedback_inputs, give_feedback
from regimen.stages.judged import JudgedAnswers, curate
from regimen.stages.on_policy import NAME as ON_POLICY
from regimen.stages.on_policy import on_policy_inputs, on_policy_pairs
from regimen.stages.preferences import make_preferences
from regimen.stages.producing import ROWS_AT_ONCE, Plan, chunks, clean_filters, token_counter
from regimen.stages.rewording import reword
from regimen.stages.sampled import Sources, needs_of, prompts_of
from regimen.stages.sources import Material, read_sources
from regimen.stages.splits import Split, equal_parts, hold_out_rows, split_tasks
from regimen.stages.synthesis import synthesise
from regimen.stages.task_lints import lint_build
from regimen.stages.workers import products, worker_count
from regimen.stages.written import Written
from regimen.tables import items_to_table, preferences_to_table, write_table


def build(settings: PipelineSettings, root: Path) -> StageResult:
    """Build the mixture that ``settings.build`` describes.

    Args:
        settings: of the pipeline.
        root: the pipeline's run directory; this stage writes ``root/build``.

    Raises:
        DataError: a source that cannot be read, or nothing left after curation.
    """
    section = settings.build
    assert section is not None
    return run_stage(
        "build",
        settings,
        root / "build",
        _inputs(section),
        lambda run: _work(section, settings, run),
    )


def _inputs(section: BuildSettings) -> dict[str, str]:
    """The contents that the build depends on: sources, and what their task files name."""
    inputs = {}
    for number, source in enumerate(section.sources, start=1):
        place = source.path or (source.function.file if source.function else None)
        if place is None:
            continue
        inputs[f"source {number} ({place})"] = path_key(place)
        for named in _named_inputs(Path(place)):
            inputs[f"source {number} ({named})"] = path_key(str(named))
    if section.preferences is not None and section.preferences.on_policy is not None:
        inputs |= on_policy_inputs(section.preferences.on_policy)
    return inputs | feedback_inputs(section.feedback_sections)


def _named_inputs(place: Path) -> list[Path]:
    """Data and templates that the task files of a source name."""
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    found: list[Path] = []
    for file in files:
        if file.is_file() and suffixes(file)[0] in TASK_SUFFIXES:
            try:
                found += task_inputs(file)
            except DataError:
                # reading the source says what is wrong with the file, and counts it
                continue
    return list(dict.fromkeys(found))


def _work(section: BuildSettings, settings: PipelineSettings, run: Run) -> Mapping[str, Any]:
    seed = settings.seed_of("build")
    ledger = Ledger(run.path("ledger"))
    material = read_sources(section, seed, ledger)
    if section.rewording is not None:
        material.tasks = reword(material.tasks, section.rewording, seed, ledger)
    split = split_tasks(material.tasks, section, seed, ledger)
    if section.rows is not None:
        material.wanted |= equal_parts(split.train, section.rows)
    tokenizer = _tokenizer(section.formatting, settings)
    tokenizer_of = partial(_tokenizer, settings=settings)
    items = build_items(section, split, material.wanted, seed, tokenizer_of, ledger)
    ready = list(material.instances)
    if section.synthetic is not None:
        ready += synthesise(section.synthetic, seed, ledger)
    if section.held_out.share > 0 and not material.tasks:
        ready, items = hold_out_rows(_clean(section, ready, ledger), section, seed, ledger)
    sources = _sources(section, split, seed, tokenizer)
    given = give_feedback(section.feedback_sections, sources, ledger)
    ready += given.instances
    lints = lint_build(material.tasks, seed, run) if section.lints else {}
    plan = Plan(
        formatting_spec(section.formatting), seed, section.curation, tokenizer, tuple(items)
    )
    written = _produce(section, plan, material, split, ready, run, ledger)
    if not (written.rows or material.preferences or material.judged or given.pairs):
        raise DataError(
            "Curation left no instance.",
            slug="nothing-left",
            got=str(ledger.write()),
            fix="Look at ledger/*.removed.parquet and *.failed.jsonl for the reason of each row.",
        )
    preferences = _preferences(section, material, split, plan, ledger, given.pairs)
    judged = material.judged.curated(section.curation, plan.items, ledger)
    about: dict[str, Any] = {"lints": lints} if lints else {}
    about |= {"feedback": given.about} if given.about else {}
    if preferences:
        about["pairs"] = pair_statistics(preferences, material.votes)
    return _write(run, ledger, written, preferences, judged, items, split, about)


def _sources(section: BuildSettings, split: Split, seed: int, tokenizer: str) -> Sources:
    """Where prompts come from that a generator answers."""
    return Sources(
        tasks=split.train,
        spec=formatting_spec(section.formatting),
        seed=seed,
        tokens=token_counter(tokenizer) if tokenizer else None,
    )


def _tokenizer(formatting: FormattingSettings, settings: PipelineSettings) -> str:
    """What counts the tokens of prompts, where they are bounded."""
    if formatting.max_tokens is None:
        return ""
    if formatting.tokenizer is not None:
        return formatting.tokenizer
    tuned = settings.tune
    first = tuned[0] if isinstance(tuned, tuple) and tuned else tuned
    if not isinstance(first, TuneSettings):
        raise DataError(
            "Nothing counts the tokens that build.formatting.max_tokens bounds.",
            slug="tokenizer-missing",
            expected="build.formatting.tokenizer, or a model in tune",
            fix="Add 'tokenizer: PATH' to build.formatting, or bound max_characters instead.",
        )
    return str(first.model.path)


def _clean(section: BuildSettings, instances: list[Instance], ledger: Ledger) -> list[Instance]:
    """Ready instances before rows of them are held out."""
    filters = {**clean_filters(section.curation), "duplicates": exact_duplicates}
    for name, rule in filters.items():
        if name != "duplicates" or section.curation.exact_duplicates:
            instances = apply(f"ready-{name}", instances, rule, ledger)
    return instances


def _produce(
    section: BuildSettings,
    plan: Plan,
    material: Material,
    split: Split,
    ready: list[Instance],
    run: Run,
    ledger: Ledger,
) -> Written:
    """Format, filter and write the training instances, chunk by chunk."""
    by_count: dict[int, list[Task]] = {}
    for task in split.train:
        by_count.setdefault(material.wanted[task.name], []).append(task)
    total = len(ready) + sum(
        min(count, len(task.instances)) if task.generator is None else count
        for count, tasks in by_count.items()
        for task in tasks
    )
    pieces = (
        replace(piece, weight=material.weights.get(piece.task.name, 1.0))
        for count, tasks in by_count.items()
        for piece in task_rows(tasks, plan.spec, count, plan.seed, at_once=ROWS_AT_ONCE)
    )
    made = products(plan, chunks(pieces, ready), worker_count(section.workers, total))
    place = run.path("instances.parquet")
    with (
        console.progress(total, "build", "rows") as bar,
        Written(place, plan, ledger, section.curation.exact_duplicates) as written,
    ):
        for product in made:
            written.add(product)
            bar.advance(product.rows)
    return written


def _preferences(
    section: BuildSettings,
    material: Material,
    split: Split,
    plan: Plan,
    ledger: Ledger,
    given: Sequence[Preference],
) -> list[Preference]:
    """Pairs that sources held, pairs that feedback gave, and pairs that are made, curated."""
    found = [*material.preferences, *given]
    wanted = section.preferences
    if wanted is not None:
        sources = _sources(section, split, plan.seed, plan.tokenizer)
        found += make_preferences(wanted, split.train, plan.spec, plan.seed, sources.tokens)
        if wanted.on_policy is not None:
            own = wanted.on_policy
            asked = prompts_of(own, ON_POLICY, sources, ledger, needs_of(own.score))
            found += on_policy_pairs(own, asked, plan.seed, ledger)
    return curate("preferences", found, section.curation, plan.items, ledger)


def _write(
    run: Run,
    ledger: Ledger,
    written: Written,
    preferences: list[Preference],
    judged: JudgedAnswers,
    items: list[Item],
    split: Split,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    summary = ledger.write()
    write_table(run.path("preferences.parquet"), preferences_to_table(preferences))
    write_table(run.path("items.parquet"), items_to_table(items))
    told = judged.write(run)
    card = written.card.card(preferences, summary, judged.records) | told
    card["held_out"] = {suite: len(tasks) for suite, tasks in split.suites.items()}
    balance = written.positions.report()
    card |= {"option_positions": balance} if balance else {}
    card |= about
    if "pairs" in card:
        card["pairs"]["ties"] = sum(step["removed"].get("tie", 0) for step in summary.values())
    run.write_json("data_card.json", card)
    run.write_text("data_card.md", card_markdown(card))
    console.table(
        "ledger",
        ["step", "in", "kept", "removed", "failed"],
        [
            [
                name,
                step["in"],
                step["kept"],
                sum(step["removed"].values()),
                sum(step["failed"].values()),
            ]
            for name, step in summary.items()
        ],
    )
    return {
        "instances": written.rows,
        "training_tasks": card["tasks"],
        "preferences": len(preferences),
        **told,
        "items": len(items),
        "held_out_tasks": {suite: len(tasks) for suite, tasks in split.suites.items()},
    }
