"""Sums of matrix products, by the compiled loops where these are faster, elsewhere by torch.

The compiled loops read weights where they stand, fp32 or bf16, and add the gradients of weights up
in fp32. Nothing of a weight is kept from one product to the next.

Shape letters: M rows, K inner dimension, N columns; T tokens, I inputs and O outputs of a layer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regimen.models.native.build import built, cpu_facts
from regimen.models.native.ops import TYPES, accumulate, call, call_plain, compiled
from regimen.models.native.pool import converted, empty

MOST = 16
"""Products in one sum: products.c has room for so many."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A second factor (K, N): weights on top of each other or, ``turned``, the transpose of that.

    A linear layer multiplies by its weight turned in the forward pass, as it stands in the other.
    """

    weights: tuple[Tensor, ...]
    turned: bool
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """K and N."""
        rows, columns = sum(len(w) for w in self.weights), self.weights[0].shape[1]
        return (columns, rows) if self.turned else (rows, columns)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """Without the scale, in a type."""
        whole = self.stacked(dtype)
        return whole.t() if self.turned else whole

    def stacked(self, dtype: torch.dtype | None = None) -> Tensor:
        """The weights as one, without gradients, in a type, theirs if None."""
        found = [w.detach() for w in self.weights]
        dtype = dtype or reduce(torch.promote_types, (w.dtype for w in found))
        if len(found) == 1:
            return converted(found[0], dtype)
        whole = empty((sum(map(len, found)), found[0].shape[1]), dtype, found[0].device)
        return torch.cat(found, out=whole)


def forth(*weights: Tensor, scale: float = 1.0) -> Factor:
    """The factor of a layer's input."""
    return Factor(weights, True, scale)


def back(*weights: Tensor, scale: float = 1.0) -> Factor:
    """The factor of the gradient of a layer's output."""
    return Factor(weights, False, scale)


def takes(dtype: torch.dtype) -> bool:
    """Whether the compiled products take numbers of this type, as tensors on the CPU have them."""
    return dtype in TYPES and compiled() and _faster(dtype)


@cache
def _faster(dtype: torch.dtype) -> bool:
    """By what a processor is: a measurement might come out otherwise when a run is resumed.

    Faster than torch's libraries by measurement (docs/LOG.md): in bf16 with AVX-512 but without
    matrix tiles, and in fp32 with AVX-512 on processors for which MKL was not written.
    """
    vendor, flags = cpu_facts()
    if dtype == torch.bfloat16:
        library = built().library
        assert library is not None
        native = bool(ctypes.c_int.in_dll(library, "multiplies_bf16").value)
        return native and "amx_bf16" not in flags
    return "avx512f" in flags and vendor != "GenuineIntel"


def _kind(x: Tensor, dtype: torch.dtype | None = None) -> torch.dtype:
    """What torch multiplies a matrix in. bf16 on a CPU without such products takes up to 60 times
    as long as copies in fp32 do (docs/LOG.md).
    """
    dtype = dtype or x.dtype
    slow = dtype == torch.bfloat16 and x.device.type == "cpu" and not bf16_on_cpu()
    return torch.float32 if slow else dtype


def _as_they_are(x: Tensor) -> AbstractContextManager[Any]:
    """Autocast would make bf16 of copies in fp32 again."""
    copies = _kind(x) != x.dtype
    return torch.autocast(x.device.type, enabled=False) if copies else nullcontext()


@cache
def bf16_on_cpu() -> bool:
    """Whether the processor multiplies matrices in bf16."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in names)


def multiply(
    terms: Sequence[tuple[Tensor, Factor]], *, out: Tensor | None = None,
    bias_N: Tensor | None = None, add: bool = False, dtype: torch.dtype | None = None,
) -> Tensor:  # fmt: skip
    """Sum of scale * A @ B over (A, B): (M, N), in ``dtype``, that of the first A if None, or in
    ``out``; with ``add``, that and what was there.
    """
    first, factor = terms[0]
    if out is None:
        out = empty((len(first), factor.shape[1]), dtype or first.dtype, first.device)
    if len(terms) <= MOST and all(_fits(a) for a, _ in terms) and _is_rows(out):
        _multiply(terms, out, bias_N, add=add)
        return out
    with _as_they_are(first):
        return _by_torch(terms, out, bias_N, add=add)


def _by_torch(
    terms: Sequence[tuple[Tensor, Factor]], out: Tensor, bias_N: Tensor | None, *, add: bool
) -> Tensor:
    total: Tensor | None = None
    for a, factor in terms:
        kind = _kind(a)
        a, matrix = converted(a, kind), factor.matrix(kind)
        if total is not None:
            total.addmm_(a, matrix, alpha=factor.scale)
            continue
        alike = out.dtype == kind and out.is_contiguous() and not add
        total = out if alike else empty(out.shape, kind, out.device)
        torch.mm(a, matrix, out=total)
        if factor.scale != 1.0:
            total.mul_(factor.scale)
        if bias_N is not None:
            total += bias_N.to(total.dtype)
    assert total is not None
    if add:
        return out.add_(total)
    return total if total is out else out.copy_(total)


def _fits(a: Tensor) -> bool:
    """Whether the loops read this matrix where it stands: pairs of bf16 make up its rows."""
    pairs = a.dtype == torch.float32 or a.shape[1] % 2 == 0
    return takes(a.dtype) and _is_rows(a) and pairs


def _is_rows(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in TYPES and x.stride(-1) == 1 and x.numel() > 0


def _rows(factor: Factor) -> Tensor:
    """Its weights on top of each other, where and as the loops can read them."""
    whole = factor.stacked()
    return whole if _is_rows(whole) else whole.float().contiguous()


def _multiply(
    terms: Sequence[tuple[Tensor, Factor]], out: Tensor, bias_N: Tensor | None, *, add: bool
) -> None:
    given = []
    for a, factor in terms:
        kind = _TURNED if factor.turned else _STANDS
        given.append(_Given(a, False, _rows(factor), kind, factor.shape[0], factor.scale))
    bias_N = None if bias_N is None else bias_N.detach().float().contiguous()
    _call(given, out, add=add, bias_N=bias_N)


_STANDS, _TURNED, _PACKED = range(3)
"""What a second factor is, as the compiled function is told."""


class _Given(NamedTuple):
    """A product as the compiled function takes it: A, whether it is turned, B, what that is, K."""

    a: Tensor
    a_turned: bool
    b: Tensor
    kind: int
    inner: int
    scale: float


def _call(
    terms: Sequence[_Given], out: Tensor, scale: float = 1.0, *, add: bool,
    bias_N: Tensor | None = None,
) -> None:  # fmt: skip
    """The compiled function: ``scale`` times the sum, the bias, and with ``add`` what was there."""
    numbers = (ctypes.c_int64 * (8 * len(terms)))(
        *(number for term in terms for number in _numbers(term))
    )
    scales = (ctypes.c_float * len(terms))(*(term.scale for term in terms))
    bias = None if bias_N is None else bias_N.data_ptr()
    where = (out.data_ptr(), TYPES.index(out.dtype), out.stride(0), scale, int(add), bias)
    given = (ctypes.addressof(numbers), ctypes.addressof(scales), len(terms))
    call_plain("products", *where, *given, TYPES.index(terms[0].a.dtype), *out.shape)


def _numbers(term: _Given) -> tuple[int, ...]:
    a, b = term.a, term.b
    second = (b.data_ptr(), b.stride(0), int(b.dtype == torch.bfloat16), term.kind)
    return (a.data_ptr(), a.stride(0), int(term.a_turned), term.inner, *second)


def _pack(
    factor: Factor, dtype: torch.dtype, large: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """A factor as the compiled loops read it, where it is needed more than once."""
    inner, columns = factor.shape
    whole = _rows(factor)
    units = (inner + 1) // 2 if dtype == torch.bfloat16 else inner
    panels = empty((units, -(-columns // 16) * 16), torch.int32, whole.device)
    panels = panels if large is None else large(panels)
    source = (whole.data_ptr(), TYPES.index(whole.dtype), whole.stride(0), int(factor.turned))
    call("pack", *source, factor.scale, panels, TYPES.index(dtype), inner, columns)
    return panels


class Copied:
    """A layer's weight (N, D), copied for many products with few rows: packed, or transposed.

    Args:
        weight_ND, bias_N: fp32.
        dtype: of the products.
        large: given a new block, asks for large pages.
    """

    def __init__(
        self, weight_ND: Tensor, bias_N: Tensor | None, dtype: torch.dtype,
        large: Callable[[Tensor], Tensor],
    ) -> None:  # fmt: skip
        self.bias_N, self.outputs, self.inputs = bias_N, *weight_ND.shape
        self.packed = takes(dtype) and (self.inputs % 2 == 0 or dtype == torch.float32)
        if self.packed:
            self.copy = _pack(forth(weight_ND), dtype, large)
        else:
            copy = torch.empty(self.inputs, self.outputs, dtype=_kind(weight_ND, dtype))
            self.copy = large(copy).copy_(weight_ND.t())

    def of(self, x_TD: Tensor) -> Tensor:
        """x W^T + b: (T, N), in the type of ``x_TD``, which is that of the copy."""
        return self.write(x_TD.new_empty(len(x_TD), self.outputs), x_TD)

    def write(self, out_TN: Tensor, x_TD: Tensor) -> Tensor:
        """The same into ``out``, of that type or fp32."""
        if self.packed:
            self._into(out_TN, x_TD, add=False)
            return out_TN
        with _as_they_are(x_TD):
            x_TD = x_TD.to(self.copy.dtype)
            if out_TN.dtype == x_TD.dtype:
                torch.mm(x_TD, self.copy, out=out_TN)
            else:
                out_TN.copy_(x_TD @ self.copy)
        return out_TN if self.bias_N is None else out_TN.add_(self.bias_N)

    def add(self, to_TN: Tensor, x_TD: Tensor) -> None:
        """Add the product and the bias to fp32 numbers."""
        if self.packed:
            self._into(to_TN, x_TD, add=True)
            return
        with _as_they_are(x_TD):
            x_TD = x_TD.to(self.copy.dtype)
            if to_TN.dtype == x_TD.dtype:
                to_TN.addmm_(x_TD, self.copy)
            else:
                to_TN.add_(x_TD @ self.copy)
        if self.bias_N is not None:
            to_TN.add_(self.bias_N)

    def _into(self, out_TN: Tensor, x_TD: Tensor, *, add: bool) -> None:
        term = _Given(x_TD.contiguous(), False, self.copy, _PACKED, self.inputs, 1.0)
        _call([term], out_TN, add=add, bias_N=self.bias_N)


class Input:
    """An input (T, I) of several layers, packed once for the gradients of their weights."""

    def __init__(self, x_TI: Tensor) -> None:
        self.x_TI = x_TI
        self._panels: Tensor | None = None

    @property
    def panels(self) -> Tensor:
        """Packed."""
        if self._panels is None:
            self._panels = _pack(back(self.x_TI), self.x_TI.dtype)
        return self._panels


def add_outer(
    total_OI: Tensor, grad_TO: Tensor, given: Input, scale: float = 1.0, *, add: bool
) -> None:
    """``total`` becomes scale * grad^T x, or grows by it: the gradient of a layer's weight."""
    x_TI = given.x_TI
    rows = all(_is_rows(t) for t in (total_OI, grad_TO, x_TI))
    if takes(grad_TO.dtype) and grad_TO.dtype == x_TI.dtype and rows:
        term = _Given(grad_TO, True, given.panels, _PACKED, len(x_TI), 1.0)
        _call([term], total_OI, scale, add=add)
        return
    with _as_they_are(grad_TO):
        kind = _kind(grad_TO)
        grad_TO, x_TI = converted(grad_TO, kind), converted(x_TI, kind)
        if total_OI.dtype == kind and not add and scale == 1.0:
            torch.mm(grad_TO.t(), x_TI, out=total_OI)
        elif total_OI.dtype == kind:
            total_OI.addmm_(grad_TO.t(), x_TI, beta=int(add), alpha=scale)
        else:
            product_OI = empty(total_OI.shape, kind, total_OI.device)
            torch.mm(grad_TO.t(), x_TI, out=product_OI)
            accumulate(total_OI, product_OI, scale, add=add)
