"""Where LoRA's matrices begin, by the base's rounding errors or by the training's rows.

Shape letters: O outputs, I inputs, R rank.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regimen.errors import AdapterError
from regimen.models.forward import place_of
from regimen.models.quantised import dequantised, kind_of

MOST_READ = 512
"""Micro-batches after which directions that still change are an error."""

Batch = Mapping[str, Tensor]
"""What a model reads: ``input_ids`` and ``attention_mask``, padded."""


@torch.no_grad()
def by_rounding(adapted: Any) -> None:
    """B A begins as the part of rank R of what quantisation lost (LoftQ, Li et al. 2023, one step).

    The scale of the adapter is taken out, so that the base and the adapter together are as near to
    the weight as rank R allows. PEFT's own function leaves the scale in, and needs CUDA.

    Raises:
        AdapterError: the base is not quantised, or its full weights are not on disk.
    """
    from peft.tuners.lora.layer import LoraLayer

    layers: dict[str, Any] = {
        name: it
        for name, it in adapted.named_modules()
        if isinstance(it, LoraLayer) and kind_of(it.get_base_layer()) is not None
    }
    folder = Path(str(adapted.get_base_model().name_or_path))
    weights = _weights(folder)
    whole = weights and not (json.loads((folder / "config.json").read_text())).get(
        "quantization_config"
    )
    if not layers or not whole:
        raise AdapterError(
            "This beginning needs a base that was quantised here, and its full weights on disk.",
            slug="adapter-loftq",
            got=f"{len(layers)} layers in few bits, {len(weights)} tensors in {folder}"
            + ("" if whole or not weights else ", in few bits themselves"),
            fix="Set quantise: nf4, and model.path to a directory with safetensors.",
        )
    for name, layer in layers.items():
        stored = name.removeprefix("base_model.model.") + ".weight"
        rounded_OI = dequantised(layer.get_base_layer())
        full_OI = weights[stored]().float()
        if getattr(layer.get_base_layer(), "source_cls", nn.Linear) is not nn.Linear:  # GPT-2's
            full_OI = full_OI.T
        lost_OI = full_OI - rounded_OI.float().cpu()
        rank, scale = layer.r["default"], float(layer.scaling["default"])
        a_RI, b_OR = low_rank(lost_OI / scale, rank)
        layer.lora_A["default"].weight.copy_(a_RI)
        layer.lora_B["default"].weight.copy_(b_OR)


def low_rank(matrix_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A (R, I) and B (O, R) whose product is the nearest of that rank, each with half of the size.

    Eckart and Young 1936.
    """
    left, sizes, right = torch.linalg.svd(matrix_OI, full_matrices=False)
    roots = sizes[:rank].sqrt()
    return roots[:, None] * right[:rank], left[:, :rank] * roots


def _weights(folder: Path) -> dict[str, Any]:
    """A function for each tensor of a model on disk, which reads it."""
    from functools import partial

    from safetensors import safe_open

    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        opened: Any = safe_open(file, framework="pt")
        found |= {name: partial(opened.get_tensor, name) for name in opened.keys()}  # noqa: SIM118
    return found


def by_rows(adapted: Any, batches: Iterable[Batch], *, rho: float) -> None:
    """A begins as the main directions of each layer's inputs (EVA, Paischer et al. 2024).

    Ranks go to the layers that need them, at most ``rho`` times the mean; their sum stays.

    Raises:
        AdapterError: there are too few tokens for the directions.
    """
    from peft import initialize_lora_eva_weights

    adapted.peft_config["default"].eva_config.rho = rho
    seen = list(batches)
    left = MOST_READ + len(seen)

    def forward(model: Any, batch: Batch) -> Any:
        # PEFT reads the batches over and over until nothing changes, however long that takes
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError(f"they still change after {MOST_READ} micro-batches")
        place = place_of(model)
        return model(**{name: tensor.to(place) for name, tensor in batch.items()})

    try:
        initialize_lora_eva_weights(adapted, seen, forward_fn=forward, show_progress_bar=False)
    except (ValueError, RuntimeError) as error:
        raise AdapterError(
            "The rows do not show the directions of the layers' inputs.",
            slug="adapter-eva",
            got=str(error).splitlines()[0][:200],
            fix="Lower adapter.r, or train on more rows.",
        ) from error
