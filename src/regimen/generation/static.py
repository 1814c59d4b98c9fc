"""Decoding steps of one shape, for accelerators: recorded once as a CUDA graph, then replayed.

A step of a few rows takes the device less time than the host needs to launch its kernels one by
one. Here a step goes over the first rows of the cache, as many as a power of two, whether they run
or not, and over all their positions; what differs from step to step stands in tensors that stay
where they are. Where a model cannot be recorded, the same step is launched kernel by kernel.

Shape letters: B rows of a step, R rows that run, M positions, H query heads, K key heads, G queries
of a key head, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.generation.cache import Cache
from regimen.models.segments import Call, explicit_attention

LEAST = 8
"""Rows of the smallest step."""

Run = Callable[[Tensor, Tensor], Tensor]
"""Last hidden states (B, D) of ids and positions, for the rows that the cache points to."""
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]
"""Runs and records; gives what replays, and the tensor in which the result then is."""


def recorded(run: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    """A CUDA graph of what runs.

    Raises:
        RuntimeError: something of it cannot be recorded, for example a copy to the host.
    """
    apart = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    apart.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(apart):  # what is chosen or compiled at the first time is, before
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(apart)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()
    return graph.replay, out


class StaticCache(Cache):
    """``Cache`` whose decoding steps go over the first rows and all positions of each.

    What was not stored yet is 0, and no number that could spread.
    """

    stepping = False
    """Whether the batch is a step of the first rows in their order."""

    def fresh(self, given_TKD: Tensor) -> Tensor:
        """As ``Cache``, filled with zeros."""
        return given_TKD.new_zeros((self.rows, self.positions, *given_TKD.shape[1:]))

    def decode(
        self, layer: int, query_THD: Tensor, call: Call, read_T: Tensor | None = None
    ) -> Tensor:
        """As ``Cache``; a step's tokens are the first rows in their order."""
        if not self.stepping:
            return super().decode(layer, query_THD, call, read_T)
        keys, values = (x[layer][: len(query_THD)] for x in (self.keys, self.values))
        return step_attention(query_THD, keys, values, self.position_T, call)


def step_attention(
    query_BHD: Tensor, key_BMKD: Tensor, value_BMKD: Tensor, position_B: Tensor, call: Call
) -> Tensor:
    """Attention of one query of each row over what its row holds: (B, H, D). Nothing waits."""
    rows, positions, heads, _ = key_BMKD.shape
    place_M = torch.arange(positions, device=key_BMKD.device)
    mask = place_M <= position_B[:, None]
    if call.window is not None:
        mask &= place_M > position_B[:, None] - call.window
    key, value = key_BMKD.transpose(1, 2), value_BMKD.transpose(1, 2)
    if call.softcap is not None or call.sinks_H is not None:
        query = query_BHD[:, :, None]
        return explicit_attention(query, key, value, mask[:, None, None], call)[:, :, 0]
    query_BKGD = query_BHD.reshape(rows, heads, -1, query_BHD.shape[-1])
    seen = mask[:, None, None].expand(-1, -1, query_BKGD.shape[2], -1)
    out = F.scaled_dot_product_attention(query_BKGD, key, value, seen, scale=call.scaling)
    return out.reshape(rows, -1, out.shape[-1])


@dataclass(slots=True)
class _Kept:
    """The tensors of a size, and what replays the step on them."""

    ids_B: Tensor
    position_B: Tensor
    row_B: Tensor
    replay: Callable[[], object] | None = None
    hidden_BD: Tensor | None = None


class StaticStep:
    """The steps of a run.

    Args:
        cache: of the run.
        run: the model.
        record: ``recorded``; None launches every step kernel by kernel.
        device: of the model.
        ahead: position of the first token of a row.
    """

    def __init__(
        self, cache: StaticCache, run: Run, record: Record | None, device: torch.device, ahead: int
    ) -> None:
        self.cache, self.run, self.record = cache, run, record
        self.device, self.ahead = device, ahead
        self._kept: dict[int, _Kept] = {}
        self.why_not = ""

    def hidden(self, places: Sequence[int], ids: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Last hidden states of the rows at these places: (R, D). Valid until the next step."""
        size = LEAST
        while size <= max(places):
            size *= 2
        size = min(size, self.cache.rows)
        kept = self._tensors(size)
        host = torch.zeros(2, size, dtype=torch.int64)
        host[1] = self.ahead  # rows that do not run write where their next prompt begins
        chosen = torch.tensor(places)
        host[0, chosen], host[1, chosen] = torch.tensor(ids), torch.tensor(positions)
        there = host.to(self.device)
        kept.ids_B.copy_(there[0])
        kept.position_B.copy_(there[1])
        return self._stepped(kept)[chosen.to(self.device)]

    def _tensors(self, size: int) -> _Kept:
        if size not in self._kept:
            blank = torch.zeros(size, dtype=torch.int64, device=self.device)
            rows = torch.arange(size, device=self.device)
            self._kept[size] = _Kept(blank, blank.clone(), rows)
        return self._kept[size]

    def _stepped(self, kept: _Kept) -> Tensor:
        def step() -> Tensor:
            self.cache.point(None, kept.row_B, kept.position_B)
            return self.run(kept.ids_B, kept.position_B)

        self.cache.stepping = True
        try:
            if kept.replay is None and self.record is not None:
                try:
                    kept.replay, kept.hidden_BD = self.record(step)
                except RuntimeError as error:
                    self.record, self.why_not = None, str(error).splitlines()[0]
            if kept.replay is None or kept.hidden_BD is None:
                return step()
            kept.replay()
            return kept.hidden_BD
        finally:
            self.cache.stepping = False
