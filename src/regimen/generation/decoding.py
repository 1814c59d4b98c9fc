"""How a run of generation computes hidden states and scores: flat where it can, else by modules.

Shape letters: R rows, T tokens of a flat batch, N of them that are read, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from regimen.generation.cache import Cache
from regimen.generation.cache_int8 import Int8Cache
from regimen.generation.copying import by_modules, flat_network
from regimen.generation.static import StaticCache, StaticStep, recorded
from regimen.generation.vocabulary import Scores, Vocabulary
from regimen.models.forward import LanguageModel
from regimen.models.head import full_logits
from regimen.models.virtual import Prefix, virtual_of
from regimen.tokens.ragged import Plan

CACHES: dict[str, type[Cache]] = {"full": Cache, "int8": Int8Cache}
"""How keys and values are kept."""
WORTH = 128
"""New tokens above which copies of the weights pay."""
BATCH = 512
"""Tokens of prompts that a flat network reads at once: their states stay in the cache."""
SPARE = 0.5
"""Share of the memory that is free that the copies may take."""


class Decoder:
    """The cache of a run, and copies of the weights that are dropped with it.

    Args:
        model: a prepared model, in evaluation mode.
        rows: of the cache.
        positions: of each row, without trained ones that stand before every row: ``ahead``.
        new_tokens: the most that the run may generate, all rows together.
        bf16: products in bf16.
        kv_cache: one of ``CACHES``.
    """

    def __init__(
        self,
        model: LanguageModel,
        rows: int,
        positions: int,
        new_tokens: int,
        *,
        bf16: bool,
        kv_cache: str = "full",
    ) -> None:
        self.model, self.bf16, self.device = model, bf16, model.device
        self.head = model.head()
        prefix = standing_before(model)
        self.ahead = next(iter(prefix.values()))[0].shape[2] if prefix else 0
        positions += self.ahead
        weight = self.head.weight_VD
        self.cache, self.static = CACHES[kv_cache](rows, positions, prefix), None
        if self.device.type == "cuda" and kv_cache == "full":
            self.cache = static = StaticCache(rows, positions, prefix)
            record = recorded if new_tokens >= WORTH and torch.cuda.is_available() else None
            self.static = StaticStep(static, self.hidden, record, self.device, self.ahead)
        copies = new_tokens >= WORTH and weight.device.type == "cpu"
        copies = copies and weight.dtype == torch.float32 and _fits(model)
        dtype = torch.bfloat16 if bf16 else torch.float32
        self.network = flat_network(model, positions, dtype) if copies else None
        self.vocabulary = Vocabulary(self.head, rows, dtype) if copies else None

    def there(self, numbers: Sequence[int]) -> Tensor:
        """Whole numbers where the model computes."""
        return torch.tensor(numbers, device=self.device)

    @property
    def batch_tokens(self) -> int:
        """Tokens of prompts that are best read at once."""
        return BATCH if self.network is not None else 1 << 30

    def hidden(self, ids_T: Tensor, position_T: Tensor, read_N: Tensor | None = None) -> Tensor:
        """Last hidden states (N, D) of these tokens of the batch that the cache points to.

        Without ``read_N``, of all.
        """
        if self.network is not None:
            return self.network.hidden(self.cache, ids_T, position_T, read_N)
        with torch.autocast(ids_T.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            hidden = by_modules(self.model, self.cache, ids_T, position_T)
        return hidden if read_N is None else hidden[read_N]

    def step(self, places: Sequence[int], ids: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Last hidden states of one token of each of the rows at these places: (R, D).

        Valid until the next step.
        """
        positions = [position + self.ahead for position in positions]
        if self.static is not None:
            return self.static.hidden(places, ids, positions)
        position_R = self.there(positions)
        self.cache.point(None, self.there(places), position_R)
        return self.hidden(self.there(ids), position_R)

    def scores(self, hidden_RD: Tensor) -> Scores:
        """Of the next id, after each row. Valid until the next call."""
        if self.vocabulary is not None:
            return self.vocabulary.scores(hidden_RD)
        return Scores.of(full_logits(hidden_RD, self.head, self.head.weight_VD.dtype))


def standing_before(model: LanguageModel) -> Prefix | None:
    """Keys and values of trained positions before every row, by layer; None for most models."""
    virtual = virtual_of(model.model)
    if virtual is None or virtual.embeddings_VD is None:
        return None if virtual is None else virtual.prefix
    cache = Cache(1, virtual.positions)
    place_V = torch.arange(virtual.positions, device=model.device)
    cache.point(Plan((virtual.positions,), (-1,)), torch.zeros_like(place_V), place_V)
    by_modules(model, cache, None, place_V, embeddings_TD=virtual.embeddings_VD)
    return {
        layer: (keys.transpose(1, 2), cache.values[layer].transpose(1, 2))
        for layer, keys in cache.keys.items()
    }


def _fits(model: LanguageModel) -> bool:
    """Whether a copy of the model is a small part of the free memory; unknown counts as yes."""
    free = free_bytes()
    needed = sum(p.nbytes for p in model.model.parameters())
    return free is None or needed <= SPARE * free


def free_bytes() -> int | None:
    """Memory that Linux can give without swapping; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kilobytes[0] * 1024 if kilobytes else None
