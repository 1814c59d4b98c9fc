"""Kernels of ragged attention, as a visible table by the type of the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from regimen.models import flex, varlen
from regimen.models.segments import Call, segment_attention
from regimen.tokens.ragged import Plan


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: queries (1, H, T, D), keys and values (1, K, T, D), and what goes with them.

    ``prefix`` has keys and values (1, K, V, D) that stand before every path.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    plan: Plan
    call: Call
    dropout: float = 0.0
    prefix: tuple[Tensor, Tensor] | None = None

    @property
    def before(self) -> int:
        """Keys before every path."""
        return 0 if self.prefix is None else self.prefix[0].shape[2]

    def keys_and_values(self) -> tuple[Tensor, Tensor]:
        """Keys and values (1, K, J, D), those before every path first."""
        if self.prefix is None:
            return self.key, self.value
        key, value = (
            torch.cat([before.to(own), own], dim=2)
            for before, own in zip(self.prefix, (self.key, self.value), strict=True)
        )
        return key, value


class Mixer(NamedTuple):
    """A kernel: why it does not take a call, or nothing; and what comes out, (1, T, H, D)."""

    name: str
    refuses: Callable[[Asked], str]
    attend: Callable[[Asked], Tensor]


def _by_segment(asked: Asked) -> Tensor:
    it = asked
    return segment_attention(it.query, it.key, it.value, it.plan, it.call, it.dropout, it.prefix)


SEGMENTS = Mixer("segments", lambda asked: "", _by_segment)
VARLEN = Mixer("varlen", varlen.refuses, varlen.attend)
FLEX = Mixer("flex", flex.refuses, flex.attend)

MIXERS: Mapping[str, tuple[Mixer, ...]] = {"cuda": (VARLEN, FLEX, SEGMENTS)}
"""By the type of the device, the first that takes a call; other devices go by segment."""


def mix(asked: Asked) -> Tensor:
    """Attention of every segment over its path: (1, T, H, D)."""
    for mixer in MIXERS.get(asked.query.device.type, ()):
        if not mixer.refuses(asked):
            return mixer.attend(asked)
    return _by_segment(asked)
