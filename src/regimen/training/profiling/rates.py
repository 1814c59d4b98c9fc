"""How fast this machine forms the matrix products of a model, at their own shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from regimen.models.arithmetic import Product, flop_of
from regimen.models.native.products import Input, add_outer, back, forth, multiply, takes

ENOUGH, MOST = 0.05, 0.5
"""Seconds of measuring after which a product is known, and after which no repeat begins."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The products of a step alone: ``seconds`` that they take, and FLOP per second over them."""

    seconds: float
    flop_per_second: float


def product_rate(products: Mapping[Product, int], dtype: torch.dtype) -> Rate:
    """Time each product on random numbers in ``dtype``: medians, as often as it is formed.

    By torch's libraries or by regimen's loops, whichever is faster. One product is in memory at a
    time: the matrices of the largest layer.
    """
    seconds = flop = 0.0
    for product, count in products.items():
        seconds += count * _time(product, dtype)
        flop += count * flop_of(product)
    return Rate(seconds, flop / seconds if seconds else 0.0)


def _time(product: Product, dtype: torch.dtype) -> float:
    return min(_median(way) for way in _ways(product, dtype))


def _median(way: Callable[[], object]) -> float:
    way()  # the first time finds a kernel and the memory
    took: list[float] = []
    while not took or (sum(took) < ENOUGH and len(took) < 20) or len(took) < 3:
        began = time.perf_counter()
        way()
        took.append(time.perf_counter() - began)
        if sum(took) > MOST:
            break
    return median(took)


def _ways(product: Product, dtype: torch.dtype) -> Iterator[Callable[[], object]]:
    """torch's product, and regimen's where it has one of its own."""
    first, second, ours = _operands(product, dtype)
    out = first.new_empty(len(first), second.shape[1])
    yield lambda: torch.mm(first, second, out=out)
    if takes(dtype):
        yield ours


def _operands(product: Product, dtype: torch.dtype) -> tuple[Tensor, Tensor, Callable[[], object]]:
    """Two matrices as the layer has them, a weight being (outputs, inputs), and regimen's way."""
    kind, rows, inputs, outputs = product
    x, gradient, weight = (
        torch.randn(size, dtype=torch.float32).to(dtype)
        for size in ((rows, inputs), (rows, outputs), (outputs, inputs))
    )
    if kind == "forward":
        return x, weight.t(), lambda: multiply([(x, forth(weight))])
    if kind == "input gradient":
        return gradient, weight, lambda: multiply([(gradient, back(weight))])
    total = torch.empty(outputs, inputs)
    return gradient.t(), x, lambda: add_outer(total, gradient, Input(x), add=False)
