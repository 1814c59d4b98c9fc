"""`datasets.map` over the rows of build.py, one process: `datasets_map.py FOLDER OUT SETTINGS`.

The function renders by templates that its process has compiled; the new columns stay in memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import datasets

from build_bare import compiled, pin
from build_works import KINDS, Kind, digest, read_rows


def one(row: Mapping[str, Any], kind: Kind) -> dict[str, str]:
    """Prompt and answer of a row."""
    prompt, answer = compiled(kind)[row["template"]].texts(row)
    return {"prompt": prompt, "answer": answer}


def many(rows: Mapping[str, list[Any]], kind: Kind) -> dict[str, list[str]]:
    """Prompts and answers of a batch."""
    names = list(rows)
    made = [
        compiled(kind)[row["template"]].texts(row)
        for values in zip(*(rows[name] for name in names), strict=True)
        for row in (dict(zip(names, values, strict=True)),)
    ]
    return {"prompt": [text for text, _ in made], "answer": [text for _, text in made]}


def mapped(kind: Kind, rows: datasets.Dataset, settings: Mapping[str, Any]) -> datasets.Dataset:
    """The texts as a data set."""
    batched = settings["batched"]
    return rows.map(
        partial(many if batched else one, kind=kind),
        batched=batched,
        num_proc=settings["processes"],
        remove_columns=rows.column_names,
        keep_in_memory=settings["in_memory"],
        load_from_cache_file=False,
    )


def measured(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """For each kind: seconds of every round, and the digest of its texts."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        rows = datasets.Dataset.from_list(read_rows(folder, kind))
        compiled(kind)
        seconds = []
        for _ in range(settings["rounds"]):
            start = time.perf_counter()
            made = mapped(kind, rows, settings)
            seconds.append(time.perf_counter() - start)
        texts = list(zip(made["prompt"], made["answer"], strict=True))
        found[kind.name] = {"seconds": seconds, "digest": digest(texts)}
    return {"kinds": found, "versions": {"datasets": version("datasets")}}


def main() -> None:
    """Measure and write."""
    folder, out, told = sys.argv[1:]
    settings = json.loads(told)
    pin(settings["cores"])
    datasets.disable_caching()
    datasets.disable_progress_bars()
    Path(out).write_text(json.dumps(measured(Path(folder), settings)))


if __name__ == "__main__":
    main()
