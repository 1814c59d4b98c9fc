"""``build``: raw material to curated instances, preferences and held-out items, with a ledger."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from regimen import console
from regimen.curation.card import card_markdown, data_card
from regimen.curation.filters import apply, conversation_shape, exact_duplicates, length, no_answer
from regimen.curation.leaks import LeakRule, leak_filter
from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.instances.formatting import (
    FormattingFailure,
    FormattingSpec,
    task_instances,
    task_items,
)
from regimen.instances.templates import TemplateWorker
from regimen.records import Instance, Item, Preference
from regimen.runs import Run
from regimen.settings.build import BuildSettings, FormattingSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.stages.common import StageResult, path_key, run_stage
from regimen.stages.preferences import make_preferences
from regimen.stages.sources import Material, read_sources
from regimen.stages.splits import Split, hold_out_rows, split_tasks
from regimen.stages.synthesis import synthesise
from regimen.tables import instances_to_table, items_to_table, preferences_to_table, write_table

VALIDATION_TASKS = 48


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
    inputs = {}
    for number, source in enumerate(section.sources, start=1):
        place = source.path or (source.function.file if source.function else None)
        if place is not None:
            inputs[f"source {number} ({place})"] = path_key(place)
    seed = settings.seed_of("build")
    return run_stage(
        "build", settings, root / "build", inputs, lambda run: _work(section, seed, run)
    )


def _work(section: BuildSettings, seed: int, run: Run) -> Mapping[str, Any]:
    ledger = Ledger(run.path("ledger"))
    material = read_sources(section, seed, ledger)
    split = split_tasks(material.tasks, section, seed, ledger)
    items = _items(section, split, seed)
    instances = _format(section, material, split, seed, ledger)
    if section.synthetic is not None:
        instances += synthesise(section.synthetic, seed, ledger)
    instances = _clean(section, instances, ledger)
    if section.held_out.share > 0 and not material.tasks:
        instances, items = hold_out_rows(instances, section, seed, ledger)
    instances = _without_leaks(section, instances, items, ledger)
    if not instances and not material.preferences:
        raise DataError(
            "Curation left no instance.",
            slug="nothing-left",
            got=str(ledger.write()),
            fix="Look at ledger/*.removed.parquet for the reason of each row.",
        )
    preferences = _preferences(section, material, split, seed, ledger)
    return _write(run, ledger, instances, preferences, items, split)


def _items(section: BuildSettings, split: Split, seed: int) -> list[Item]:
    """Items of the held-out tasks, and of training tasks for validation, from rows of their own."""
    spec = formatting_spec(section.formatting)
    count = section.held_out.items_per_task
    items = [
        item
        for suite, tasks in split.suites.items()
        for task in tasks
        for item in task_items(task, suite, count, seed + 1, spec)
    ]
    if items:
        validation = split.train[:: max(1, len(split.train) // VALIDATION_TASKS)]
        for task in validation[:VALIDATION_TASKS]:
            items += task_items(task, "validation", 1, seed + 2, spec)
    return items


def _format(
    section: BuildSettings, material: Material, split: Split, seed: int, ledger: Ledger
) -> list[Instance]:
    """Training tasks as instances, and the instances that sources held."""
    spec = formatting_spec(section.formatting)
    found = list(material.instances)
    groups: dict[int, list[Any]] = {}
    for task in split.train:
        groups.setdefault(material.wanted[task.name], []).append(task)
    with ledger.step("format") as step, TemplateWorker() as worker:
        step.enter(len(found))
        step.keep(len(found))
        for count, tasks in groups.items():
            for made in task_instances(tasks, spec, count, seed, worker.render):
                step.enter()
                if isinstance(made, FormattingFailure):
                    step.fail(f"{made.task} row {made.row}", made.error, made.got, made.fix)
                else:
                    step.keep()
                    found.append(made)
    return found


def _clean(section: BuildSettings, instances: list[Instance], ledger: Ledger) -> list[Instance]:
    """The filters that need nothing but the instances, each a step of the ledger."""
    rules = section.curation
    instances = apply("no-answer", instances, no_answer, ledger)
    instances = apply("shape", instances, conversation_shape, ledger)
    limits = partial(length, min_answer=rules.min_characters, max_conversation=rules.max_characters)
    instances = apply("length", instances, limits, ledger)
    if rules.exact_duplicates:
        instances = apply("duplicates", instances, exact_duplicates, ledger)
    return instances


def _without_leaks(
    section: BuildSettings, instances: list[Instance], items: list[Item], ledger: Ledger
) -> list[Instance]:
    """Remove training instances that give an evaluated item away."""
    if section.curation.leak_check and items:
        held_out = [item for item in items if item.suite != "validation"]
        tasks = {item.lineage.task for item in held_out if item.suite != "unseen_rows"}
        # Tasks ask different things of the same small words: an equal input alone is no leak.
        rule = LeakRule(input_alone=False)
        found = leak_filter(items, held_out_tasks=tasks, rule=rule)
        instances = apply("leaks", instances, found, ledger)
    return instances


def _preferences(
    section: BuildSettings, material: Material, split: Split, seed: int, ledger: Ledger
) -> list[Preference]:
    """Pairs that sources held and pairs that are made."""
    found = list(material.preferences)
    if section.preferences is not None:
        found += make_preferences(
            section.preferences, split.train, formatting_spec(section.formatting), seed
        )
    with ledger.step("preferences", entered=len(found)) as step:
        kept: dict[str, Preference] = {}
        for one in found:
            if one.content_id in kept:
                step.remove(one, "exact_duplicate")
            else:
                kept[one.content_id] = one
                step.keep()
    return list(kept.values())


def _write(
    run: Run,
    ledger: Ledger,
    instances: list[Instance],
    preferences: list[Preference],
    items: list[Item],
    split: Split,
) -> dict[str, Any]:
    summary = ledger.write()
    write_table(run.path("instances.parquet"), instances_to_table(instances))
    write_table(run.path("preferences.parquet"), preferences_to_table(preferences))
    write_table(run.path("items.parquet"), items_to_table(items))
    card = data_card(instances, preferences, summary)
    card["held_out"] = {suite: len(tasks) for suite, tasks in split.suites.items()}
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
        "instances": len(instances),
        "training_tasks": len({i.lineage.task for i in instances if i.lineage.task}),
        "preferences": len(preferences),
        "items": len(items),
        "held_out_tasks": {suite: len(tasks) for suite, tasks in split.suites.items()},
    }


def formatting_spec(section: FormattingSettings) -> FormattingSpec:
    """The formatting section as the dataclass of row 1; the names are the same."""
    return FormattingSpec(**section.model_dump(exclude={"tokenizer"}))
