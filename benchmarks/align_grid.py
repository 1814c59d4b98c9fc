"""The grids of the works that align: ways to run TRL's DPOTrainer and RewardTrainer.

`padding_free` of DPOTrainer falls back to padding (TRL 1.16 says so itself), so no entry has it.
A trainer that computes the reference beforehand (`precompute_ref_log_probs`) is timed in both
phases; otherwise the reference is a part of each step.
"""

from __future__ import annotations

from typing import Any

from entries import KEEP_BLOCKS, Configuration, Rows, equal, named
from works import Work

_GROUPED: dict[str, Any] = {
    "train_sampling_strategy": "group_by_length",
    "remove_unused_columns": False,  # the length is one of them
}
_BEFORE: dict[str, Any] = {"precompute_ref_log_probs": True}
SCRIPT = "trl_align.py"

_DPO: tuple[Rows, ...] = (
    ("batch 2, by length, reference before", 2, _GROUPED | _BEFORE),
    ("batch 4, by length, reference before", 4, _GROUPED | _BEFORE),
    ("batch 1, reference before", 1, _BEFORE),
    ("batch 8, by length, reference before", 8, _GROUPED | _BEFORE),
    ("batch 2, by length, reference in steps", 2, _GROUPED),
    ("batch 1, checkpointing", 1, _BEFORE | {"gradient_checkpointing": True}),
    ("batch 1, allocator as it is", 1, _BEFORE | {"keep_blocks": False}),
    ("batch 1, compiled", 1, _BEFORE | {"torch_compile": True}),
)
_REWARD: tuple[Rows, ...] = (
    ("batch 2, by length", 2, _GROUPED),
    ("batch 4, by length", 4, _GROUPED),
    ("batch 1", 1, {}),
    ("batch 8, by length", 8, _GROUPED),
    ("batch 1, checkpointing", 1, {"gradient_checkpointing": True}),
    ("batch 1, allocator as it is", 1, {"keep_blocks": False}),
    ("batch 1, compiled", 1, {"torch_compile": True}),
)


def align_grid(work: Work, bf16: bool) -> tuple[Configuration, ...]:
    """All entries of a work that aligns, and the first in the other type of numbers."""
    shapes = _DPO if work.aligns == "dpo" else _REWARD
    made = [_entry(work, row, bf16) for row in shapes]
    return (*made, _entry(work, shapes[0], not bf16))


def align_defaults() -> Configuration:
    """TRL as it comes."""
    return Configuration("defaults", {"use_cpu": True}, {}, "trl", SCRIPT, 0, True)


def _entry(work: Work, row: Rows, bf16: bool) -> Configuration:
    """Pairs of a micro-batch; steps have the pairs of regimen's."""
    name, batch, more = row
    settings = equal(work) | {"bf16": bf16, "gradient_checkpointing": False} | dict(more)
    environment = KEEP_BLOCKS if settings.pop("keep_blocks", True) else {}
    settings["per_device_train_batch_size"] = batch
    settings["gradient_accumulation_steps"] = work.rows_per_step // batch
    same = settings["train_sampling_strategy"] == "sequential"
    compared = None if same else 0
    return Configuration(named(name, bf16), settings, environment, "trl", SCRIPT, compared)
