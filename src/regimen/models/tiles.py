"""Feed-forward networks whose inner activations never exist whole.

A network works on each token alone, so it can go over slices of the tokens. Its input is kept, and
the backward pass computes slice after slice again (the tiled network of Bekman et al. 2025,
*Arctic Long Sequence Training*, arXiv 2506.13996). With one slice it is selective recomputation of
the networks (Korthikanti et al. 2022, arXiv 2205.05198, there of attention).

The class of a module is exchanged for one below it with the same parameters under the same names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regimen.models.native.pool import empty_like
from regimen.models.parts import NETWORK, parts_below

Run = Callable[..., Any]


def networks_of(backbone: Any) -> list[Any]:
    """The feed-forward networks of a model; single layers are none."""
    return [m for part, _, m in parts_below(backbone) if part == NETWORK and list(m.children())]


def in_tiles(module: Any, rows: int | None) -> None:
    """Let a network keep its input alone, and go over ``rows`` tokens at a time; all if None."""
    if not isinstance(module, Tiled):
        kind: Any = type(module)
        module.__class__ = _tiled_class(kind)
    module.tile_rows = rows


def tiles_like(module: Any, model: Any) -> Any:
    """``module``, in tiles as ``model`` is, whose place it takes."""
    if isinstance(model, Tiled):
        in_tiles(module, model.tile_rows)
    return module


class Tiled:
    """A network that keeps its input alone; ``tile_rows`` tokens at a time, None for all."""

    tile_rows: int | None


@cache
def _tiled_class(kind: type) -> type:
    """The class below ``kind``; its ``_all``, where there is one, follows the choice of rows."""
    name = "_all" if hasattr(kind, "_all") else "forward"
    whole = getattr(kind, name)

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _apply(self, whole, args, kwargs, unread=name == "_all")

    return type(f"Tiled{kind.__name__}", (Tiled, kind), {name: run})


def _apply(
    module: Any, whole: Run, args: tuple[Any, ...], kwargs: dict[str, Any], *, unread: bool
) -> Any:
    """The network over tiles; those positional tensors are cut that have a row for each token.

    ``unread`` says that nothing inside the network reads the last product of a gated one.
    """
    x = args[0]
    cut = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.shape[:-1] == x.shape[:-1]]
    inputs = tuple(args[i] for i in cut)
    # the function is kept for the backward pass, and must not keep the inputs
    others = [None if i in cut else a for i, a in enumerate(args)]

    def run(*some: Tensor) -> Any:
        filled = list(others)
        for place, tensor in zip(cut, some, strict=True):
            filled[place] = tensor
        return whole(module, *filled, **kwargs)

    weights = [p for p in module.parameters() if p.requires_grad]
    rows = module.tile_rows
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs, *weights))
    if not wanted:
        return run(*inputs) if rows is None else _joined(run, inputs, rows)
    held = _Held.apply(torch.empty(0, requires_grad=True), *inputs)  # type: ignore[no-untyped-call]
    # in a tuple: it is kept, because up to torch 2.11 what its function keeps goes with it, and
    # nothing is computed from it
    return _Tiles.apply(  # type: ignore[no-untyped-call]
        run, rows, (held,), len(inputs), unread, *inputs, *weights
    )


class _Held(torch.autograd.Function):
    """Keeps tensors before anything is computed from them.

    Where the layer around the network is computed again, nothing after this is needed, and torch's
    checkpoint stops here: the network is computed again once, not twice.
    """

    @staticmethod
    def forward(ctx: Any, _nothing: Tensor, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return torch.empty(0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise AssertionError("nothing is computed from this")


class _Tiles(torch.autograd.Function):
    """The network tile by tile, and its gradient likewise."""

    @staticmethod
    def forward(
        ctx: Any, run: Run, rows: int | None, held: Any, count: int, unread: bool, *tensors: Tensor
    ) -> Any:
        inputs = tensors[:count]
        kind = inputs[0].device.type
        ctx.unread = unread
        ctx.run, ctx.rows, ctx.held, ctx.weights = run, rows, held, tensors[count:]
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.random = torch.get_rng_state()
        ctx.random_there = _device_random(inputs[0])
        return run(*inputs) if rows is None else _joined(run, inputs, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        inputs, weights = ctx.held[0].grad_fn.saved_tensors, ctx.weights
        if not keeps_graph():
            ctx.held = None  # nothing goes back through it, so torch would never let its inputs go
        wanted = ctx.needs_input_grad[5 : 5 + len(inputs)]
        both = list(zip(inputs, wanted, strict=True))
        of_inputs = [empty_like(x) if w else None for x, w in both]
        of_weights: list[Tensor | None] = [None] * len(weights)
        kind, dtype, enabled = ctx.autocast
        again = torch.autocast(kind, dtype=dtype, enabled=enabled)
        with _same_random(ctx.random, ctx.random_there, inputs[0]), again:
            for tile in _tiles(inputs[0], ctx.rows):
                leaves = [_rows(x, tile).detach().requires_grad_(w) for x, w in both]
                with torch.enable_grad(), _once_more(ctx.unread):
                    outs = _as_tuple(ctx.run(*leaves))
                pairs = [
                    (out, _rows_like(grad, tile, inputs[0]))
                    for out, grad in zip(outs, grads, strict=True)
                    if grad is not None and isinstance(out, Tensor) and out.requires_grad
                ]
                learnt = [leaf for leaf in leaves if leaf.requires_grad]
                found = torch.autograd.grad(
                    [out for out, _ in pairs],
                    [*learnt, *weights],
                    [grad for _, grad in pairs],
                    allow_unused=True,
                )
                _put(of_inputs, found[: len(learnt)], tile)
                _add(of_weights, found[len(learnt) :])
        return (None, None, None, None, None, *of_inputs, *of_weights)


def keeps_graph() -> bool:
    """Whether the backward pass that is running may be followed by another of the same graph."""
    return bool(torch._C._autograd._get_current_graph_task_keep_graph())


class _Again(threading.local):
    now = False


_AGAIN = _Again()


def is_again() -> bool:
    """Whether a gated network is computed again for its gradient alone: nobody reads its output."""
    return _AGAIN.now


@contextmanager
def _once_more(unread: bool) -> Iterator[None]:
    before, _AGAIN.now = _AGAIN.now, unread
    try:
        yield
    finally:
        _AGAIN.now = before


def _put(wholes: Sequence[Tensor | None], parts: Sequence[Tensor | None], tile: slice) -> None:
    """A tile's gradients of the inputs in their place; 0 where an input is not used."""
    there = [whole for whole in wholes if whole is not None]
    for whole, part in zip(there, parts, strict=True):
        if part is None:
            _rows(whole, tile).zero_()
        else:
            _rows(whole, tile).copy_(part)


def _add(totals: list[Tensor | None], parts: Sequence[Tensor | None]) -> None:
    """Add a tile's gradients of the weights up; None where ``.grad`` has them already."""
    for place, part in enumerate(parts):
        if part is not None:
            total = totals[place]
            totals[place] = part if total is None else total.add_(part)


def _tiles(x: Tensor, rows: int | None) -> Iterator[slice]:
    count = x.shape[-2]
    step = rows or max(count, 1)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _rows(x: Tensor, tile: slice) -> Tensor:
    return x[..., tile, :]


def _rows_like(grad: Tensor, tile: slice, x: Tensor) -> Tensor:
    """A tile of an output: with leading dimensions as the input, or flat."""
    if grad.ndim == x.ndim:
        return _rows(grad, tile)
    lead = x.shape[:-2]
    return grad.view(*lead, -1, grad.shape[-1])[..., tile, :].flatten(0, -2)


def _as_tuple(out: Any) -> tuple[Any, ...]:
    return out if isinstance(out, tuple) else (out,)


def _joined(run: Run, inputs: Sequence[Tensor], rows: int) -> Any:
    """The outputs of all tiles, put together; beside the hidden states, scores of routers."""
    x = inputs[0]
    found = [run(*(_rows(t, tile) for t in inputs)) for tile in _tiles(x, rows)]
    if len(found) == 1:
        return found[0]
    if isinstance(found[0], Tensor):
        return torch.cat(found, dim=-2)
    return tuple(_joined_part(parts, x) for parts in zip(*found, strict=True))


def _joined_part(parts: Sequence[Any], x: Tensor) -> Any:
    if not isinstance(parts[0], Tensor):
        return parts[0]
    if parts[0].ndim == x.ndim:
        return torch.cat(list(parts), dim=-2)
    lead = x.shape[:-2]
    split = [part.view(*lead, -1, part.shape[-1]) for part in parts]
    return torch.cat(split, dim=-2).flatten(0, -2)


def _device_random(x: Tensor) -> Tensor | None:
    """The state of an accelerator's generator."""
    return torch.cuda.get_rng_state(x.device) if x.device.type == "cuda" else None


@contextmanager
def _same_random(state: Tensor, there: Tensor | None, x: Tensor) -> Iterator[None]:
    """Dropout draws what it drew in the forward pass."""
    devices = [x.device] if there is not None else []
    with torch.random.fork_rng(devices=devices):
        torch.set_rng_state(state)
        if there is not None:
            torch.cuda.set_rng_state(there, x.device)
        yield
