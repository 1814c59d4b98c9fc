"""Peak memory of tuning models that are large for the machine, beside TRL.

    python benchmarks/memory.py [--work NAME] [--quick] [--turns N] [--json]
        [--peer-python PYTHON]

`qlora_1b`: LoRA on 1.1 billion drawn weights in 4 bits, and with the base left on disk.
`sft_full_135m`: all weights of the 135 M shape in the smallest form, against TRL's smallest and
against our fastest. A full run writes benchmarks/results/memory.json; of one work, its part. Where
the processor has no products in bf16, everything computes in fp32.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from command import carry_out, parser, require_peers
from processes import HERE, Failure, Run, run, spread
from regimen import console
from render import write_page
from result import machine, read
from work import LORA, MAX_LENGTH, MODEL_135M, Rows, draw_rows, write

NAME = "memory"
FILE = f"{NAME}.json"
MIB = 1 << 20
MODEL_1B: dict[str, Any] = MODEL_135M | {
    "vocab_size": 32_000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}
"""The shape of TinyLlama-1.1B."""

OURS, TRL = "regimen", "trl"
ADAPTER = {"kind": "lora", "r": 16, "alpha": 32, "target_modules": "all-linear"}
LEAST = {"activations": "full", "allocator": "return"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One process: whose, its name, its settings."""

    side: str
    name: str
    settings: Mapping[str, Any]


def trl(name: str, *, bf16: bool, **more: Any) -> Entry:
    """An entry of TRL at the same rows in a step."""
    fixed = {
        "use_cpu": True,
        "bf16": bf16,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": ROWS,
        "max_length": MAX_LENGTH,
        "logging_steps": 1,
        "save_strategy": "no",
        "lr_scheduler_type": "constant",
        "learning_rate": 1e-4,
        "shuffle_dataset": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "dataloader_pin_memory": False,
    }
    return Entry(TRL, name, fixed | more)


ROWS = 4
"""Rows of a step."""


def entries(work: str, bf16: bool) -> tuple[Entry, ...]:
    """What is run, in order."""
    dtype = "bfloat16" if bf16 else "float32"
    common = {"max_length": MAX_LENGTH, "tokens_per_batch": MAX_LENGTH, "learning_rate": 1e-4}
    if work == "qlora_1b":
        lora = common | {"adapter": ADAPTER}
        peft = dict(LORA)
        return (
            Entry(OURS, "nf4", lora | {"quantise": "nf4", "memory": LEAST}),
            Entry(OURS, "nf4, on disk", lora | {"quantise": "nf4", "memory": LEAST | STREAM}),
            trl(
                "nf4, checkpoints, prepared",
                bf16=bf16,
                quantise="nf4",
                lora=peft,
                dtype=dtype,
                gradient_checkpointing=True,
                prepare=True,
            ),
            # where bf16 is not multiplied, hours
            *(
                [
                    trl(
                        "nf4, checkpoints",
                        bf16=bf16,
                        quantise="nf4",
                        lora=peft,
                        dtype="bfloat16",
                        gradient_checkpointing=True,
                    )
                ]
                if bf16
                else []
            ),
        )
    small = {"model": {"dtype": "bfloat16"}, "memory": LEAST}
    return (
        Entry(OURS, "fastest", common),
        Entry(OURS, "lomo", common | {"optimizer": "lomo", "memory": LEAST}),
        Entry(OURS, "lomo, bf16 weights", common | {"optimizer": "lomo"} | small),
        Entry(OURS, "adafactor, bf16 weights", common | {"optimizer": "adafactor"} | small),
        trl("fp32, AdamW", bf16=bf16, gradient_checkpointing=False),
        trl("checkpoints, Adafactor", bf16=bf16, gradient_checkpointing=True, optim="adafactor"),
        trl(
            "bf16 weights, checkpoints, Adafactor",
            bf16=bf16,
            dtype="bfloat16",
            gradient_checkpointing=True,
            optim="adafactor",
        ),
        trl(
            "bf16 weights, checkpoints, 8-bit AdamW",
            bf16=bf16,
            dtype="bfloat16",
            gradient_checkpointing=True,
            optim="adamw_bnb_8bit",
        ),
        trl(
            "bf16 weights, checkpoints, SGD",
            bf16=bf16,
            dtype="bfloat16",
            gradient_checkpointing=True,
            optim="sgd",
        ),
    )


STREAM = {"stream": True}
WORKS = {"qlora_1b": MODEL_1B, "sft_full_135m": MODEL_135M}


def rows_of(count: int, vocabulary: int) -> Rows:
    """Drawn rows, the first of them as long as rows can be: it decides the peak."""
    drawn = draw_rows(count, vocabulary=vocabulary)
    longest = MAX_LENGTH - int(drawn.lengths[0])
    draw = np.random.default_rng(0).integers(3, vocabulary, longest).astype(np.int32)
    ids = np.concatenate([drawn.ids[: drawn.lengths[0]], draw, drawn.ids[drawn.lengths[0] :]])
    lengths = drawn.lengths.copy()
    lengths[0] = MAX_LENGTH
    return Rows(ids, lengths, drawn.prompts)


def write_work(folder: Path, model: Mapping[str, Any], steps: int) -> None:
    """Model in bf16, tokenizer and rows."""
    import torch
    from transformers import AutoModelForCausalLM

    rows = rows_of(ROWS * steps, int(model["vocab_size"]))
    write(folder, rows, model, {"name": NAME})
    place = folder / "model"
    network = AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16)
    network.save_pretrained(place)


def bench(python: Path, works: Sequence[str], *, quick: bool, turns: int) -> dict[str, Any]:
    """Every entry of some works in turn, and the ratios."""
    from regimen.models.hardware import bf16_is_fast

    require_peers(python)
    where, bf16 = machine(), bf16_is_fast()
    steps, turns = (2, 1) if quick else (3, turns)
    rows: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    for work in works:
        model = WORKS[work] | ({"num_hidden_layers": 2} if quick else {})
        with tempfile.TemporaryDirectory() as directory:
            folder = Path(directory)
            write_work(folder, model, steps)
            for entry in entries(work, bf16):
                made = [_one(python, folder, entry, steps) for _ in range(turns)]
                rows.append({"work": work, "side": entry.side, "name": entry.name} | _row(made))
                for one in made:
                    versions |= one.raw["versions"] if isinstance(one, Run) else {}
                console.line(f"  {json.dumps(rows[-1])}")
    on = {"versions": versions, "machine": where | {"bf16": bf16}}
    return {
        "name": NAME,
        **on,
        "quick": quick,
        "works": dict.fromkeys(works, on),
        "rows": rows,
        "ratios": ratios(rows),
    }


def _one(python: Path, folder: Path, entry: Entry, steps: int) -> Run | Failure:
    ours = entry.side == OURS
    script = HERE / ("regimen_memory.py" if ours else "peers/trl_memory.py")
    settings = dict(entry.settings)
    if ours:
        settings |= {"steps": steps, "gradient_accumulation_steps": 1}
    else:
        settings |= {"max_steps": steps}
    command = [sys.executable if ours else str(python), str(script)]
    return run(command, folder, settings, {}, warm=1, limit=2400)


def _row(made: Sequence[Run | Failure]) -> dict[str, Any]:
    failed = [one.reason for one in made if isinstance(one, Failure)]
    if failed:
        return {"failed": failed[0]}
    done = [one for one in made if isinstance(one, Run)]
    return {
        "memory_mib": spread([one.grown_bytes / MIB for one in done]),
        "tokens_per_second": spread([one.tokens_per_second for one in done]),
        "trained": done[0].raw["trained"],
        "loss": done[0].losses,
    }


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """TRL's smallest over ours, our smallest forms in GiB, and their time against our fastest."""
    found: dict[str, float] = {}
    for work in dict.fromkeys(row["work"] for row in rows):
        here = [row for row in rows if row["work"] == work and "failed" not in row]
        ours = [row for row in here if row["side"] == OURS]
        theirs = [row["memory_mib"]["median"] for row in here if row["side"] == TRL]
        if not ours:
            continue
        for row in ours:
            found[f"{work}_gib ({row['name']})"] = row["memory_mib"]["median"] / 1024
        least = min(ours, key=lambda row: row["memory_mib"]["median"])
        if theirs:
            found[f"{work}_memory_vs_trl"] = min(theirs) / least["memory_mib"]["median"]
        fastest = max(row["tokens_per_second"]["median"] for row in ours)
        found[f"{work}_time_over_our_fastest"] = fastest / least["tokens_per_second"]["median"]
    return found


def with_others(new: dict[str, Any], old: Mapping[str, Any] | None) -> dict[str, Any]:
    """A result of some works with what was measured of the others before: each work names its own
    machine and versions, and no ratio is of two works.
    """
    if old is None:
        return new
    rows = [*(row for row in old["rows"] if row["work"] not in new["works"]), *new["rows"]]
    return new | {"works": old["works"] | new["works"], "rows": rows, "ratios": ratios(rows)}


def show(result: Mapping[str, Any]) -> None:
    """Print the result as tables."""
    body = [
        (
            row["work"],
            row["side"],
            row["name"],
            row.get("failed") or f"{row['memory_mib']['median']:,.0f}",
            "" if "failed" in row else f"{row['tokens_per_second']['median']:,.1f}",
        )
        for row in result["rows"]
    ]
    console.table(NAME, ("work", "side", "entry", "MiB", "tokens/s"), body)
    console.table("", ("ratio", "value"), [(k, f"{v:.2f}") for k, v in result["ratios"].items()])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = parser(
        "Peak memory of large tunings.",
        quick="two layers, one turn",
        peer="Python of the peers' environment",
    )
    options.add_argument("--work", choices=list(WORKS), help="one of the works alone")
    options.add_argument("--turns", type=int, default=2, help="runs of each entry")
    given = options.parse_args(argv)
    works = [given.work] if given.work else list(WORKS)
    return carry_out(
        given,
        lambda: with_others(
            bench(given.peer_python, works, quick=given.quick, turns=given.turns),
            None if given.quick else read(HERE / "results" / FILE),
        ),
        show,
        lambda _: write_page(),
    )


if __name__ == "__main__":
    sys.exit(main())
