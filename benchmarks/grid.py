"""What runs on each side: regimen's one configuration, and the peer's committed grid.

Every entry but `defaults` has the same maximum length, the same rows in each optimizer step and the
same optimizer. `defaults` is the peer as it comes: only what a run of a given length on a CPU needs
is set (the output directory, no reporting, the number of steps, `use_cpu`). The grid is run in the
type of numbers that the machine multiplies faster, and three of its entries in the other as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from work import BETAS, LEARNING_RATE, MAX_LENGTH, ROWS_PER_STEP

REGIMEN = {"batches_per_step": 6}

ROWS_OF_DEFAULTS = 8
"""Rows of an optimizer step where SFTConfig is left alone."""

KEEP_BLOCKS = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""glibc gives freed blocks back to the kernel later: what regimen sets from inside."""

_EQUAL: dict[str, Any] = {
    "use_cpu": True,
    "learning_rate": LEARNING_RATE,
    "lr_scheduler_type": "constant",
    "adam_beta1": BETAS[0],
    "adam_beta2": BETAS[1],
    "max_length": MAX_LENGTH,
    "train_sampling_strategy": "sequential",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way to run the peer: settings of SFTConfig, and environment variables.

    ``rows`` of an optimizer step; ``same_order`` says whether its steps are the same rows as
    regimen's, so that the losses must agree step by step.
    """

    name: str
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    rows: int = ROWS_PER_STEP
    same_order: bool = True


def _configuration(
    name: str,
    batch: int,
    *,
    bf16: bool,
    checkpointing: bool = False,
    keep_blocks: bool = True,
    **more: Any,
) -> Configuration:
    settings = _EQUAL | {
        "bf16": bf16,
        "gradient_checkpointing": checkpointing,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": ROWS_PER_STEP // batch,
        **more,
    }
    same_order = settings["train_sampling_strategy"] == "sequential" and not more.get("packing")
    environment = KEEP_BLOCKS if keep_blocks else {}
    name = f"{name}, {'bf16' if bf16 else 'fp32'}"
    return Configuration(name, settings, environment, same_order=same_order)


DEFAULTS = Configuration("defaults", {"use_cpu": True}, rows=ROWS_OF_DEFAULTS, same_order=False)

_GROUPED = {"train_sampling_strategy": "group_by_length"}
_FREE = {"padding_free": True, "max_length": None}
_PACKS = 4
"""Packs of ``MAX_LENGTH`` tokens in a step that hold about the tokens of its rows."""

_SHAPES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("defaults, equal step", 8, {"checkpointing": True, "keep_blocks": False}),
    ("batch 1", 1, {}),
    ("batch 2", 2, {}),
    ("batch 4", 4, {}),
    ("batch 8", 8, {}),
    ("batch 32", 32, {}),
    ("batch 1, allocator as it is", 1, {"keep_blocks": False}),
    ("batch 8, allocator as it is", 8, {"keep_blocks": False}),
    ("batch 1, checkpointing", 1, {"checkpointing": True}),
    ("batch 8, checkpointing", 8, {"checkpointing": True}),
    ("batch 4, grouped by length", 4, _GROUPED),
    ("batch 8, grouped by length", 8, _GROUPED),
    ("batch 32, grouped by length", 32, _GROUPED),
    ("batch 4, padding-free", 4, _FREE),
    ("batch 32, padding-free", 32, _FREE),
    ("packed, 1 pack", 1, {"packing": True, "gradient_accumulation_steps": _PACKS}),
    ("packed, 4 packs", 4, {"packing": True, "gradient_accumulation_steps": 1}),
    ("batch 1, compiled", 1, {"torch_compile": True}),
    ("batch 8, compiled", 8, {"torch_compile": True}),
    ("batch 1, one loading process", 1, {"dataloader_num_workers": 1}),
    ("batch 1, plain AdamW", 1, {"optim": "adamw_torch"}),
)

_IN_BOTH = {"batch 1", "batch 8, grouped by length", "packed, 1 pack"}
"""Shapes that are run in both types of numbers, to show which is faster on the machine."""


def grid(bf16: bool) -> tuple[Configuration, ...]:
    """The entries for a machine whose matrix products are faster in bf16, or in fp32."""
    entries = [_configuration(name, batch, bf16=bf16, **more) for name, batch, more in _SHAPES]
    entries += [
        _configuration(name, batch, bf16=not bf16, **more)
        for name, batch, more in _SHAPES
        if name in _IN_BOTH
    ]
    return tuple(entries)


def quick_best(bf16: bool) -> Configuration:
    """Stands for the grid in a quick run."""
    return by_name(f"batch 1, {'bf16' if bf16 else 'fp32'}")


def by_name(name: str) -> Configuration:
    """The entry of either grid with this name."""
    return next(e for e in (DEFAULTS, *grid(True), *grid(False)) if e.name == name)
