"""Attention of separate sequences by torch's flash kernel: no padding, and no work between them.

Each segment is a sequence of queries against the keys of its path (Dao 2023, arXiv 2307.08691; the
causal mask ends at the last query and the last key together). Where segments share a beginning its
keys are gathered once for each of them, so this is for forests that share little.

Shape letters: T tokens, J keys, P keys of all paths, H query heads, K key heads, D width of a head.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regimen.models.forests import path_keys, paths_of

if TYPE_CHECKING:
    from regimen.models.mixers import Asked

COPIES = 3.0
"""Keys of all paths over tokens, above which gathering them is not worth it."""
WIDEST = 256
"""Width of a head that the kernel takes at most."""
HALF = (torch.bfloat16, torch.float16)


@cache
def kernel() -> Any:
    """torch's function, from version 2.10 on; None where it is not there."""
    if find_spec("torch.nn.attention.varlen") is None:
        return None
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


@cache
def _groups_by_name() -> bool:
    """Whether the function wants to be told that heads share keys; from version 2.12 on."""
    import inspect

    return "enable_gqa" in inspect.signature(kernel()).parameters


@cache
def _is_recent(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)


def refuses(asked: Asked) -> str:
    """Why the kernel does not take this, or nothing."""
    width, call = asked.query.shape[-1], asked.call
    if kernel() is None:
        return "torch has no varlen_attn"
    if asked.query.dtype not in HALF or asked.query.dtype != asked.key.dtype:
        return "numbers of more than 16 bits"
    if width % 8 or width > WIDEST or asked.value.shape[-1] != width:
        return "the width of the heads"
    if call.softcap is not None or call.sinks_H is not None or asked.dropout:
        return "capped scores, sinks or dropout"
    if asked.query.device.type == "cuda" and not _is_recent(asked.query.device):
        return "the device"
    if path_keys(asked.plan, asked.before) > COPIES * asked.query.shape[2] + asked.before:
        return "much is shared"
    return ""


def attend(asked: Asked) -> Tensor:
    """(1, H, T, D) in, (1, T, H, D) out."""
    query_THD = asked.query[0].transpose(0, 1)
    key_JKD, value_JKD = (x[0].transpose(0, 1) for x in asked.keys_and_values())
    paths = paths_of(asked.plan, asked.before, asked.query.device)
    if paths.row_P is not None:
        key_JKD, value_JKD = (x.index_select(0, paths.row_P) for x in (key_JKD, value_JKD))
    window = asked.call.window
    more = {"enable_gqa": True} if _groups_by_name() else {}
    out: Tensor = kernel()(
        query_THD,
        key_JKD,
        value_JKD,
        paths.ends_Q,
        paths.ends_K,
        paths.longest_query,
        paths.longest_key,
        scale=asked.call.scaling,
        window_size=(-1 if window is None else window - 1, 0),
        **more,
    )
    return out[None]
