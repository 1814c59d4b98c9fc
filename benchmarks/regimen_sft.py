"""regimen's side of the works that train: one run of its loop in one process.

python benchmarks/regimen_sft.py WORK OUT '{"max_steps": 8, "batches_per_step": 4}'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it

from measure import Recorder
from regimen.adapters.methods import METHODS, add_adapter, trainable
from regimen.adapters.spec import upkeep_of
from regimen.models.arithmetic import Arithmetic, arithmetic
from regimen.models.forward import LanguageModel, prepare
from regimen.models.hardware import set_up
from regimen.models.loading import ModelSpec, load_model
from regimen.objectives.supervised import Supervised
from regimen.tokens.packing import packing_plan
from regimen.tokens.ragged import RaggedBatch, Segment
from regimen.tokens.store import TokenRows
from regimen.training.data import Data
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions, State
from regimen.training.profiling.rates import product_rate
from regimen.training.schedules import Schedule
from work import BETAS, Rows, facts_of, lora_spec, read
from work import SEED as DRAWN

SEED = 0
Batches = Sequence[Sequence[RaggedBatch]]
"""The micro-batches of each step."""


@dataclass(frozen=True, slots=True)
class MicroBatches(TokenRows):
    """Rows of which the plan sees whole micro-batches: each counts as one, whatever it holds."""

    batches: tuple[np.ndarray, ...] = ()

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def lengths(self) -> np.ndarray:
        """One for each micro-batch."""
        return np.ones(len(self), dtype=np.int64)

    def segments(self, rows: Sequence[int]) -> list[Segment]:
        """The segments of some micro-batches."""
        return TokenRows.segments(self, [int(row) for b in rows for row in self.batches[b]])


def in_order(rows: TokenRows, batches: Sequence[np.ndarray]) -> MicroBatches:
    """Rows in micro-batches that come one after another.

    The plan of rows of one length is a permutation that depends on the seed alone; placing
    micro-batch ``k`` where the plan looks for its ``k``-th row undoes it.
    """
    plan = packing_plan(np.ones(len(batches)), seed=SEED, epoch=0, token_budget=1)
    placed = {numbers[0]: batch for numbers, batch in zip(plan, batches, strict=True)}
    parts = {field.name: getattr(rows, field.name) for field in fields(rows)}
    return MicroBatches(**parts, batches=tuple(placed[number] for number in range(len(batches))))


def micro_batches(
    lengths: np.ndarray, batches_per_step: int, rows_per_step: int
) -> list[np.ndarray]:
    """Rows of each micro-batch: those of a step, in the file's order, shared out by tokens.

    Rows are independent segments, so which of them go through the model together changes nothing
    but memory; the longest go first, each to the micro-batch with the fewest tokens.
    """
    batches: list[np.ndarray] = []
    for start in range(0, len(lengths), rows_per_step):
        of_step = lengths[start : start + rows_per_step]
        bins: list[list[int]] = [[] for _ in range(batches_per_step)]
        tokens = [0] * batches_per_step
        for row in np.argsort(-of_step, kind="stable"):
            least = tokens.index(min(tokens))
            bins[least].append(start + int(row))
            tokens[least] += int(of_step[row])
        batches += [np.array(sorted(rows)) for rows in bins]
    return batches


def token_rows(rows: Rows, batches_per_step: int, rows_per_step: int) -> MicroBatches:
    """Each row as an independent segment; steps are those of the file's order."""
    batches = micro_batches(rows.lengths, batches_per_step, rows_per_step)
    return in_order(rows_apart(rows), batches)


def rows_apart(rows: Rows, each: int = 1) -> TokenRows:
    """Each row as an independent segment; ``each`` of them are one of the result."""
    places = np.arange(len(rows.ids)) - np.repeat(rows.starts[:-1], rows.lengths)
    return TokenRows(
        ids=rows.ids,
        weights=(places >= np.repeat(rows.prompts, rows.lengths)).astype(np.float32),
        offsets=rows.starts.astype(np.int64),
        parents=np.full(len(rows), -1, dtype=np.int32),
        row_offsets=np.arange(0, len(rows) + 1, each, dtype=np.int64),
    )


def arithmetic_of(
    model: LanguageModel, steps: Batches, dtype: torch.dtype, *, backward: bool = True
) -> dict[str, Any]:
    """The matrix arithmetic of each step, and how fast the machine does it now at these shapes.

    Returns:
        FLOP of each step, and FLOP a second of the linear layers' products alone, at the shapes
        of the batch with the middle number of tokens.
    """
    computed = arithmetic(model)
    flop = flop_of_steps(computed, steps, backward=backward)
    batches = sorted((b for step in steps for b in step), key=lambda b: b.num_tokens)
    products = computed.products(batches[len(batches) // 2], dtype)
    wanted = {p: count for p, count in products.items() if backward or p[0] == "forward"}
    return {"flop": flop, "flop_per_second": product_rate(wanted, dtype).flop_per_second}


def flop_of_steps(computed: Arithmetic, steps: Batches, *, backward: bool = True) -> list[float]:
    """FLOP of each step."""
    return [
        sum(f.total if backward else f.forward for b in step for f in computed.flop(b).values())
        for step in steps
    ]


def steps_of(tokens: TokenRows, options: LoopOptions, count: int) -> Batches:
    """The micro-batches of the first ``count`` steps, as the loop makes them."""
    data, each = Data(tokens, options), options.accumulation
    batches = [data.batch(data.row_numbers(i)[0]) for i in range(each * count)]
    return [batches[i : i + each] for i in range(0, len(batches), each)]


def versions() -> dict[str, str]:
    """Of the libraries that regimen's side runs on."""
    return {name: version(name) for name in ("regimen", "transformers", "peft", "torch")}


def main(work: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Train and write what was measured to ``out``."""
    recorder = Recorder()
    hardware = set_up()
    rows, facts = read(work), facts_of(work)
    model = load_model(ModelSpec(path=str(work / "model")))
    adapter = dict(settings.get("adapter", {}))
    if adapter:
        model = add_adapter(model, METHODS[adapter.pop("kind")](**adapter), seed=DRAWN)
    elif facts["lora"]:
        model = add_adapter(model, lora_spec(facts["lora"]), seed=DRAWN)
    language_model = prepare(model)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model, 0.0))
    assert all(group["betas"] == BETAS for group in optimizer.param_groups)
    batches_per_step = int(settings["batches_per_step"])
    options = LoopOptions(
        learning_rate=facts["learning_rate"],
        schedule=Schedule(kind="constant", warmup=0.0),
        tokens_per_batch=1,
        accumulation=batches_per_step,
        max_steps=int(settings["max_steps"]),
        bf16=hardware.bf16,
        seed=SEED,
    )
    seen = [0, 0]

    def record(state: State, losses: Mapping[str, float]) -> None:
        recorder.step(state.tokens - seen[0], state.supervised - seen[1], losses["loss"])
        seen[:] = [state.tokens, state.supervised]

    tokens = token_rows(rows, batches_per_step, facts["rows_per_step"])
    recorder.begin()
    hooks, upkeep = Hooks(progress=record), upkeep_of(model, options.max_steps)
    train(language_model, tokens, Supervised(), optimizer, options, hooks, upkeep=upkeep)
    recorder.stop()
    steps = steps_of(tokens, options, len(recorder.steps))
    dtype = torch.bfloat16 if options.bf16 else next(model.parameters()).dtype
    recorder.write(
        out,
        versions=versions(),
        threads=torch.get_num_threads(),
        rows=rows.digest(),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        autocast=options.bf16,
        ragged=language_model.ragged,
        allocator=hardware.allocator,
        trainable=trainable(model).parameters,
        **arithmetic_of(language_model, steps, dtype),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
