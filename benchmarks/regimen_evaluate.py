"""regimen's side of evaluate.py: what the stage does with the items of one system.

Rendering, generation, scoring by exact match and ROUGE-L, intervals, and the rows of the answers.

    python benchmarks/regimen_evaluate.py WORK OUT '{"rounds": 3}'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it

from measure import Recorder
from regimen.evaluation.answers import answers_to_table
from regimen.evaluation.metrics import metrics_named
from regimen.evaluation.runner import evaluate
from regimen.evaluation.suites import ask_chat
from regimen.evaluation.systems import GeneratedSystem
from regimen.models.hardware import set_up
from regimen.stages.models import LazyGenerator, load
from regimen.tables import read_table, table_to_items

ROWS = 128
"""Answers generated at the same time, as in the demo."""


def main(work: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Evaluate all items ``rounds`` times and write what was measured to ``out``."""
    recorder = Recorder()
    hardware = set_up()
    told = json.loads((work / "items.json").read_text(encoding="utf-8"))
    items = list(table_to_items(read_table(work / "items.parquet")))
    bf16 = hardware.bf16 and not settings.get("fp32", False)
    generator = LazyGenerator("tuned", partial(load, str(work / "model")), ROWS, bf16)
    ask = partial(ask_chat, max_new_tokens=told["new_tokens"])
    _ = generator.loaded
    recorder.begin()
    for _ in range(int(settings["rounds"])):
        done = evaluate(
            items,
            {"tuned": GeneratedSystem(generator, ask)},
            metrics_named("exact", "rouge_l"),
        )
        answers_to_table(done.rows)
        recorder.step(len(items), 0, 0.0)
    given = {row.item_id: row.answer for row in done.rows}
    recorder.write(
        out,
        versions={name: version(name) for name in ("regimen", "transformers", "torch")},
        threads=torch.get_num_threads(),
        answers=[given[item["id"]] for item in told["items"]],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
