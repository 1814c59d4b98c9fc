"""Fused norms and gated networks in the place of transformers' own, for CPUs.

A gated activation written out in single operations keeps three copies of its input; the modules
here keep the input alone. They take the place of modules that a probe shows to compute the same,
with the same parameters under the same names.

After the attention of the last layer nothing mixes tokens any more, so the gated network there is
asked for the rows alone from which something is predicted: with instructions, a small part.

Shape letters: T tokens (and leading dimensions), D width, F inner width.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regimen.models.blocks import gated_network
from regimen.models.differences import relative_difference
from regimen.models.mapped import release
from regimen.models.native import ops
from regimen.models.norms import RmsNorm
from regimen.models.projections import parts_of
from regimen.models.tiles import tiles_like

TOLERANCE = 1e-5
FEW = 0.8
"""Below this share of the rows it pays to pick them."""


class _Read(threading.local):
    rows: Tensor | None = None


_READ = _Read()


@contextmanager
def reading(rows: Tensor | None) -> Iterator[None]:
    """Inside, only these rows of the last hidden states need be right: sorted, without repeats."""
    before, _READ.rows = _READ.rows, rows
    try:
        yield
    finally:
        _READ.rows = before


def rows_read() -> Tensor | None:
    """The rows that need be right here; None for all."""
    return _READ.rows


class _Swiglu(torch.autograd.Function):
    """silu(gate) * up (Shazeer 2020); the activation is computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, gate_TF: Tensor, up_TF: Tensor) -> Tensor:
        ctx.save_for_backward(gate_TF, up_TF)
        return ops.swiglu(gate_TF, up_TF)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate_TF, up_TF = ctx.saved_tensors
        _, grad_gate, grad_up = ops.swiglu_back(gate_TF, up_TF, grad.clone())
        return grad_gate, grad_up


class _Placed(torch.autograd.Function):
    """Rows in their places among zeros.

    It saves no tensor with autograd: a layer that is computed again can stop before its network.
    """

    @staticmethod
    def forward(ctx: Any, some_RD: Tensor, rows_R: Tensor, tokens: int) -> Tensor:
        ctx.rows_R = rows_R
        return some_RD.new_zeros(tokens, some_RD.shape[1]).index_copy_(0, rows_R, some_RD)

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, None, None]:
        return grad_TD.index_select(0, ctx.rows_R), None, None


class GatedMlp(nn.Module):
    """down(silu(gate(x)) * up(x)); the projections may carry adapters."""

    def __init__(self, gate_proj: nn.Module, up_proj: nn.Module, down_proj: nn.Module) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = gate_proj, up_proj, down_proj
        self.last = False

    def forward(self, x: Tensor) -> Tensor:
        """(1, T, D) in and out; in the last layer, zeros for the rows that nobody reads."""
        rows = _READ.rows
        if not self.last or rows is None:
            return self._all(x)
        flat = x.flatten(0, -2)
        if len(rows) > FEW * len(flat):
            return self._all(x)
        out = self._all(flat.index_select(0, rows))
        placed: Tensor = _Placed.apply(out, rows, len(flat))  # type: ignore[no-untyped-call]
        return placed.view_as(x)

    def _all(self, x: Tensor) -> Tensor:
        parts = parts_of((self.gate_proj, self.up_proj, self.down_proj))
        if parts is not None:
            return gated_network(x, *parts)
        inner = _Swiglu.apply(self.gate_proj(x), self.up_proj(x))  # type: ignore[no-untyped-call]
        out: Tensor = self.down_proj(inner)
        return out


def fuse(model: nn.Module) -> int:
    """Put fused modules in the place of those that they equal; returns how many.

    A gated network that is the ``mlp`` of the last of the backbone's ``layers`` learns that it is.
    """
    replaced = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            fused = _norm(child) or _mlp(child)
            if fused is not None:
                fused = tiles_like(fused.train(child.training), child)
                setattr(parent, name, fused)
                replaced += 1
    layers = getattr(getattr(model, "base_model", model), "layers", None)
    last = getattr(layers[-1], "mlp", None) if isinstance(layers, nn.ModuleList) else None
    if isinstance(last, GatedMlp):
        last.last = True
    return replaced


def _norm(module: nn.Module) -> nn.Module | None:
    """The fused norm, if the module's parameters and its results are those of one."""
    weight = dict(module.named_parameters()).get("weight")
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not type(module).__name__.endswith("RMSNorm") or weight is None or weight.ndim != 1:
        return None
    if not isinstance(eps, float) or list(module.children()) or len(module.state_dict()) != 1:
        return None
    for shift in (0.0, 1.0):
        fused = RmsNorm(nn.Parameter(weight, requires_grad=weight.requires_grad), eps, shift)
        fused.weight = weight
        if _same_norm(module, fused):
            return fused
    return None


@torch.no_grad()
def _same_norm(module: nn.Module, fused: RmsNorm) -> bool:
    """Equal results on random input with random weights: the module's own may be all ones."""
    draw = torch.Generator().manual_seed(0)
    width = len(fused.weight)
    x = torch.randn(3, width, generator=draw).to(fused.weight)
    values = {"weight": torch.rand(width, generator=draw).to(fused.weight) + 0.5}
    call = torch.func.functional_call
    return _close(call(module, values, x), call(fused, values, x))


@torch.no_grad()
def _mlp(module: nn.Module) -> nn.Module | None:
    """The fused gated network, if the module is one."""
    names = ("gate_proj", "up_proj", "down_proj")
    parts = dict(module.named_children())
    activation = parts.pop("act_fn", None)
    if set(parts) != set(names) or not _is_silu(activation) or list(module.parameters(False)):
        return None
    fused = GatedMlp(*(parts[name] for name in names))
    first = next(module.parameters())
    width = getattr(parts["gate_proj"], "in_features", None)
    if width is None or list(module.buffers(False)):
        return None
    x = torch.randn(1, 2, width, generator=torch.Generator().manual_seed(0)).to(first.device)
    x = x.to(first.dtype) if first.is_floating_point() else x
    training = module.training
    module.eval()
    same = _close(module(x), fused.eval()(x))
    module.train(training)
    for parameter in module.parameters():
        release(parameter)  # of a streamed base: no layer ran that would let the pages go
    return fused if same else None


def _is_silu(activation: nn.Module | None) -> bool:
    x = torch.linspace(-3.0, 3.0, 7)
    return activation is not None and torch.equal(activation(x), F.silu(x))


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return relative_difference(b, a) <= (TOLERANCE if a.dtype == torch.float32 else 2e-2)
