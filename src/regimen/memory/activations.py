"""What of a forward pass is kept for the backward pass, and where: a table of ways.

All of them give the loss and the gradients of a model that keeps everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch
from torch import Tensor

from regimen.errors import ModelError, TrainingError
from regimen.memory.offloading import to_cpu
from regimen.memory.scratch import Kept, Scratch
from regimen.models.forward import backbone_of, base_of
from regimen.models.recompute import Recompute
from regimen.models.slices import SLICED
from regimen.models.tiles import in_tiles, networks_of
from regimen.models.token_rows import matrix_of

SMALL = 1 << 14
"""Bytes of a tensor below which moving it away costs more than it brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """What is kept of a forward pass.

    Args:
        kind: a name of ``ACTIVATIONS``.
        offload_to: ``cpu`` or ``disk``; if None, the CPU for a model on an accelerator.
        directory: of what is moved to disk; the system's for temporary files if None.
        tile_rows: tokens that a feed-forward network works on at a time; all if None.
        tokens: most tokens of a micro-batch, for the space on disk.
    """

    kind: str = "keep"
    offload_to: str | None = None
    directory: Path | None = None
    tile_rows: int | None = None
    tokens: int = 0


def arrange(model: Any, options: Activations) -> None:
    """Make a model keep of its forward passes, while it is trained, what ``options`` say.

    Raises:
        ModelError: the model has no layers or networks that can be computed again.
        TrainingError: the disk is too small, or moving to the CPU gains nothing.
    """
    ACTIVATIONS[options.kind](model, options)
    if options.tile_rows is not None:
        _tile(model, options.tile_rows)


def keep(model: Any, options: Activations) -> None:
    """Keep everything; what is cheap is computed again by the fused blocks all the same."""


def selective(model: Any, options: Activations) -> None:
    """Keep the input of each feed-forward network alone, and everything of attention.

    Recomputation by module (Korthikanti et al. 2022, section 5, arXiv 2205.05198, choose the core
    of attention, which is computed again here always).
    """
    _tile(model, None)


def full(model: Any, options: Activations) -> None:
    """Keep the input of each layer alone (Chen et al. 2016, arXiv 1604.06174).

    Of a network that is computed again nobody reads the last product: it is left out. The head
    computes its logits again where that saves memory (`regimen.models.slices`).
    """
    _again(model, Recompute())


def offload(model: Any, options: Activations) -> None:
    """Keep the input of each layer in the CPU's memory or on disk (Rajbhandari et al. 2020, *ZeRO*,
    section 6.1, arXiv 1910.02054; to disk: 2021, *ZeRO-Infinity*, arXiv 2104.07857).
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    if options.offload_to == "cpu" and on_cpu:
        raise TrainingError(
            "The activations are to go to the CPU's memory, and that is where they are.",
            slug="offload-nothing",
            got="a model on the CPU",
            fix="Set memory.offload_to: disk, or memory.activations: full.",
        )
    to_disk = options.offload_to == "disk" or (options.offload_to is None and on_cpu)
    _again(model, _to_disk(model, options) if to_disk else Recompute(*to_cpu(SMALL)))


ACTIVATIONS: Mapping[str, Callable[[Any, Activations], None]] = {
    "keep": keep,
    "selective": selective,
    "full": full,
    "offload": offload,
}


def _again(model: Any, recompute: Recompute) -> None:
    """Layers, their networks and the head compute again what they can."""
    checkpoint_activations(model, recompute)
    for module in networks_of(backbone_of(model)):
        in_tiles(module, None)
    head = base_of(model).get_output_embeddings()
    if head is not None:
        setattr(head, SLICED, True)


def checkpoint_activations(model: Any, recompute: Recompute | None = None) -> None:
    """Keep the input of each layer alone, and compute the rest again in the backward pass.

    Raises:
        ModelError: transformers has no layers of this model that can be computed again.
    """
    # transformers renamed the method in 5.2x; the old name warns there and is alone before.
    enable = getattr(model, "activation_checkpointing_enable", None)
    if enable is None:
        enable = model.gradient_checkpointing_enable
    recompute = recompute or Recompute()
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise _not_again(model, "layers") from error
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module._gradient_checkpointing_func = recompute


def _tile(model: Any, rows: int | None) -> None:
    networks = networks_of(backbone_of(model))
    if not networks:
        raise _not_again(model, "feed-forward networks")
    for module in networks:
        in_tiles(module, rows)


def _not_again(model: Any, what: str) -> ModelError:
    return ModelError(
        f"This model has no {what} that can be computed again in the backward pass.",
        slug="activations-refused",
        got=type(base_of(model)).__name__,
        fix="Set memory.activations: keep, and lower tokens_per_batch.",
    )


def offloaded_bytes(model: Any, tokens: int) -> int:
    """Bytes of the layers' inputs of a micro-batch: what ``offload`` moves."""
    config = base_of(model).config.get_text_config()
    kind = matrix_of(base_of(model).get_input_embeddings()).dtype
    kind = kind if kind.is_floating_point else torch.float32
    return int(config.num_hidden_layers * config.hidden_size * tokens * kind.itemsize)


def _to_disk(model: Any, options: Activations) -> Recompute:
    directory = options.directory or Path(gettempdir())
    expected = offloaded_bytes(model, options.tokens)
    scratch = Scratch(directory, expected, "the activations that are to be offloaded")

    def pack(tensor: Tensor) -> Any:
        if tensor.numel() * tensor.element_size() < max(SMALL, 1):
            return tensor
        return Kept(scratch, tensor.cpu()), tensor.device

    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        tensor: Tensor = kept[0].tensor()
        return tensor.to(kept[1])

    return Recompute(pack, unpack)
