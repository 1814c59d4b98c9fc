"""Quantised bases as they lie in memory: their layers, what these stand for, what must be mended.

Two libraries keep weights in few bits. bitsandbytes has layers of its own; torchao leaves torch's
layers and gives them tensors of its own, which look like the weight that they stand for.

Shape letters: O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from regimen.errors import ModelError

BITSANDBYTES = ("Linear4bit", "Linear8bitLt")
"""Names of the layers of bitsandbytes."""


def is_plain(tensor: Tensor) -> bool:
    """Whether a weight is an ordinary tensor and not one that stands for codes and scales."""
    return not type(tensor).__module__.startswith("torchao")  # a sharded tensor is an ordinary one


def plain_parts(tensor: Tensor) -> Iterator[Tensor]:
    """The ordinary tensors that a weight is made of: itself, or codes and scales."""
    if is_plain(tensor):
        yield tensor
        return
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    for name in names:
        yield from plain_parts(getattr(tensor, name))


def quantised_layers(model: Any) -> dict[str, Any]:
    """The linear layers in few bits, by name."""
    return {name: it for name, it in model.named_modules() if kind_of(it) is not None}


def is_quantised(model: Any) -> bool:
    """Whether a model has linear layers in few bits."""
    return any(kind_of(module) is not None for module in model.modules())


def has_bitsandbytes(model: Any) -> bool:
    """Whether a model has layers of bitsandbytes."""
    return any(type(module).__name__ in BITSANDBYTES for module in model.modules())


def quantised_in_words(model: Any) -> str:
    """How many of a model's weights are in few bits, and in which."""
    layers = quantised_layers(model)
    kinds = ", ".join(sorted({str(kind_of(it)) for it in layers.values()}))
    few = sum(it.in_features * it.out_features for it in layers.values())
    inside = {id(p) for it in layers.values() for p in it.parameters()}
    whole = sum(p.numel() for p in model.parameters() if id(p) not in inside)
    return f"{len(layers)} layers in {kinds}: {few / (few + whole):.0%} of the base's weights"


def kind_of(layer: Any) -> str | None:
    """What a layer's weight is kept in, as the names of ``memory.bases``; None for a plain one.

    A kind of torchao that has no name here is called by its class.
    """
    name = type(layer).__name__
    if name in BITSANDBYTES and hasattr(layer, "weight"):
        return str(layer.weight.quant_type) if name == "Linear4bit" else "int8"
    weight = getattr(layer, "_parameters", {}).get("weight")
    if weight is None or is_plain(weight):
        return None
    found = type(weight).__name__
    narrow = getattr(weight, "target_dtype", None) is getattr(torch, "int4", None)
    named = {"Int8Tensor": "int8_torchao", "IntxUnpackedToInt8Tensor": "int4_torchao"}
    return named.get(found, found) if narrow or found == "Int8Tensor" else found


def quantised_as(model: Any) -> dict[str, Any] | None:
    """``kind`` of a model's quantised layers, and ``double_quant`` where scales may be quantised.

    None for a plain model.
    """
    for layer in quantised_layers(model).values():
        state = getattr(layer.weight, "quant_state", None)
        double = {} if state is None else {"double_quant": bool(getattr(state, "nested", False))}
        return {"kind": kind_of(layer), **double}
    return None


def dequantised(layer: Any) -> Tensor:
    """The weight (O, I) that a layer's codes stand for, in the type that they were made from."""
    kind = kind_of(layer)
    if kind in ("nf4", "fp4"):
        from bitsandbytes.functional import dequantize_4bit

        found: Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        return found
    if kind == "int8":
        from regimen.models import int8

        layer.keep_codes()
        return int8.weight(layer.weight.data, layer.weight.SCB, torch.float32)
    weight: Tensor = layer.weight if kind is None else layer.weight.dequantize()
    return weight.detach()


def multiplies_low(model: Any) -> bool:
    """Whether some layers in few bits form their products in 16 bits, whatever comes in.

    Their kernels for few rows and for many then round differently.
    """
    low = (torch.bfloat16, torch.float16)
    layers = quantised_layers(model).values()
    return any(getattr(layer, "compute_dtype", None) in low for layer in layers)


def make_trainable(model: Any) -> int:
    """Mend what is silently wrong in quantised layers; returns how many there are.

    On CPUs with AVX-512 BF16, bitsandbytes repacks 4-bit weights in place when a layer runs in eval
    mode; gradients of later training steps are then wrong without an error. Its 8-bit layers round
    activations in some modes (see ``models.int8``).

    Raises:
        ModelError: torchao rounds activations as well, which cuts the gradient without an error.
    """
    layers = quantised_layers(model)
    for name, layer in layers.items():
        if type(layer).__name__ == "Linear4bit":
            layer.support_avx512bf16_for_cpu = False
        elif kind_of(layer) == "int8":
            from regimen.models.int8 import Linear8bitLt

            layer.__class__ = Linear8bitLt
            layer.keep_codes()
        elif rounds_activations(layer.weight):
            raise ModelError(
                "This base rounds activations as well, and passes no gradient on.",
                slug="base-without-gradient",
                got=f"{name}: {type(layer.weight).__name__} of torchao with dynamic activations",
                expected="weights alone in few bits",
                fix="Quantise the 16-bit model here: quantise: int8_torchao.",
            )
    return len(layers)


def rounds_activations(weight: Tensor) -> bool:
    """Whether a tensor of torchao rounds what it is multiplied with.

    Its classes keep how they do it in attributes of different names; all speak of activations.
    """
    names = ("act_quant_kwargs", "activation_quantization", "act_quant_scale")
    return any(getattr(weight, name, None) is not None for name in names)


OTHERS: Mapping[str, tuple[str, str]] = {
    "gptq": ("GPTQ", "its products have a gradient on CUDA alone, through gptqmodel"),
    "awq": ("AWQ", "its products have a gradient on CUDA alone, through gptqmodel"),
    "auto-round": ("AutoRound", "its products come from gptqmodel or a library of its own"),
    "compressed-tensors": ("compressed-tensors", "it may round activations, and needs its library"),
    "fp8": ("FP8 in blocks", "its products run on CUDA, and have no gradient"),
    "fbgemm_fp8": ("FP8 of FBGEMM", "it rounds activations, and has no gradient"),
    "mxfp4": ("MXFP4", "its products run on CUDA, and have no gradient"),
    "nvfp4": ("NVFP4", "it rounds activations, and has no gradient"),
    "hqq": ("HQQ", "it needs the library hqq, which is not tested here"),
    "quanto": ("Quanto", "it needs the library optimum-quanto, which is not tested here"),
    "aqlm": ("AQLM", "it needs a library of its own, which is not tested here"),
    "bitnet": ("BitNet", "it rounds activations, and has no gradient"),
    "gguf": ("GGUF", "transformers dequantises it, and then it is a plain base"),
}
"""What other tools make, by transformers' name: what it is and why nothing is trained on it."""


def check_quantised(path: str, config: Any, asked: Any = None) -> str:
    """What a model's own ``quantization_config`` says; refuses what nothing can be trained on.

    Args:
        path: of the model, to tell.
        config: of transformers.
        asked: the configuration that its quantisation was asked for with, or None.

    Returns: the library, ``bitsandbytes`` or ``torchao``; empty for a plain model.

    Raises:
        ModelError: another tool made it, or it is quantised in another way than asked for.
    """
    found = getattr(config, "quantization_config", None)
    if found is None:
        return ""
    fields: dict[str, Any] = found if isinstance(found, dict) else found.to_dict()
    method = str(getattr(fields.get("quant_method"), "value", fields.get("quant_method") or ""))
    if not method and (fields.get("load_in_4bit") or fields.get("load_in_8bit")):
        method = "bitsandbytes"
    if method not in ("bitsandbytes", "torchao"):
        name, reason = OTHERS.get(method, (method or "no name", "it is not known here"))
        bits = f", {fields['bits']} bits" if isinstance(fields.get("bits"), int) else ""
        raise ModelError(
            "This base was quantised by another tool, and cannot be used here.",
            slug="base-quantised",
            got=f"{path}: {name}{bits}; {reason}",
            expected="a base of 16 or 32 bits, or one saved by bitsandbytes or torchao",
            fix="Start from the model that it was made from, with quantise: nf4 or int8.",
        )
    if asked is not None and _in_words(asked.to_dict()) != _in_words(fields):
        raise ModelError(
            "This base is quantised already, in another way than is asked for.",
            slug="base-quantised",
            got=f"{path}: {_in_words(fields)}",
            expected=_in_words(asked.to_dict()),
            fix="Remove 'quantise', or start from the model that it was made from.",
        )
    return method


def _in_words(fields: Mapping[str, Any]) -> str:
    """The kind that a configuration of transformers makes."""
    if fields.get("load_in_4bit"):
        return str(fields.get("bnb_4bit_quant_type", "fp4"))
    if fields.get("load_in_8bit"):
        return "int8"
    kind = fields.get("quant_type", "")
    if isinstance(kind, Mapping):
        kind = next((v.get("_type", "") for v in kind.values() if isinstance(v, Mapping)), "")
    return f"torchao {kind}"
