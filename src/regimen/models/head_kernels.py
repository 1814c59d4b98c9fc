"""Log-probabilities by kernels of other projects, as a visible table by the type of the device.

A kernel is for calls whose result and gradients it gives as exactly as the head reducer does; the
reducer (`regimen.models.head`, with the kernels of `regimen.models.triton` on CUDA devices) takes
every call, and is for all others.

- cut-cross-entropy (Wijmans et al. 2024, arXiv 2411.09009) never writes logits. From version 25.6
  on it tells normalisers and adds gradients up in fp32. Version 25.1 does neither; it also rounds
  the target's logit to 16 bits, and opens a lock before what it guards is written for all to see.
  It knows neither a factor of the logits nor entropies, and computes logits again backwards, which
  is a product more than ``nll_sum`` takes here: it gets the calls of preference losses.
- Liger's fused linear cross-entropy (0.8.5, arXiv 2410.10989) is not here. It goes the reducer's
  own way, in chunks of N * D / V rows whose logits are written: 64 of 4,096 at a vocabulary of
  49,152 and a width of 768. It tells no normalisers, rounds gradients by row to 16 bits twice, and
  waits for the device at each call. Versions without ``token_grad_output`` have a wrong gradient of
  the weight for what they tell by row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regimen.models.chunks import Finish
from regimen.models.native import ops
from regimen.models.token_rows import Rows

HALF = (torch.bfloat16, torch.float16)


class Asked(NamedTuple):
    """One call of the reducer: hidden rows (N, D), a head (V, D), what comes after the product, and
    what stands in the place of some of the head's rows."""

    hidden_ND: Tensor
    weight_VD: Tensor
    bias_V: Tensor | None
    finish: Finish
    needs: frozenset[str]
    dtype: torch.dtype
    rows: Rows | None = None


class HeadKernel(NamedTuple):
    """A library's kernel.

    ``lacks`` says why its version is of no use here, or nothing; ``refuses`` why it does not take a
    call; ``reduce`` gives log-probabilities and normalisers (N, fp32), both with gradients.
    """

    library: str
    lacks: Callable[[], str]
    refuses: Callable[[Asked], str]
    reduce: Callable[[Asked, Tensor], tuple[Tensor, Tensor]]


@cache
def _cut() -> Any:
    from cut_cross_entropy import linear_cross_entropy

    return linear_cross_entropy


EXACT: Mapping[str, Any] = {
    "reduction": "none",
    "return_lse": True,
    "filter_eps": None,  # no gradient is left out because it is small
    "accum_e_fp32": True,
    "accum_c_fp32": True,
}
"""What is asked of cut-cross-entropy."""


@cache
def _cut_lacks() -> str:
    missing = sorted(set(EXACT) - set(inspect.signature(_cut()).parameters))
    return f"it has no {', '.join(missing)}" if missing else ""


def _cut_refuses(asked: Asked) -> str:
    if not asked.needs <= {"logp", "lse"}:
        return "more than log-probabilities and normalisers"
    if asked.finish.scale != 1.0:
        return "a factor of the logits"
    if asked.rows is not None:
        return "rows that stand in the place of others"
    if asked.dtype not in HALF or asked.weight_VD.dtype != asked.dtype:
        return "numbers of more than 16 bits"
    if not len(asked.hidden_ND):
        return "no rows"
    if torch.are_deterministic_algorithms_enabled():
        return "its sums have no order"
    return ""


def _cut_reduce(asked: Asked, target_N: Tensor) -> tuple[Tensor, Tensor]:
    nll_N, lse_N = _cut()(
        asked.hidden_ND.to(asked.dtype),
        asked.weight_VD,
        target_N,
        bias=asked.bias_V,
        softcap=asked.finish.softcap,
        **EXACT,
    )
    return -nll_N, lse_N


CUT = HeadKernel("cut-cross-entropy", _cut_lacks, _cut_refuses, _cut_reduce)

KERNELS: Mapping[str, tuple[HeadKernel, ...]] = {"cuda": (CUT,)}
"""By the type of the device, the first that is installed, lacks nothing, and takes a call."""


def kernel_for(asked: Asked) -> HeadKernel | None:
    """The kernel that takes a call; None for the reducer's own way."""
    for kernel in KERNELS.get(asked.hidden_ND.device.type, ()):
        if _is_installed(kernel) and not kernel.lacks() and not kernel.refuses(asked):
            return kernel
    return None


def in_words(device: torch.device) -> str:
    """What reduces log-probabilities on an accelerator, and what is installed and does not; empty
    for other devices.
    """
    if device.type not in KERNELS:
        return ""
    own = "own kernels" if ops.kernels() is not None else "torch's operators, without Triton"
    told = []
    for kernel in KERNELS[device.type]:
        if _is_installed(kernel):
            name = f"{kernel.library} {version(kernel.library)}"
            reason = kernel.lacks()
            told.append(f"not {name}: {reason}" if reason else f"{name} where it does the same")
    return "log-probabilities: " + "; ".join([own, *told])


def _is_installed(kernel: HeadKernel) -> bool:
    return find_spec(kernel.library.replace("-", "_")) is not None
