"""The files that a study of alignment learns from and asks: requests of the starter material."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regimen.assets.starter import requests as world
from regimen.assets.starter.safety import Kind, SafetyPrompt
from regimen.runs import Run
from regimen.studies.alignment import (
    CHOICE_SUITES,
    CONVERSATIONS,
    PAIRS,
    SUITES,
    WORLD_SUITES,
    file_of,
)
from regimen.tables import preferences_to_table, write_table

KINDS: tuple[Kind, ...] = ("harmful", "harmless")


def write_requests(body: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Conversations and pairs by the cell's seed, items by that of the file.

    ``work`` holds ``conversations`` with the share ``refused``, ``pairs``, ``prompts`` and
    ``rate_prompts`` (of each kind) and ``items_seed``.

    Returns:
        How many there are of each.
    """
    work, seed = body["work"], int(body["seed"])
    talks = list(world.conversations(work["conversations"], seed, work["refused"]))
    pairs = list(world.preferences(work["pairs"], seed))
    rows = (
        {
            "messages": [{"role": m.role, "content": m.text} for m in talk.messages],
            "task": talk.lineage.task,
        }
        for talk in talks
    )
    _lines(run.path(CONVERSATIONS), rows)
    write_table(run.path(PAIRS), preferences_to_table(pairs))
    for suite in (*SUITES, *CHOICE_SUITES):
        kind: Kind = "harmful" if suite.startswith("harmful") else "harmless"
        count, items_seed = work["prompts"], work["items_seed"]
        if suite in CHOICE_SUITES:
            items = map(_asked, world.requests(kind, "choice", work["rate_prompts"], items_seed))
        elif suite in WORLD_SUITES:
            items = map(_asked, world.requests(kind, "evaluation", count, items_seed))
        else:
            items = map(_prompt, world.unseen(kind, count, items_seed))
        _lines(run.path(file_of(suite)), items)
    return {"conversations": len(talks), "pairs": len(pairs), "prompts": work["prompts"]}


def _asked(asked: world.Asked) -> dict[str, Any]:
    """An item of the small world; its topic is what intervals resample."""
    return {
        "prompt": asked.text,
        "references": [world.helps_with(asked)],
        "cluster": asked.topic,
        "task": asked.verb,
        "family": asked.kind,
        "category": asked.look,
        "language": "en",
    }


def _prompt(prompt: SafetyPrompt) -> dict[str, Any]:
    """An item of an unseen target; its verb is what intervals resample."""
    return {
        "prompt": prompt.text,
        "references": [prompt.topic],
        "cluster": prompt.verb,
        "task": prompt.verb,
        "family": prompt.kind,
        "category": prompt.category,
        "language": "en",
    }


def _lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
