"""The base that an adapter saw, and what becomes of the adapter when it is merged.

An adapter that was trained on a quantised base answers for what rounding did to it. Added to the
weights before rounding it meets another base; added to the rounded weights it meets its own, in
more bits. Quantised once more, the sum would be rounded again, and that is never done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from regimen.adapters.files import base_path, load_adapter, load_base, merge, saw
from regimen.errors import AdapterError
from regimen.memory.bases import configuration
from regimen.models.quantised import dequantised, quantised_layers

ORIGINAL, DEQUANTISED, APART = "original", "dequantised", "apart"
WAYS: Mapping[str, str] = {
    ORIGINAL: "into the base's own weights",
    DEQUANTISED: "into the rounded weights that it was trained on, in more bits",
    APART: "kept apart, beside the quantised base",
}
"""What can be made of an adapter that saw a quantised base."""


def seen_by_all(paths: Iterable[str]) -> dict[str, Any] | None:
    """The quantised base that every one of some adapters saw; None for a plain one.

    Raises:
        AdapterError: they saw different ones.
    """
    found = {path: saw(path) for path in paths}
    first, *others = found.values()
    if any(one != first for one in others):
        raise AdapterError(
            "These adapters were trained on the same base in different bits.",
            slug="adapter-other-bits",
            got="; ".join(f"{path}: {in_words(one)}" for path, one in found.items()),
            fix="Merge each into a model of its own, or train them alike.",
        )
    return first


def in_words(seen: Mapping[str, Any] | None) -> str:
    """Of a quantised base."""
    if seen is None:
        return "not quantised"
    return f"{seen['kind']}{', scales quantised' if seen.get('double_quant') else ''}"


def seen_base(
    path: str, tokenizer: Any, *, dtype: str = "float32", seen: Mapping[str, Any] | None = None
) -> Any:
    """The base of an adapter, or of several, as it was when they were trained.

    Args:
        path: of the base.
        tokenizer: that lies beside the adapter.
        dtype: of what is not quantised, and of products.
        seen: what ``saw`` says.

    Raises:
        ModelError: the base is not there.
        MissingExtraError: it was quantised by a library that is not installed.
    """
    quantisation = None
    if seen is not None:
        double = bool(seen.get("double_quant", True))
        quantisation = configuration(seen["kind"], getattr(torch, dtype), double_quant=double)
    return load_base(path, tokenizer, dtype=dtype, quantisation=quantisation)[0]


def rounded_base(
    path: str, tokenizer: Any, seen: Mapping[str, Any], *, dtype: str = "float32"
) -> Any:
    """A plain base with the weights that a quantised one stands for."""
    rounded = seen_base(path, tokenizer, dtype=dtype, seen=seen)
    plain = load_base(path, tokenizer, dtype=dtype)[0]
    modules = dict(plain.named_modules())
    with torch.no_grad():
        for name, layer in quantised_layers(rounded).items():
            weight = modules[name].weight
            values_OI = dequantised(layer)
            # GPT-2's layers have their weight the other way round
            values = values_OI if values_OI.shape == weight.shape else values_OI.T
            weight.copy_(values)
    return plain


def merged(path: str, tokenizer: Any, way: str, *, dtype: str = "float32") -> Any:
    """A plain model with an adapter in its weights: ``original`` or ``dequantised``.

    Raises:
        AdapterError: what the adapter does cannot be done by weights, or it is another base's.
    """
    seen, base = saw(path), base_path(path)
    if way == DEQUANTISED and seen is not None:
        network = rounded_base(base, tokenizer, seen, dtype=dtype)
    else:
        network = seen_base(base, tokenizer, dtype=dtype)
    return merge(load_adapter(network, path))


def apart(path: str, tokenizer: Any, *, dtype: str = "float32") -> Any:
    """The adapter on the base that it saw."""
    network = seen_base(base_path(path), tokenizer, dtype=dtype, seen=saw(path))
    return load_adapter(network, path)
