"""regimen's side of the work `eval_loss`: the loss on held-out rows, again and again.

python benchmarks/regimen_eval.py WORK OUT '{"max_steps": 4, "tokens_per_batch": 2048}'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it

from measure import Recorder
from regimen.models.forward import prepare
from regimen.models.hardware import set_up
from regimen.models.loading import ModelSpec, load_model
from regimen.tokens.packing import packing_plan
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.store import TokenRows
from regimen.training.measure import mean_nll
from regimen_sft import arithmetic_of, versions
from work import Rows, read


def token_rows(rows: Rows) -> TokenRows:
    """Each row as one segment."""
    count = len(rows)
    split = np.stack([rows.prompts, rows.supervised], 1).ravel()
    return TokenRows(
        ids=rows.ids,
        weights=np.repeat(np.tile([0.0, 1.0], count), split).astype(np.float32),
        offsets=rows.starts.astype(np.int64),
        parents=np.full(count, -1, dtype=np.int32),
        row_offsets=np.arange(count + 1, dtype=np.int64),
    )


def main(work: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Evaluate and write what was measured to ``out``."""
    recorder = Recorder()
    hardware = set_up()
    rows = read(work)
    model = load_model(ModelSpec(path=str(work / "model")))
    language_model = prepare(model)
    tokens, budget = token_rows(rows), int(settings["tokens_per_batch"])
    recorder.begin()
    for _ in range(int(settings["max_steps"])):
        loss = mean_nll(language_model, tokens, tokens_per_batch=budget, bf16=hardware.bf16)
        recorder.step(len(rows.ids), int(rows.supervised.sum()), loss)
    recorder.stop()
    plan = packing_plan(tokens.lengths, seed=0, epoch=0, token_budget=budget, shuffle=False)
    batches = [ragged_batch(tokens.segments(numbers)) for numbers in plan]
    dtype = torch.bfloat16 if hardware.bf16 else next(model.parameters()).dtype
    recorder.write(
        out,
        versions=versions(),
        threads=torch.get_num_threads(),
        rows=rows.digest(),
        ragged=language_model.ragged,
        allocator=hardware.allocator,
        **arithmetic_of(language_model, [batches] * len(recorder.steps), dtype, backward=False),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
