"""What few bits cost the tuned tiny base: every method, at several bits, on text and on tasks.

    python benchmarks/quantisation.py [--run DIR] [--quick] [--json]

Runs recipes/quantisation.yaml (build, tune, compress), tunes once more with the rounding known at 3
and at 2 bits, and asks every model the held-out tasks of the demo. A full run writes
benchmarks/results/quantisation.json and docs/quantisation.md. With --run, what is done stays in DIR
and is not done again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from command import carry_out, parser
from quantisation_claims import claims
from quantisation_page import ROOT, write_quantisation_page
from regimen import __version__, console
from regimen.errors import RunError
from regimen.evaluation.metrics import metrics_named
from regimen.evaluation.runner import evaluate
from regimen.evaluation.suites import ask_chat, cluster_of
from regimen.evaluation.systems import GeneratedSystem
from regimen.models.hardware import set_up
from regimen.records import Item
from regimen.settings.suites import RESERVED
from regimen.stages.compress import FULL
from regimen.stages.compress_measure import HeldOut, Reference, compared
from regimen.stages.models import LazyGenerator, load
from regimen.tables import read_table, table_to_items
from result import machine

NAME = "quantisation"
RECIPE = ROOT / "recipes" / "quantisation.yaml"
AWARE = {f"aware-{bits}-64": bits for bits in (3, 2)}
"""Tunings that know of the rounding, on the grids of the recipe."""
QUICK = ("build.instances_per_task=1", "build.held_out.max_tasks=6", "tune.max_steps=8")
QUICK_COMPRESS = (
    "compress.calibration.sequences=8",
    "compress.held_out.function.arguments={seed: 424242, documents: 12}",
    "compress.methods=[{kind: rtn, bits: 3, group_size: channel, symmetric: false, "
    "name: rtn-3-channel}, {kind: gptq, bits: 3, group_size: channel, symmetric: false, "
    "name: gptq-3-channel}]",
)
QUICK_AWARE = 1
ROWS, NEW_TOKENS = 128, 24
"""As the demo evaluates."""


def regimen(verb: str, *arguments: str) -> None:
    """Run a command of regimen on the recipe.

    Raises:
        RunError: it failed.
    """
    start_it = "from regimen.cli import main; main()"
    command = [sys.executable, "-c", start_it, verb, str(RECIPE), *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        raise RunError(
            "A part of the benchmark failed.",
            slug="benchmark-run",
            got=f"{verb}, exit status {done.returncode}",
            fix="Read its output above.",
        )


def prepare(run: Path, *, quick: bool) -> dict[str, Path]:
    """Make all models; their folders by name, the full one first."""
    small = QUICK if quick else ()
    regimen("run", f"run={run / 'plain'}", *small, *(QUICK_COMPRESS if quick else ()))
    told = json.loads((run / "plain" / "compression.json").read_text(encoding="utf-8"))
    folders = {FULL: run / "plain" / "tune" / "final"}
    for entry in told["methods"]:
        if entry["name"] != FULL:
            folders[entry["name"]] = run / "plain" / "compress" / entry["name"]
    for name, bits in list(AWARE.items())[: QUICK_AWARE if quick else None]:
        grid = f"{{bits: {bits}, group_size: 64, symmetric: false}}"
        regimen(
            "tune",
            f"run={run / name}",
            "build=null",
            "compress=null",
            f"tune.data={run / 'plain' / 'build'}",
            f"tune.quantisation_aware={grid}",
            # scales on disk are those of bf16, as the other methods have them
            "tune.model.save_dtype=bfloat16",
            *(one for one in small if one.startswith("tune.")),
        )
        folders[name] = run / name / "tune" / "packed"
    return folders


def task_scores(items: Sequence[Item], folders: Mapping[str, Path]) -> dict[str, Any]:
    """Exact match of every model on the tasks, and its difference from the full model."""
    bf16 = set_up().bf16
    systems = {
        name: GeneratedSystem(
            LazyGenerator(name, partial(load, str(folder)), ROWS, bf16),
            partial(ask_chat, max_new_tokens=NEW_TOKENS),
        )
        for name, folder in folders.items()
    }
    together = [replace(item, suite="tasks") for item in items]
    with console.progress(len(systems) * len(items), NAME, "answers") as bar:
        done = evaluate(
            together,
            systems,
            metrics_named("exact", "rouge_l"),
            pairs=[(name, FULL) for name in folders if name != FULL],
            advance=bar.advance,
        )
    block: dict[str, Any] = done.suites["tasks"]
    scores = {name: [0.0] * len(done.items) for name in folders}
    place = {item.item_id: number for number, item in enumerate(done.items)}
    for row in done.rows:
        scores[row.system][place[row.item_id]] = row.score or 0.0
    clusters = [cluster_of(item) for item in done.items]
    return {"block": block, "scores": scores, "clusters": clusters}


def aware_lines(
    folders: Mapping[str, Path], documents: list[dict[str, Any]], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """Of the tunings that know of the rounding: what ``compress`` measures of the others."""
    full = load(str(folders[FULL]))
    text = HeldOut.of(texts, full.renderer, full.language_model.context_length)
    reference = Reference.of(full.language_model, text)
    found = []
    for name, bits in AWARE.items():
        if name not in folders:
            continue
        told = compared(reference, load(str(folders[name])).language_model)
        documents += [
            {"name": name, "document": number, **one} for number, one in enumerate(told.documents)
        ]
        size = (folders[name] / "model.safetensors").stat().st_size
        grid = {"bits": bits, "group_size": 64, "symmetric": False}
        found.append({"name": name, "kind": "aware", **grid, "bytes": size, **told.to_json()})
    return found


def held_out_texts(run: Path) -> list[str]:
    """The text that ``compress`` was measured on."""
    from regimen.settings.loading import load_settings
    from regimen.stages.texts import load_texts

    settings = load_settings(run / "plain" / "settings.yaml", [])
    assert settings.compress is not None
    assert settings.compress.held_out is not None
    return load_texts(settings.compress.held_out)


def bench(run: Path, *, quick: bool) -> dict[str, Any]:
    """Make the models, ask them, and put together the result."""
    where, start = machine(), time.perf_counter()
    folders = prepare(run, quick=quick)
    told = json.loads((run / "plain" / "compression.json").read_text(encoding="utf-8"))
    documents = pq.read_table(run / "plain" / "compress" / "documents.parquet").to_pylist()
    lines = told["methods"] + aware_lines(folders, documents, held_out_texts(run))
    items = list(table_to_items(read_table(run / "plain" / "build" / "items.parquet")))
    items = [item for item in items if item.suite != RESERVED]
    asked = task_scores(items, folders)
    for line in lines:
        block = asked["block"]
        line["score"] = block["systems"][line["name"]]
        line["score_difference"] = block["paired"].get(f"{line['name']}-{FULL}")
    return {
        "name": NAME,
        "versions": {
            "regimen": __version__,
            "torch": version("torch"),
            "transformers": version("transformers"),
        },
        "machine": where,
        "quick": quick,
        "minutes": (time.perf_counter() - start) / 60,
        "recipe": RECIPE.read_text(encoding="utf-8"),
        "items": len(items),
        "documents": len({one["document"] for one in documents}),
        "rows": lines,
        "claims": claims(documents, asked["scores"], asked["clusters"]),
        "ratios": {},
    }


def show(result: Mapping[str, Any]) -> None:
    """Print a line for each model and each claim."""
    body = [
        (
            row["name"],
            f"{row['kl']['value']:.4f}",
            f"{row['bits_per_byte']['value']:.3f}",
            f"{row['score']['score']:.3f}",
            f"{row['bytes'] / 1e6:.2f}",
        )
        for row in result["rows"]
    ]
    console.table(NAME, ("model", "KL", "bits per byte", "tasks", "MB"), body)
    for claim in result["claims"]:
        console.line(f"  {claim['claim']}: {claim['verdict']}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; the exit status."""
    made = parser("What few bits cost.", quick="a few steps, two methods: no results")
    made.add_argument("--run", type=Path, help="where the runs are kept")
    options = made.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="quantisation-") as folder:
        run = (options.run or Path(folder)).resolve()
        return carry_out(
            options, lambda: bench(run, quick=options.quick), show, write_quantisation_page
        )


if __name__ == "__main__":
    sys.exit(main())
