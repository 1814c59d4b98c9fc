"""Trained positions before every row, as PEFT's prompt methods make them, in flat batches.

Prompt tuning and P-tuning train embeddings; in a flat batch they are one segment that every other
continues. Prefix tuning trains keys and values of every layer; they stand before those of every
path, and nothing is computed for them.

Shape letters: V virtual positions, T tokens, D width, K key heads, W width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regimen.tokens.ragged import Plan

Prefix = Mapping[int, tuple[Tensor, Tensor]]
"""Keys and values of the virtual positions by layer, each (1, K, V, W)."""


@dataclass(frozen=True, slots=True)
class Virtual:
    """What stands before every row: embeddings (V, D), or keys and values."""

    positions: int
    embeddings_VD: Tensor | None = None
    prefix: Prefix | None = None

    def plan(self, plan: Plan) -> Plan:
        """The plan with the embeddings as its first segment, which every root continues."""
        if self.embeddings_VD is None:
            return plan
        parents = tuple(max(parent + 1, 0) for parent in plan.parents)
        return Plan((self.positions, *plan.lengths), (-1, *parents))

    def inputs(self, embedding: Any, ids_T: Tensor) -> dict[str, Tensor]:
        """What the backbone reads: ids, or embeddings after the virtual ones."""
        if self.embeddings_VD is None:
            return {"input_ids": ids_T[None]}
        tokens_TD = embedding(ids_T)
        return {"inputs_embeds": torch.cat([self.embeddings_VD.to(tokens_TD), tokens_TD])[None]}

    def places(self, position_T: Tensor) -> Tensor:
        """Positions behind the virtual ones, with theirs where they are read as well."""
        behind_T = position_T + self.positions
        if self.embeddings_VD is None:
            return behind_T
        own = torch.arange(self.positions, device=position_T.device)
        return torch.cat([own, behind_T])

    @property
    def first(self) -> int:
        """The row of the hidden states at which the tokens begin."""
        return 0 if self.embeddings_VD is None else self.positions


def is_virtual(model: Any) -> bool:
    """Whether a model's adapter puts trained positions before every row, and is not disabled."""
    config = getattr(model, "peft_config", None)
    if config is None or getattr(model, "_adapters_disabled", False):
        return False
    return bool(getattr(model.active_peft_config, "is_prompt_learning", False))


def virtual_of(model: Any) -> Virtual | None:
    """What stands before every row of a model; None for other models."""
    if not is_virtual(model):
        return None
    count = int(model.active_peft_config.num_virtual_tokens)
    made = model.get_prompt(batch_size=1)
    if isinstance(made, Tensor):
        return Virtual(count, embeddings_VD=made[0])
    layers = enumerate(made.layers)
    return Virtual(count, prefix={number: (it.keys, it.values) for number, it in layers})
