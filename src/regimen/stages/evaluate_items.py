"""The items that ``evaluate`` asks: what ``build`` held out, and the suites that settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regimen import console
from regimen.errors import EvaluationError
from regimen.evaluation.metrics import UNSCORED, Metrics, metrics_named
from regimen.evaluation.published.choosing import task_list
from regimen.evaluation.published.formats import (
    STEP_TOKENS,
    Format,
    Lines,
    ReadSuite,
    collected,
    format_named,
    read_suite,
    suite_inputs,
)
from regimen.evaluation.published.reading import Found, SuiteSpec
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import asks_for_steps, task_items
from regimen.records import Item
from regimen.settings.evaluate import EvaluateSettings
from regimen.settings.suites import RESERVED, SuiteSettings
from regimen.stages.common import path_key
from regimen.stages.sources import selected
from regimen.tables import read_table, table_to_items

STEPS_METRICS = metrics_named("steps_exact", "exact", "rouge_l")
"""Of held-out tasks whose prompts ask for steps (``build.held_out.asked``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePlan:
    """How one suite is asked and scored.

    Args:
        metrics: that score its answers.
        max_new_tokens: longest answer.
        capped: whether a model's context may shorten that: nobody asked for this length.
        base_shots: worked examples of the prompted base.
        lines: what ends an answer of the prompted base.
        read: what the files held.
    """

    metrics: Metrics
    max_new_tokens: int
    capped: bool
    base_shots: int
    lines: Lines
    read: ReadSuite


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedItems:
    """All items, those that choose the prompted base's examples, and the plans of the suites."""

    items: tuple[Item, ...]
    validation: tuple[Item, ...] = ()
    plans: Mapping[str, SuitePlan] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Metrics]:
        """The metrics of the suites that have their own: named ones, and those asked for steps."""
        stepped = {item.suite for item in self.items if asks_for_steps(item)} - self.plans.keys()
        named = {name: plan.metrics for name, plan in self.plans.items()}
        return named | dict.fromkeys(sorted(stepped), STEPS_METRICS)

    def shots(self, item: Item, k: int) -> int:
        """Worked examples of the prompted base for an item; ``k`` for one that no plan is for."""
        plan = self.plans.get(item.suite)
        return k if plan is None else plan.base_shots


def item_inputs(section: EvaluateSettings, built: Path) -> dict[str, str]:
    """Contents of the files that the items come from."""
    inputs = {"items": path_key(built)} if built.is_file() else {}
    for suite in section.suites:
        files = [suite.task_list] if suite.task_list is not None else []
        if suite.path is not None:
            form = format_named(suite.format)
            files += [str(file) for file in suite_inputs(Path(suite.path), form)]
        inputs |= {f"suite {suite.known_as} ({file})": path_key(file) for file in files}
    return inputs


def asked_items(section: EvaluateSettings, built: Path) -> AskedItems:
    """The items of a build, where there is one, and of every suite.

    Raises:
        DataError: a suite that cannot be read.
        EvaluationError: nothing to ask; a suite named like one of the build; an unknown metric.
    """
    plans = {suite.known_as: suite_plan(suite) for suite in section.suites}
    everything: list[Item] = []
    if built.is_file() or not plans:
        everything = list(table_to_items(read_table(built)))
    held_out = [item for item in everything if item.suite != RESERVED]
    twice = sorted({item.suite for item in held_out} & plans.keys())
    if twice:
        raise EvaluationError(
            "A suite has the name of one that the build holds out.",
            slug="suite-name-taken",
            got=twice[0],
            fix="Give it another 'name' in evaluate.suites.",
        )
    for plan in plans.values():
        _say(plan.read)
    found = [item for plan in plans.values() for item in plan.read.items]
    return AskedItems(
        items=(*held_out, *found),
        validation=tuple(item for item in everything if item.suite == RESERVED),
        plans=plans,
    )


def suite_plan(suite: SuiteSettings) -> SuitePlan:
    """Read a suite; what its settings leave open is as its format has it.

    Raises:
        DataError: the suite cannot be read.
        EvaluationError: an unknown metric.
    """
    form = format_named(suite.format)
    steps = form.chain_of_thought if suite.chain_of_thought is None else suite.chain_of_thought
    metrics = _metrics(suite, form)
    spec = SuiteSpec(
        name=suite.known_as,
        path=Path(suite.path or "."),
        shots=form.shots if suite.shots is None else suite.shots,
        chain_of_thought=steps,
        encoding=suite.encoding or "natural_instructions",
        per_task=suite.per_task or form.per_task,
        limit=suite.limit,
        seed=suite.seed,
        languages=suite.languages,
        tasks=task_list(Path(suite.task_list)) if suite.task_list else suite.tasks,
        licence=suite.licence,
    )
    longest = STEP_TOKENS if steps and not form.chain_of_thought else form.max_new_tokens
    return SuitePlan(
        metrics=metrics,
        max_new_tokens=suite.max_new_tokens or longest,
        capped=suite.max_new_tokens is None,
        base_shots=form.base_shots if suite.shots is None else suite.shots,
        lines="several" if steps and form.lines == "one" else form.lines,
        read=read_suite(spec, form)
        if form.read is not None
        else collected(spec, _starter(spec, suite.families)),
    )


def _metrics(suite: SuiteSettings, form: Format) -> Metrics:
    """The metrics that the settings name, else the format's."""
    primary = form.metric if suite.metric is None else suite.metric
    beside: Sequence[str] = () if suite.metric is not None else form.metrics
    if suite.metrics is not None:
        beside = suite.metrics
    default = form.right_at if primary == form.metric else 1.0
    right_at = default if suite.right_at is None else suite.right_at
    if not primary:
        return UNSCORED
    return metrics_named(primary, *beside, right_at=right_at)


def _starter(spec: SuiteSpec, families: Sequence[str]) -> Iterator[Found]:
    """Starter tasks, as a build holds them out: ``per_task`` rows of each, by the seed."""
    from regimen.assets.starter.tasks import catalogue

    form = FormattingSpec(positive=spec.shots)
    seed = spec.seed or 0
    for task in catalogue():
        if selected(task, spec.tasks, families, spec.languages):
            yield from task_items(task, spec.name, spec.per_task or 1, seed, form)


def _say(read: ReadSuite) -> None:
    """One line about a suite; failures are named."""
    failed = sum(read.failed.values())
    line = f"suite {read.name}: {len(read.items)} of {read.rows} items"
    if failed:
        first = read.failures[0]
        place = f"{first.source}:{first.row}"
        line += f"; {failed} rows cannot be used, the first {place}: {first.error}: {first.got}"
    console.line(line)
