"""How far an aligned model has gone from the model that it started from: KL by samples.

For prompts x of each suite one answer y is sampled from the aligned model, and the mean of
log p(y|x) - log p0(y|x) over them estimates the KL divergence of the policy from its start, in nats
per answer, as the objective of RLHF has it (Stiennon et al. 2020, arXiv 2009.01325, section 3.4).
Both likelihoods are of the answer's text with the end of its turn; answers that were cut at the
longest length have no end, are left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from regimen.instances.draws import seeded
from regimen.models.hardware import bf16_is_fast
from regimen.protocols import Alternatives, Completion, Request
from regimen.records import Item
from regimen.settings.pipeline import PipelineSettings
from regimen.stages.evaluate_items import asked_items
from regimen.stages.likelihoods import LocalLikelihoods
from regimen.stages.models import LazyGenerator, load


def drift(
    settings: PipelineSettings,
    directory: Path,
    *,
    start: str,
    answers: int,
    suites: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """By suite: KL from the model ``start`` and the length of sampled answers.

    Args:
        settings: of the line that ended in ``directory``, with an ``align`` section or
            ``evaluate.tuned``.
        directory: of the line.
        start: folder of the model that the alignment started from.
        answers: prompts of each suite, spread over it.
        suites: which.
        seed: of the samples.

    Returns:
        ``{suite: {"kl", "kl_se", "tokens", "answers", "cut"}}``: nats per answer with its standard
        error (None without two answers), mean tokens, answers that were measured, answers that
        were cut.
    """
    section = settings.evaluate
    assert section is not None
    asked = asked_items(section, directory / "build" / "items.parquet")
    aligned = str(directory / "align" / "final") if settings.align else str(section.tuned)
    bf16 = bf16_is_fast()
    models = {
        name: LazyGenerator(name, partial(load, path), section.batch_size, bf16)
        for name, path in (("aligned", aligned), ("start", start))
    }
    found: dict[str, Any] = {}
    for suite in suites:
        items = _spread([item for item in asked.items if item.suite == suite], answers)
        longest = asked.plans[suite].max_new_tokens
        samples = _sampled(models["aligned"], items, longest, seed)
        found[suite] = _measured(models, items, samples)
    return found


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """So many items at equal distances."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def _sampled(
    model: LazyGenerator, items: Sequence[Item], longest: int, seed: int
) -> dict[str, Completion]:
    requests = [
        Request(
            id=item.item_id,
            messages=item.messages,
            max_new_tokens=longest,
            temperature=1.0,
            seed=seeded(seed, "drift", item.item_id).randrange(2**31),
        )
        for item in items
    ]
    return dict(model.generate(requests))


def _measured(
    models: Mapping[str, LazyGenerator], items: Sequence[Item], samples: Mapping[str, Completion]
) -> dict[str, Any]:
    whole = [item for item in items if samples[item.item_id].finish == "stop"]
    asked = [
        Alternatives(id=item.item_id, messages=item.messages, answers=(samples[item.item_id].text,))
        for item in whole
    ]
    logps = {
        name: {key: one.logps[0] for key, one in LocalLikelihoods(model).answer_logps(asked)}
        for name, model in models.items()
    }
    ratios = [logps["aligned"][one.id] - logps["start"][one.id] for one in asked]
    spread = float(np.std(ratios, ddof=1)) / math.sqrt(len(ratios)) if len(ratios) > 1 else None
    return {
        "kl": float(np.mean(ratios)) if ratios else None,
        "kl_se": spread,
        "tokens": float(np.mean([samples[item.item_id].tokens for item in items])),
        "answers": len(whole),
        "cut": len(items) - len(whole),
    }
