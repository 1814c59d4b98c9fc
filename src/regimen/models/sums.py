"""The sum of a layer's output and its input, in a block of the pool.

transformers' layers write it as ``residual + output``, and torch's operator would take its memory
from the heap. These sums are kept for the backward pass, two of a layer, and are longer with every
longer batch: they then do not fit between what stays, and the heap grows. An output is handed on as
a tensor that knows how to be added; whatever else is done with it is done with a plain tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regimen.models.native.pool import empty_like, pools

_ADDITIONS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__}


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        return torch.add(a, b, out=empty_like(a))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad


class _Summand(Tensor):
    """Plain in every respect but addition."""

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            if func in _ADDITIONS and not kwargs and len(args) == 2 and _alike(*args):
                return _Sum.apply(*args)  # type: ignore[no-untyped-call]
            return func(*args, **(kwargs or {}))


def _alike(a: Any, b: Any) -> bool:
    return (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and (a.shape, a.dtype, a.device, a.layout) == (b.shape, b.dtype, b.device, b.layout)
    )


def summand(output: Tensor) -> Tensor:
    """The same numbers, which are added in the pool where there is one."""
    if torch.is_grad_enabled() and pools(output.nbytes, output.device):
        return output.as_subclass(_Summand)
    return output
