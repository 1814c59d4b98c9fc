"""Decoder layers compiled by torch, an option for accelerators.

Each layer is a graph up to ragged attention and one behind it; attention itself has kernels of its
own and stays as it is. The second batch of another length is the last for which anything is
compiled. Fused modules of this project are not put in: the compiler fuses the plain ones.
"""

from __future__ import annotations

from typing import Any

import torch

from regimen.errors import ModelError
from regimen.models import attention

VARIANTS = 64
"""Forms of a layer: with and without gradient, in training and in evaluation, of several models."""


def compile_layers(backbone: Any, *, backend: str = "inductor") -> int:
    """Compile the layers of a model that runs ragged attention; returns how many.

    Args:
        backbone: the part below the vocabulary projection.
        backend: of torch.compile.

    Raises:
        ModelError: there are no layers under a name that is known.
    """
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList):
        raise ModelError(
            "This model has no layers that can be compiled.",
            slug="layers-not-compiled",
            got=type(backbone).__name__,
            fix="Leave compilation off.",
        )
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, VARIANTS)
    attention.register(torch.compiler.disable)
    for layer in layers:
        layer.compile(backend=backend)
    return len(layers)
