"""The settings of a training's memory and arithmetic, as the dataclasses of the rows below."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch

from regimen.memory.activations import Activations
from regimen.memory.bases import configuration
from regimen.memory.quantisation.aware import Aware
from regimen.models.hardware import bf16_is_fast
from regimen.settings.compress import AwareSettings
from regimen.settings.quantised import base_kind
from regimen.settings.training import TrainingSettings
from regimen.stages.grids import activations_of, grid_of


def aware_of(section: AwareSettings, dtype: str) -> Aware:
    """The section as row 8 takes it; scales are stored in ``dtype``."""
    grid, activations = grid_of(section), activations_of(section.activations)
    return Aware(grid, activations, getattr(torch, dtype))


def scratch_directory(training: TrainingSettings, merged: Path | None) -> Path:
    """Where files go that have no names: beside what the run writes, if it writes something."""
    named = training.memory.offload_directory
    if named is not None:
        return Path(named)
    return Path(gettempdir()) if merged is None else merged.parent


def kept_of(training: TrainingSettings, scratch: Path) -> Activations:
    """What is kept of activations, as the dataclass of row 8."""
    memory = training.memory
    return Activations(
        kind="full" if training.gradient_checkpointing else memory.activations,
        offload_to=memory.offload_to,
        directory=scratch,
        tile_rows=memory.tiled_mlp,
        tokens=training.tokens_per_batch,
    )


def quantisation_of(training: TrainingSettings) -> Any:
    """The configuration of a quantised base for transformers; None where the base is not."""
    kind = base_kind(training.quantise)
    if kind is None:
        return None
    compute = torch.bfloat16 if wants_bf16(training) else torch.float32
    double = getattr(training.quantise, "double_quant", True)
    return configuration(kind, compute, double_quant=double)


def wants_bf16(training: TrainingSettings) -> bool:
    """Whether products are formed in bf16."""
    return training.precision == "bf16" or (training.precision == "auto" and bf16_is_fast())
