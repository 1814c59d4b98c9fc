"""Which parameters an optimizer steps, in groups that differ in decay and learning rate."""

from __future__ import annotations

from typing import Any

import torch

from regimen.adapters.own_weights import decoder_layers
from regimen.adapters.spec import spec_of
from regimen.errors import AdapterError


def parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in groups: matrices decay, vectors and embeddings do not.

    Where the adapter wants another learning rate for some (LoRA+), these have groups of their own.
    ``blocks`` of a group has the number of the decoder layer of each parameter; those outside of
    all layers have the number after the last.
    """
    spec = spec_of(model)
    rates = {} if spec is None else dict(spec.rates())
    embeddings = {
        id(p)
        for m in model.modules()
        if isinstance(m, torch.nn.Embedding)
        for p in m.parameters(recurse=False)
    }
    layers, outside = _layers(model)
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and id(parameter) not in embeddings
            rate = next((factor for part, factor in rates.items() if part in name), 1.0)
            group: dict[str, Any] = {
                "params": [],
                "blocks": [],
                "weight_decay": weight_decay if decays else 0.0,
                "weight_decay_applies": decays,
                **({} if rate == 1.0 else {"lr_scale": rate}),
            }
            group = groups.setdefault((not decays, rate), group)
            group["params"].append(parameter)
            group["blocks"].append(layers.get(id(parameter), outside))
    return [groups[key] for key in sorted(groups)]


def _layers(model: Any) -> tuple[dict[int, int], int]:
    """The number of the decoder layer that holds a parameter, by ``id``, and how many there are."""
    try:
        found = decoder_layers(model)
    except AdapterError:  # a model without a list of layers is one block
        return {}, 0
    return {id(p): number for number, it in enumerate(found) for p in it.parameters()}, len(found)


def is_hidden_matrix(group: dict[str, Any], parameter: torch.Tensor) -> bool:
    """Whether it is a matrix inside the model, neither an embedding nor a vector."""
    return parameter.ndim == 2 and bool(group.get("weight_decay_applies", True))
