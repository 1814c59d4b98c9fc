"""The systems that ``evaluate`` compares: models, the prompted base, the copy baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from regimen import console
from regimen.adapters.several import is_routed, read_routes
from regimen.evaluation.changes import Change
from regimen.evaluation.metrics import Metrics
from regimen.evaluation.published.formats import Lines
from regimen.evaluation.suites import (
    BLANK_LINE,
    NEXT_INPUT,
    ask_chat,
    ask_prompted,
    by_suite,
    choose_k,
    copy_demonstration,
    copy_input,
    labels_of,
)
from regimen.evaluation.systems import ComputedSystem, GeneratedSystem, System
from regimen.models.hardware import bf16_is_fast
from regimen.protocols import Request
from regimen.records import Item
from regimen.settings.evaluate import EvaluateSettings
from regimen.stages.evaluate_items import AskedItems
from regimen.stages.models import LazyGenerator, load, token_logps
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows

PROMPTED = "base_prompted"
"""The base as a few-shot prompt in plain text asks it: a system without a model of its own."""

PROBED = 16
"""Items of each suite on whose prompts the log-probabilities of base and tuned are compared."""

STOPS: Mapping[Lines, tuple[str, ...] | None] = {
    "one": None,
    "several": BLANK_LINE,
    "open": NEXT_INPUT,
}
"""What ends an answer to plain text; None lets the demonstrations decide."""


def model_generators(
    section: EvaluateSettings, models: Mapping[str, str]
) -> dict[str, LazyGenerator]:
    """One generator per model that answers; all are asked with the tuned model's template."""
    asked = {"base" if name == PROMPTED else name for name in section.systems}
    bf16 = bf16_is_fast()
    template = _template(models["tuned"])
    return {
        name: LazyGenerator(
            name,
            partial(load, path, template=template),
            section.batch_size,
            bf16,
            section.kv_cache,
        )
        for name, path in models.items()
        if name in asked
    }


def _template(path: str) -> str | None:
    """The chat template that a tuned model carries."""
    from regimen.models.loading import load_tokenizer
    from regimen.tokens.rendering import Renderer

    if is_routed(path):
        path = next(iter(read_routes(path).adapters.values()))
    return Renderer(load_tokenizer(path)).template


def named_systems(
    section: EvaluateSettings,
    generators: Mapping[str, LazyGenerator],
    asked: AskedItems,
    metrics: Metrics,
) -> tuple[dict[str, System], dict[str, Any]]:
    """The systems that the settings name, and how the prompted base was chosen."""
    lengths = _lengths(section, asked, generators)

    def chat(item: Item) -> Request:
        return ask_chat(item, max_new_tokens=lengths.get(item.suite, section.max_new_tokens))

    found: dict[str, System] = {}
    shots: dict[str, Any] = {}
    for name in section.systems:
        if name in generators:
            found[name] = GeneratedSystem(generators[name], chat)
        elif name == PROMPTED:
            k, shots = _shots(section, generators["base"], asked, metrics)
            found[name] = GeneratedSystem(generators["base"], _prompted(section, asked, k, lengths))
        elif name == "copy_input":
            found[name] = ComputedSystem(copy_input)
        elif name == "copy_demonstration":
            found[name] = ComputedSystem(copy_demonstration)
    return found, shots


def _lengths(
    section: EvaluateSettings, asked: AskedItems, generators: Mapping[str, LazyGenerator]
) -> dict[str, int]:
    """Longest answer by suite; a length of the format's gives way to half of the context."""
    lengths: dict[str, int] = {}
    # the tuned model's, where it is asked; the copy baselines read nothing
    model = generators.get("tuned") or next(iter(generators.values()), None)
    for name, plan in asked.plans.items():
        lengths[name] = plan.max_new_tokens
        if model is None or not plan.capped:
            continue
        half = model.loaded.language_model.context_length // 2
        if half < plan.max_new_tokens:
            console.line(f"suite {name}: answers of at most {half} tokens, half of the context")
            lengths[name] = half
    return lengths


def _prompted(
    section: EvaluateSettings, asked: AskedItems, k: int, lengths: Mapping[str, int]
) -> Callable[[Item], Request]:
    """How the prompted base is asked: each suite with its examples and its end of an answer."""

    def ask(item: Item) -> Request:
        plan = asked.plans.get(item.suite)
        if plan is None:
            return ask_prompted(item, k, max_new_tokens=section.max_new_tokens)
        return ask_prompted(
            item, asked.shots(item, k), max_new_tokens=lengths[item.suite], stop=STOPS[plan.lines]
        )

    return ask


def _shots(
    section: EvaluateSettings, base: LazyGenerator, asked: AskedItems, metrics: Metrics
) -> tuple[int, dict[str, Any]]:
    """Demonstrations of the prompted base, chosen on validation items where there are any."""
    suites = {name: plan.base_shots for name, plan in asked.plans.items()}
    block: dict[str, Any] = {"suites": suites} if suites else {}
    if len(section.shots) == 1 or not asked.validation:
        return section.shots[0], block
    chosen = choose_k(
        base,
        asked.validation[: section.validation_items],
        section.shots,
        metrics,
        held_out=asked.items,
        max_new_tokens=section.max_new_tokens,
    )
    scores = {str(n): score for n, score in chosen.scores.items()}
    return chosen.k, {"k": chosen.k, "validation": scores, **block}


def measured_change(generators: Mapping[str, LazyGenerator], items: Sequence[Item]) -> Change:
    """Mean |change of log-probability| over the prompts of some items, base against tuned."""
    base, tuned = generators["base"].loaded, generators["tuned"].loaded
    suites = by_suite(items).values()
    probe = [item for suite in suites for item in suite.items[:PROBED]]
    most = base.language_model.context_length
    texts = [base.renderer.document(item.messages[-1].text) for item in probe]
    rows = token_rows([Rendered(text.ids[:most], text.weights[:most]) for text in texts])
    bf16 = generators["base"].bf16
    before = token_logps(base.language_model, rows, bf16=bf16)
    deltas, tokens = [], 0
    for in_use, places in tuned.groups([dict(labels_of(item)) for item in probe]):
        with in_use:
            after = token_logps(tuned.language_model, rows.take(places), bf16=bf16)
        deltas += [
            float((logp - before[place]).abs().sum())
            for logp, place in zip(after, places, strict=True)
        ]
        tokens += sum(map(len, after))
    return Change(
        adapter_tensors=tuned.adapter_tensors, mean_abs_delta_logp=sum(deltas) / max(tokens, 1)
    )
