"""A pretended accelerator: tensors of the CPU that say they are elsewhere and mix with no others.

Code that moves a batch, makes a tensor, or branches by device is run as it would be on CUDA, and
an operator that gets tensors of both places raises, as CUDA's do. Numbers are the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

from regimen.models.native import ops

THERE = torch.device("cuda", 0)
MOVES = {"_to_copy", "copy_", "_has_compatible_shallow_copy_type", "set_data"}
"""Operators that take tensors of two places."""
PICKS = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Operators whose positions may be on the CPU."""


class Elsewhere(torch.Tensor):
    """A tensor of the CPU that says it is on the accelerator."""

    @property
    def device(self):
        return THERE

    @property
    def is_cuda(self):
        return True

    def tolist(self):
        return place(self, False).tolist()

    def __repr__(self, **_more):
        return f"there: {place(self, False)!r}"

    def __format__(self, form):
        return format(place(self, False), form)

    def numpy(self, *_args, **_more):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        _check(name, args, kwargs)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        with torch._C._DisableTorchDispatch():
            out = func(*args, **kwargs)
        if name.endswith("_") and not name.endswith("__") and isinstance(args[0], torch.Tensor):
            return args[0] if isinstance(out, torch.Tensor) else out
        return tree_map(_there, out)


def _there(value: Any) -> Any:
    plain = isinstance(value, torch.Tensor) and not isinstance(value, Elsewhere)
    return torch.Tensor._make_subclass(Elsewhere, value) if plain else value


def _check(name: str, args: Any, kwargs: Any) -> None:
    """CUDA's rule: all on one device, but for numbers, copies, and positions."""
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    if name in PICKS:
        tensors = [t for t in (args[0], *args[2:3]) if isinstance(t, torch.Tensor)]
    here = [t for t in tensors if not isinstance(t, Elsewhere) and t.dim() > 0]
    there = [t for t in tensors if isinstance(t, Elsewhere)]
    if torch._C._current_graph_task_id() != -1:  # autograd's zeros, for outputs without gradient
        here = [t for t in here if t.any()]
    if here and there and name not in MOVES:
        raise RuntimeError(f"Expected all tensors to be on the same device: {name}")


def _asks(value: Any) -> bool:
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, str) and value.partition(":")[0] == "cuda"


FACTORIES = (
    *("empty", "zeros", "ones", "full", "arange", "tensor", "eye", "linspace", "as_tensor"),
    *("randn", "rand", "randint", "randperm", "empty_like", "zeros_like", "ones_like", "full_like"),
)
WAYS = ("to", "cpu", "cuda", "pin_memory")


def _made(plain: Any) -> Any:
    """A factory that makes what is asked for on CUDA there."""

    def make(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("pin_memory", None)
        if not _asks(kwargs.get("device")):
            return plain(*args, **kwargs)
        return _there(plain(*args, **{**kwargs, "device": torch.device("cpu")}))

    return make


def _way(name: str, plain: Any) -> Any:
    return lambda *args, **kwargs: _moved(plain, name, args, kwargs)


def _moved(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """A tensor on its way: there, back, or to another type where it is."""
    tensor, *rest = args
    kwargs.pop("non_blocking", None)
    asked = [*rest, *kwargs.values()]
    asked += [one.device for one in asked if isinstance(one, torch.Tensor)]
    places = [one for one in asked if isinstance(one, torch.device | str)]
    is_there = isinstance(tensor, Elsewhere)
    if name == "pin_memory":
        return tensor
    if name == "cuda" or any(map(_asks, places)):
        goes = True
    elif name == "cpu" or places:
        goes = False
    else:
        return func(*args, **kwargs)
    kinds = [one for one in asked if isinstance(one, torch.dtype)]
    kinds += [one.dtype for one in asked if isinstance(one, torch.Tensor)]
    dtype = kinds[0] if kinds else tensor.dtype
    if goes == is_there:
        return func(tensor, dtype) if name == "to" else tensor
    return _Move.apply(tensor, goes).to(dtype)


class _Move(torch.autograd.Function):
    """A copy in the other place, whose gradient goes back."""

    @staticmethod
    def forward(ctx, tensor, goes):
        ctx.goes = goes
        return place(tensor, goes)

    @staticmethod
    def backward(ctx, grad):
        return place(grad, not ctx.goes), None


def place(tensor: torch.Tensor, goes: bool) -> torch.Tensor:
    """A copy there, or here."""
    with torch._C._DisableTorchDispatch():
        copy = tensor.detach().clone()
        if not goes:
            return copy.as_subclass(torch.Tensor)
        return torch.Tensor._make_subclass(Elsewhere, copy.as_subclass(torch.Tensor))


def move(model: nn.Module) -> nn.Module:
    """Parameters and buffers of a model there; tied ones stay tied."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for kind in (module._parameters, module._buffers):
            for name, tensor in kind.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    there = place(tensor.data, True)
                    if isinstance(tensor, nn.Parameter):
                        there = nn.Parameter(there, requires_grad=tensor.requires_grad)
                    made[id(tensor)] = (tensor, there)
                kind[name] = made[id(tensor)][1]
    return model


@contextmanager
def pretended() -> Iterator[None]:
    """Inside, there is an accelerator that computes as the CPU does."""

    class Autocast(torch.autocast):
        def __init__(self, device_type: str, *args: Any, **more: Any) -> None:
            super().__init__("cpu" if device_type == "cuda" else device_type, *args, **more)

    # torch notes its factories at the first use of a device as a context, where weights are loaded
    torch.utils._device._device_constructors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", Autocast)
        for name in ("is_autocast_enabled", "get_autocast_dtype"):
            plain = getattr(torch, name)
            patch.setattr(
                torch, name, lambda kind, plain=plain: plain("cpu" if kind == "cuda" else kind)
            )
        for name in FACTORIES:
            patch.setattr(torch, name, _made(getattr(torch, name)))
        for name in WAYS:
            patch.setattr(torch.Tensor, name, _way(name, getattr(torch.Tensor, name)))
        patch.setattr(ops, "kernels", lambda: None)  # a real device would be asked for
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.cuda, "get_rng_state", lambda *_a: torch.get_rng_state())
        patch.setattr(torch.cuda, "set_rng_state", lambda state, *_a: None)
        patch.setattr(torch.cuda, "get_device_capability", lambda *_a: (9, 0))
        yield
