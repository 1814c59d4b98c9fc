"""Quantised frozen bases through bitsandbytes (NF4: Dettmers et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from regimen.errors import MissingExtraError


def nf4_config(compute: torch.dtype) -> Any:
    """NF4 with double quantisation; products are formed in ``compute``.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    import importlib.util

    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError(
            "A 4-bit base needs bitsandbytes.",
            slug="missing-bitsandbytes",
            fix="pip install bitsandbytes",
        )
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


QUANTISATIONS: dict[str, Callable[[torch.dtype], Any]] = {"nf4": nf4_config}


def keep_trainable_layout(model: Any) -> int:
    """Keep 4-bit weights in the layout that the backward pass reads; returns layers changed.

    On CPUs with AVX-512 BF16, bitsandbytes repacks weights in place when a layer runs in eval
    mode; gradients of later training steps are then wrong without an error.
    """
    changed = 0
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False
            changed += 1
    return changed


def quantised_layers(model: Any) -> int:
    """Number of 4-bit linear layers."""
    return sum(type(m).__name__ == "Linear4bit" for m in model.modules())
