"""What runs on each side: regimen's one configuration, and the peer's committed grid.

Every entry but `defaults` has the same maximum length, the same rows in each optimizer step and the
same optimizer. `defaults` is the peer as it comes: only what a run of a given length on a CPU needs
is set (the output directory, no reporting, the number of steps, `use_cpu`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from work import BETAS, LEARNING_RATE, MAX_LENGTH, ROWS_PER_STEP

REGIMEN = {"batches_per_step": 4}

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
    bf16: bool = True,
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
    return Configuration(name, settings, environment, same_order=same_order)


def _packed(name: str, batch: int, **more: Any) -> Configuration:
    """Packs of ``MAX_LENGTH`` tokens, as many in a step as hold about the same tokens."""
    packs = 4
    return _configuration(
        name, batch, packing=True, gradient_accumulation_steps=packs // batch, **more
    )


DEFAULTS = Configuration("defaults", {"use_cpu": True}, rows=ROWS_OF_DEFAULTS, same_order=False)

_GROUPED = {"train_sampling_strategy": "group_by_length"}

GRID: tuple[Configuration, ...] = (
    _configuration("defaults, equal step", 8, checkpointing=True, keep_blocks=False),
    _configuration("batch 1", 1),
    _configuration("batch 2", 2),
    _configuration("batch 4", 4),
    _configuration("batch 8", 8),
    _configuration("batch 16", 16),
    _configuration("batch 32", 32),
    _configuration("batch 1, allocator as it is", 1, keep_blocks=False),
    _configuration("batch 8, allocator as it is", 8, keep_blocks=False),
    _configuration("batch 1, fp32", 1, bf16=False),
    _configuration("batch 2, fp32", 2, bf16=False),
    _configuration("batch 4, fp32", 4, bf16=False),
    _configuration("batch 1, fp32, allocator as it is", 1, bf16=False, keep_blocks=False),
    _configuration("batch 1, fp32, checkpointing", 1, bf16=False, checkpointing=True),
    _configuration("batch 1, fp32, compiled", 1, bf16=False, torch_compile=True),
    _configuration(
        "batch 32, padding-free, fp32", 32, bf16=False, padding_free=True, max_length=None
    ),
    _packed("packed, 1 pack, fp32", 1, bf16=False),
    _configuration("batch 1, checkpointing", 1, checkpointing=True),
    _configuration("batch 8, checkpointing", 8, checkpointing=True),
    _configuration("batch 4, grouped by length", 4, **_GROUPED),
    _configuration("batch 8, grouped by length", 8, **_GROUPED),
    _configuration("batch 32, grouped by length", 32, **_GROUPED),
    _configuration("batch 8, grouped by length, fp32", 8, bf16=False, **_GROUPED),
    _configuration("batch 4, padding-free", 4, padding_free=True, max_length=None),
    _configuration("batch 32, padding-free", 32, padding_free=True, max_length=None),
    _packed("packed, 1 pack", 1),
    _packed("packed, 4 packs", 4),
    _configuration("batch 1, compiled", 1, torch_compile=True),
    _configuration("batch 8, compiled", 8, torch_compile=True),
    _configuration("batch 1, one loading process", 1, dataloader_num_workers=1),
    _configuration("batch 1, plain AdamW", 1, optim="adamw_torch"),
)

QUICK_BEST = "batch 1"
"""Stands for the grid in a quick run; the fastest of the last full run."""


def by_name(name: str) -> Configuration:
    """The entry of the grid with this name."""
    return next(entry for entry in (DEFAULTS, *GRID) if entry.name == name)
