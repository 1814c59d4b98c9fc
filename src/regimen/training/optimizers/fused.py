"""Steps inside the backward pass, so that gradients of one layer are there at a time.

LOMO (Lv et al. 2023, arXiv 2306.09782) is SGD, AdaLOMO (Lv et al. 2023, arXiv 2310.10195) has the
factored second moment of Adafactor. Both can also step afterwards, as any other optimizer, and then
do the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from regimen.errors import TrainingError
from regimen.training.optimizers.kinds import ByTensor, Groups, decay


class FusedBackward(ByTensor):
    """An optimizer that may step each parameter as soon as its gradient is complete."""

    def __init__(self, groups: Groups, **defaults: Any) -> None:
        super().__init__(groups, **defaults)
        self._stepped: set[Tensor] = set()
        self._squares = 0.0

    @contextmanager
    def during_backward(self, bound: float) -> Iterator[None]:
        """Inside, the backward pass steps the parameters and leaves no gradients.

        ``bound`` is the largest norm of a gradient, 0 for none. The norm of all gradients is known
        only at the end, so each tensor's is bounded by itself. A gradient that is not finite steps
        nothing.
        """
        self._stepped.clear()
        self._squares = 0.0
        handles = [
            parameter.register_post_accumulate_grad_hook(self._now(group, bound))
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.requires_grad
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def norm(self) -> float:
        """Of all gradients of the last backward pass together, before they were bounded."""
        return math.sqrt(self._squares)

    def _now(self, group: Mapping[str, Any], bound: float) -> Any:
        @torch.no_grad()
        def hook(parameter: Tensor) -> None:
            grad, parameter.grad = parameter.grad, None
            assert grad is not None
            self._once(parameter)
            norm = norm_of(grad)
            self._squares += norm * norm
            if math.isfinite(norm):
                self.update(group, parameter, self.bounded(grad, norm, bound))

        return hook

    def bounded(self, grad: Tensor, norm: float, bound: float) -> Tensor:
        """A gradient scaled down to a norm of ``bound``, in place."""
        return grad.mul_(bound / norm) if bound and norm > bound else grad

    def _once(self, parameter: Tensor) -> None:
        if parameter in self._stepped:
            raise TrainingError(
                "A weight got a second gradient in a step that it was already moved in.",
                slug="fused-twice",
                got=f"{type(self).__name__}, a weight of {tuple(parameter.shape)}",
                fix="Use an optimizer that does not step inside the backward pass, for example "
                "optimizer: adafactor.",
            )
        self._stepped.add(parameter)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step what has a gradient still: everything, where the backward pass stepped nothing.

        Raises:
            TrainingError: the backward pass stepped it already.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._once(parameter)
                    self.update(group, parameter, parameter.grad)
        self._stepped.clear()


PIECE = 1 << 17
"""Numbers that are turned into fp32 at a time."""


def norm_of(tensor: Tensor) -> float:
    """The norm, summed in fp32; no block of the tensor's size is made.

    An accelerator's kernel turns numbers as it reads them, and is waited for once.
    """
    if tensor.device.type != "cpu":
        return float(torch.linalg.vector_norm(tensor, dtype=torch.float32))
    flat = tensor.reshape(-1)
    pieces = (flat[start : start + PIECE] for start in range(0, len(flat), PIECE))
    return math.hypot(*(float(torch.linalg.vector_norm(p, dtype=torch.float32)) for p in pieces))


class Lomo(FusedBackward):
    """SGD without momentum, inside the backward pass: no state, gradients of one layer."""

    def update(self, group: Mapping[str, Any], parameter: Tensor, grad: Tensor) -> None:
        """As ``ByTensor``."""
        decay(group, parameter)
        parameter.add_(grad, alpha=-group["lr"])


FLOOR, LEAST_SCALE = 1e-30, 1e-3
"""Added to squares of gradients; smallest root mean square of a weight (Adafactor's eps)."""


class AdaLomo(FusedBackward):
    """Adafactor's second moment, rows and columns, inside the backward pass.

    v = r c^T / mean(r); u = g / sqrt(v), divided by max(1, rms(u) / ``clip_threshold``);
    w -= lr * max(1e-3, rms(w)) * u. The rate of the moment is 1 - t ** ``beta2_decay``, as in
    Adafactor. This normalisation of each tensor takes the place of clipping.
    """

    def __init__(self, groups: Groups, *, beta2_decay: float, clip_threshold: float) -> None:
        super().__init__(groups, beta2_decay=beta2_decay, clip_threshold=clip_threshold)

    def bounded(self, grad: Tensor, norm: float, bound: float) -> Tensor:
        """The gradient as it is: the size of an update does not depend on that of the gradient."""
        return grad

    def update(self, group: Mapping[str, Any], parameter: Tensor, grad: Tensor) -> None:
        """As ``ByTensor``."""
        state = self.state[parameter]
        grad = grad.float()
        state["step"] = state.get("step", 0) + 1
        rate = state["step"] ** group["beta2_decay"]
        step = _inverse_root(state, grad, rate).mul_(grad)
        step.div_((_rms(step) / group["clip_threshold"]).clamp(min=1.0))
        scale = _rms(parameter).clamp(min=LEAST_SCALE) * group["lr"]
        if group["weight_decay"]:
            parameter.mul_(1 - scale * group["weight_decay"])
        parameter.sub_(step.mul_(scale).to(parameter.dtype))


def _rms(tensor: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor, dtype=torch.float32)
    return norm / math.sqrt(tensor.numel())


def _inverse_root(state: dict[str, Any], grad: Tensor, rate: float) -> Tensor:
    """One over the root of the second moment, which moves towards the squares by ``rate``."""
    squares = grad.square().add_(FLOOR)
    if grad.ndim < 2:
        return _moved(state, "square", squares, rate).rsqrt()
    rows = _moved(state, "rows", squares.mean(-1), rate)
    columns = _moved(state, "columns", squares.mean(-2), rate)
    share = (rows / rows.mean(-1, keepdim=True)).rsqrt_()
    found: Tensor = torch.mul(share[..., :, None], columns.rsqrt()[..., None, :], out=squares)
    return found


def _moved(state: dict[str, Any], name: str, value: Tensor, rate: float) -> Tensor:
    kept: Tensor = state[name].lerp_(value, rate) if name in state else value.clone()
    state[name] = kept
    return kept
