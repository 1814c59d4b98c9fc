"""Decoder layers compiled by torch, an option for accelerators.

Each layer is a graph up to ragged attention and one behind it; attention itself has kernels of its
own and stays as it is. The second batch of another length is the last for which anything is
compiled. Fused modules of this project are not put in: the compiler fuses the plain ones.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any

import torch

from regimen.errors import ModelError
from regimen.models import attention

VARIANTS = 64
"""Forms of a layer: with and without gradient, in training and in evaluation, of several models."""


def _check_compiler(device: torch.device) -> None:
    """Inductor writes C++ for CPUs and Triton's language for CUDA devices."""
    if device.type == "cuda":
        missing = "" if find_spec("triton") is not None else "Triton"
    else:
        compiler = os.environ.get("CXX", "g++")
        missing = "" if shutil.which(compiler) is not None else compiler
    if missing:
        raise ModelError(
            "Layers cannot be compiled here.",
            slug="layers-not-compiled",
            got=f"no {missing}, which torch's compiler needs for {device.type}",
            fix="Install it, or leave 'torch_compile' off.",
        )


def padded_layers(reason: str) -> ModelError:
    """Layers are compiled around ragged attention, which a model may not take."""
    return ModelError(
        "The layers of this model are not compiled, because its batches are padded.",
        slug="layers-not-compiled",
        got=reason,
        fix="Leave 'torch_compile' off.",
    )


def compile_layers(backbone: Any, *, backend: str = "inductor") -> int:
    """Compile the layers of a model that runs ragged attention; returns how many.

    Args:
        backbone: the part below the vocabulary projection.
        backend: of torch.compile.

    Raises:
        ModelError: there are no layers under a name that is known, or inductor has no compiler.
    """
    if backend == "inductor":
        _check_compiler(next(backbone.parameters()).device)
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList):
        raise ModelError(
            "This model has no layers that can be compiled.",
            slug="layers-not-compiled",
            got=type(backbone).__name__,
            fix="Leave 'torch_compile' off.",
        )
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, VARIANTS)
    attention.register(torch.compiler.disable)
    for layer in layers:
        layer.compile(backend=backend)
    return len(layers)
