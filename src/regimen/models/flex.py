"""Attention along the paths of a forest by torch's FlexAttention: a shared beginning is read once.

Also capped scores, windows and sinks, at any width of the heads (Dong et al. 2024, arXiv
2412.05496). The kernel is compiled once: what belongs to a batch comes in as tensors.

Shape letters: T tokens, J keys, H query heads, K key heads, D width of a head, B blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.models.forests import BLOCK, KEPT, blocks, numbered, predicate
from regimen.tokens.ragged import Plan

if TYPE_CHECKING:
    from regimen.models.mixers import Asked

NARROWEST = 16
"""Width of a head that the compiled kernel takes at least."""
VARIANTS = 64
"""Forms that are compiled: windows, caps, sinks, with and without gradient, for several models."""
Score = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def refuses(asked: Asked) -> str:
    """Why the kernel does not take this, or nothing."""
    if asked.dropout:
        return "dropout"
    if asked.query.device.type == "cuda" and find_spec("triton") is None:
        return "no Triton"
    if min(asked.query.shape[-1], asked.value.shape[-1]) < NARROWEST:
        return "the width of the heads"
    return ""


@cache
def kernel(device: str) -> Any:
    """The function, compiled on accelerators; on a CPU, where it has no gradient, as written.

    The second batch of another length is the last for which something is compiled: lengths are
    variables from then on, while heads and their widths stay numbers that the kernel is made for.
    """
    from torch.nn.attention.flex_attention import flex_attention

    if device == "cpu":
        return flex_attention
    config: Any = torch._dynamo.config
    # beyond the limit it would silently run as written, with all scores in memory
    config.recompile_limit = max(config.recompile_limit, VARIANTS)
    return torch.compile(flex_attention)


@lru_cache(maxsize=KEPT)
@torch.inference_mode(False)  # a training may get what a generation made
def block_mask(plan: Plan, window: int | None, before: int, device: torch.device) -> Any:
    """The mask of a plan as the kernel reads it, from the ends of blocks: never (T, J)."""
    from torch.nn.attention.flex_attention import BlockMask

    it = numbered(plan, before, device)
    some, every = (_in_order(found) for found in blocks(it, window))
    return BlockMask.from_kv_blocks(
        *some,
        *every,
        BLOCK_SIZE=BLOCK,
        mask_mod=predicate(it, window),
        seq_lengths=(len(it.enter_T), len(it.enter_J)),
    )


def _in_order(found_BB: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys each block of queries has, and which: (1, 1, B), (1, 1, B, B)."""
    number_B = found_BB.sum(-1, dtype=torch.int32)
    which_BB = found_BB.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return number_B[None, None], which_BB.to(torch.int32)[None, None].contiguous()


@cache
def capped(softcap: float) -> Score:
    """c * tanh(score / c) (Gemma 2)."""

    def score(value: Tensor, _batch: Tensor, _head: Tensor, _query: Tensor, _key: Tensor) -> Tensor:
        return softcap * torch.tanh(value / softcap)

    return score


def _to_blocks(x: Tensor) -> Tensor:
    """Rows of zeros behind (1, H, T, D), to whole blocks."""
    missing = -x.shape[2] % BLOCK
    return F.pad(x, (0, 0, 0, missing)) if missing else x


def attend(asked: Asked) -> Tensor:
    """(1, H, T, D) in, (1, T, H, D) out.

    A sink takes probability and gives nothing: with z the log of the sum of exponentials and s the
    sink's score, what comes out is multiplied by e^z / (e^z + e^s).
    """
    call, tokens = asked.call, asked.query.shape[2]
    groups = asked.query.shape[1] // asked.key.shape[1]
    key, value = asked.keys_and_values()
    if groups & (groups - 1):  # the kernel shares keys among powers of two alone
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    query, key, value = (_to_blocks(x) for x in (asked.query, key, value))
    given: dict[str, Any] = {
        "score_mod": None if call.softcap is None else capped(call.softcap),
        "block_mask": block_mask(asked.plan, call.window, asked.before, query.device),
        "scale": call.scaling,
        "enable_gqa": query.shape[1] != key.shape[1],
    }
    if call.sinks_H is None:
        out: Tensor = kernel(query.device.type)(query, key, value, **given)
    else:
        from torch.nn.attention.flex_attention import AuxRequest

        given["return_aux"] = AuxRequest(lse=True)
        out, aux = kernel(query.device.type)(query, key, value, **given)
        share = torch.sigmoid(aux.lse - call.sinks_H.float()[None, :, None])
        out = (out * share[..., None]).to(value.dtype)
    return out[:, :, :tokens].transpose(1, 2)
