"""Settings of quantisation as the dataclasses of row 8."""

from __future__ import annotations

from regimen.memory.quantisation.grid import ROW, TENSOR, Grid
from regimen.memory.quantisation.spec import Activations, Awq, Gptq, Rtn, SmoothQuant, Spec
from regimen.settings.compress import (
    ActivationSettings,
    AwqSettings,
    GptqSettings,
    GridSettings,
    QuantizerSettings,
    SmoothQuantSettings,
)


def grid_of(section: GridSettings) -> Grid:
    """The grid of the weights."""
    size = section.group_size
    if isinstance(size, str):
        size = {"channel": ROW, "tensor": TENSOR}[size]
    return Grid(section.bits, size, section.symmetric)


def activations_of(section: ActivationSettings | None) -> Activations | None:
    """How inputs are rounded."""
    return None if section is None else Activations(**section.model_dump())


def spec_of(section: QuantizerSettings) -> Spec:
    """The method."""
    grid, activations = grid_of(section), activations_of(section.activations)
    if isinstance(section, GptqSettings):
        return Gptq(grid, activations, section.damping, section.act_order)
    if isinstance(section, AwqSettings):
        return Awq(grid, activations, section.steps)
    if isinstance(section, SmoothQuantSettings):
        return SmoothQuant(grid, activations, section.alpha)
    return Rtn(grid, activations)
