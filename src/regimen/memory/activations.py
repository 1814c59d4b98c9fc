"""Activation checkpointing (Chen et al. 2016): compute activations twice, keep few."""

from __future__ import annotations

from typing import Any


def checkpoint_activations(model: Any) -> None:
    """Switch it on, without re-entrant autograd; inputs get a gradient under frozen embeddings."""
    # transformers renamed the method in 5.2x; the old name warns there and is alone before.
    enable = getattr(model, "activation_checkpointing_enable", None)
    if enable is None:
        enable = model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    model.enable_input_require_grads()
