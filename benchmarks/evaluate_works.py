"""The works of evaluate.py, written to disk: a model with its chat template, and items.

    tuned    held-out items of the demo and its base, tuned for some steps
    random   64 items of a 15 M-parameter Llama with random weights: every answer is cut
    shots    the same model, items that begin with the same two demonstrations, 4 tasks

A folder holds ``model/`` (weights, tokenizer, chat template) and ``items.json``: the messages, the
accepted answers, the ids that end an answer, the most new tokens.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from processes import HERE
from regimen import console
from regimen.models.loading import load_tokenizer
from regimen.records import Item, Message
from regimen.tables import items_to_table, read_table, table_to_items, write_table
from regimen.tokens.rendering import Renderer, stop_ids
from work import MODEL, SEED, draw_rows, prompts, write

TEMPLATE = (
    "{% for message in messages %}<s>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>{% endif %}"
)
"""Of the random model: a turn between the two marks that its tokenizer has."""
TASKS, DEMONSTRATIONS, DEMONSTRATION_WORDS, ASKED_WORDS = 4, 2, 300, 40


def write_tuned(folder: Path, *, quick: bool) -> None:
    """Build the demo's items, tune its base for some steps."""
    from regimen.settings.loading import load_settings
    from regimen.stages.pipeline import run_pipeline

    root, run = HERE.parent, folder / "run"
    changes = [
        f"run={run}",
        f"tune.max_steps={6 if quick else 200}",
        f"build.held_out.max_tasks={8 if quick else 80}",
        f"build.instances_per_task={1 if quick else 7}",
    ]
    # the paths of the recipe begin at the checkout
    with contextlib.chdir(root), console.quiet():
        run_pipeline(load_settings(root / "recipes" / "demo.yaml", changes), ["build", "tune"])
    (run / "tune" / "final").rename(folder / "model")
    found = table_to_items(read_table(run / "build" / "items.parquet"))
    items = [item for item in found if item.suite != "validation"]
    _write_items(folder, items[:: 2 if quick else 1], 24)


def write_random(folder: Path, *, quick: bool) -> None:
    """Items with the lengths of instruction data."""
    rows = draw_rows(12 if quick else 64)
    write(folder, rows)
    _finish(folder, [_item(_words(ids)) for ids in prompts(rows)])


def write_shots(folder: Path, *, quick: bool) -> None:
    """Items of a few tasks, each task with demonstrations before what is asked."""
    write(folder, draw_rows(2))
    rng = np.random.default_rng([SEED, 7])
    items = []
    for _ in range(2 if quick else TASKS):
        shown = [_drawn(rng, DEMONSTRATION_WORDS) for _ in range(DEMONSTRATIONS)]
        for _ in range(6 if quick else 16):
            items.append(_item(" ".join([*shown, _drawn(rng, ASKED_WORDS)])))
    _finish(folder, items)


WORKS: dict[str, Callable[..., None]] = {
    "tuned": write_tuned,
    "random": write_random,
    "shots": write_shots,
}


def _words(ids: Sequence[int]) -> str:
    return " ".join(f"w{i}" for i in ids if i > 2)


def _drawn(rng: np.random.Generator, count: int) -> str:
    return _words(rng.integers(3, MODEL["vocab_size"], count).tolist())


def _item(text: str) -> Item:
    message = Message(role="user", content=text)
    return Item(suite="own", messages=(message,), references=("w3 w4",), cluster=text[:8])


def _finish(folder: Path, items: Sequence[Item]) -> None:
    """Put the tokenizer with its template beside the weights, and write the items."""
    tokenizer = load_tokenizer(str(folder / "tokenizer"))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder / "model")
    _write_items(folder, items, 32)


def _write_items(folder: Path, items: Sequence[Item], new_tokens: int) -> None:
    tokenizer = load_tokenizer(str(folder / "model"))
    renderer = Renderer(tokenizer)
    write_table(folder / "items.parquet", items_to_table(items))
    told: dict[str, Any] = {
        "new_tokens": new_tokens,
        "stop_ids": list(stop_ids(tokenizer, renderer)),
        "items": [
            {
                "id": item.item_id,
                "messages": [{"role": m.role, "content": m.text} for m in item.messages],
                "references": list(item.references),
                # what regimen asks with, so that the other side can check that it asks the same
                "ids": list(renderer.prompt(item.messages)),
            }
            for item in items
        ],
    }
    (folder / "items.json").write_text(json.dumps(told), encoding="utf-8")
