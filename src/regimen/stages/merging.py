"""Which way of merging an adapter stays nearest to adapter and quantised base apart: measured."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regimen import console
from regimen.errors import AdapterError
from regimen.evaluation.metrics import metrics_named
from regimen.evaluation.statistics import paired_difference
from regimen.evaluation.suites import ask_chat
from regimen.evaluation.systems import GeneratedSystem, answer_items, scored
from regimen.memory.merging import APART, WAYS, apart, in_words, merged
from regimen.models.divergence import divergence
from regimen.models.forward import prepare
from regimen.models.hardware import bf16_is_fast, set_up
from regimen.records import Item
from regimen.stages.models import LazyGenerator, Loaded
from regimen.tables import read_table, table_to_items
from regimen.tokens.packing import packing_plan
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import Renderer
from regimen.tokens.store import TokenRows, load_token_rows

TOKENS = 20_000
"""Tokens of training rows on which distributions are compared."""

ITEMS = 200
"""Items that every way is asked."""

SCORER = "exact"


def file_dtype(base: str) -> str:
    """The type of the weights in a base's files."""
    config = json.loads((Path(base) / "config.json").read_text(encoding="utf-8"))
    named = config.get("dtype", config.get("torch_dtype")) or "float32"
    return named if named in ("float32", "bfloat16", "float16") else "float32"


def measured(path: str, tokenizer: Any, dtype: str) -> dict[str, Any]:
    """Every way against the adapter apart: KL and loss on rows of its training, scores on items.

    Args:
        path: of the adapter, in the folder of the training that made it.
        tokenizer: beside it.
        dtype: in which a merged model is written, and so in which it is measured.

    Returns:
        ``ways``: for each, ``kl`` and ``nll`` in nats, ``agree`` (share of equal likeliest tokens),
        ``score`` with ``difference``, ``low`` and ``high`` against the adapter apart, where there
        are items; ``nearest``: the way with the lowest KL.

    Raises:
        AdapterError: there are no rows to measure on.
    """
    set_up()
    rows, items = _rows(path), _items(path)
    reference = _loaded(apart(path, tokenizer), tokenizer)
    scores = {APART: _scores(reference, items)}
    ways: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        if way == APART:
            continue
        # rounded to what is written, and computed in fp32 like the other
        network = merged(path, tokenizer, way).to(getattr(torch, dtype)).float()
        it = _loaded(network, tokenizer)
        found = divergence(reference.language_model, it.language_model, _batches(rows))
        ways[APART] = {"kl": 0.0, "nll": found.first_nll, "agree": 1.0}
        ways[way] = {"kl": found.kl, "nll": found.second_nll, "agree": found.agree}
        scores[way] = _scores(it, items)
        del network, it
        gc.collect()
    for way, values in scores.items():
        ways[way] |= _score(values, scores[APART], items)
    nearest = min((way for way in ways if way != APART), key=lambda way: ways[way]["kl"])
    return {
        "ways": ways,
        "nearest": nearest,
        "positions": int(rows.supervised.sum()),
        "items": len(items),
    }


def rows_file(path: str) -> Path:
    """The rows of the training that made an adapter."""
    return Path(path).parent / "tokens.arrow"


def _rows(path: str) -> TokenRows:
    """Some rows that the adapter was trained on, of every length."""
    file = rows_file(path)
    if not file.is_file():
        raise AdapterError(
            "There is nothing to measure the ways of merging on.",
            slug="merge-no-rows",
            got=f"no {file}",
            expected="the adapter in the folder of the training that made it, which has its rows",
            fix="Name that folder, or choose: --into dequantised, which was trained.",
        )
    rows = load_token_rows(file)
    order = np.random.default_rng(0).permutation(len(rows))
    enough = int(np.searchsorted(np.cumsum(rows.lengths[order]), TOKENS)) + 1
    return rows.take(np.sort(order[:enough]).tolist())


def _batches(rows: TokenRows) -> Any:
    plan = packing_plan(rows.lengths, seed=0, epoch=0, token_budget=4096, shuffle=False)
    for numbers in plan:
        yield ragged_batch(rows.segments(numbers))


def _items(path: str) -> list[Item]:
    """Items with references of the run that the adapter is of, if there are any."""
    file = Path(path).parent.parent / "build" / "items.parquet"
    if not file.is_file():
        return []
    found = [item for item in table_to_items(read_table(file)) if item.references]
    step = max(1, len(found) // ITEMS)
    return found[::step][:ITEMS]


def _loaded(network: Any, tokenizer: Any) -> Loaded:
    network.eval()
    return Loaded(prepare(network), tokenizer, Renderer(tokenizer), 0)


def _scores(it: Loaded, items: Sequence[Item]) -> list[float]:
    if not items:
        return []
    scorer = metrics_named(SCORER).scorers[SCORER]
    generator = LazyGenerator("merged", lambda: it, bf16=bf16_is_fast())
    system = GeneratedSystem(generator, partial(ask_chat, max_new_tokens=64))
    with console.progress(len(items), "combine", "answers") as bar:
        answers = answer_items(system, items, bar.advance)
    return [scored(scorer, answer, item)[0] for answer, item in zip(answers, items, strict=True)]


def _score(
    values: Sequence[float], reference: Sequence[float], items: Sequence[Item]
) -> dict[str, Any]:
    if not items:
        return {}
    found = paired_difference(values, reference, [item.cluster or item.item_id for item in items])
    return {
        "score": float(np.mean(values)),
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
    }


def show(told: Mapping[str, Any]) -> None:
    """A table of the ways."""
    rows = []
    for way, values in told["ways"].items():
        scores = [None, "", ""]
        if "score" in values:
            scores = [
                round(values["score"], 3),
                f"{values['difference']:+.3f}",
                "" if values["low"] is None else f"{values['low']:+.3f}..{values['high']:+.3f}",
            ]
        note = "written" if way == told["into"] else "nearest" if way == told["nearest"] else ""
        numbers = [f"{values['kl']:.5f}", f"{values['agree']:.1%}", f"{values['nll']:.4f}"]
        rows.append([way, *numbers, *scores, note])
    console.table(
        f"combine: the adapter saw {in_words(told['saw'])}; against adapter and base apart",
        ["way", "KL (nats)", "same token", "loss", "score", "difference", "95%", ""],
        rows,
    )
