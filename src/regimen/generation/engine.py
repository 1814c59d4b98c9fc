"""THE generation engine: prompts and decoding steps are ragged batches over one static cache.

Prompts are read as one flat batch, so no prompt is padded; each decoding step is a flat batch of
one token per running row. A row that ends gives its place to the next prompt. Sampling noise comes
from the request's own seed and position, so a row's sample does not depend on its neighbours.

Shape letters: R rows of the cache, M its positions, T tokens of a flat batch, K key heads, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.generation.padded import generate_padded
from regimen.generation.rows import Continuation, Decode, Prompt, Row, choose
from regimen.models import attention
from regimen.models.attention import Call
from regimen.models.forward import LanguageModel, backbone_of
from regimen.models.head import Head, full_logits
from regimen.tokens.ragged import Plan


class Cache:
    """Static keys and values: layer by layer (R, K, M, D), each row with its own length."""

    def __init__(self, rows: int, positions: int) -> None:
        self.rows, self.positions = rows, positions
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.last: dict[int, Tensor] = {}
        """Hidden state of each row's last prompt token: (D,)."""
        self.plan: Plan | None = None
        self.row_T = torch.zeros(0, dtype=torch.int64)
        self.position_T = torch.zeros(0, dtype=torch.int64)

    def point(self, plan: Plan | None, row_T: Tensor, position_T: Tensor) -> None:
        """Where the next flat batch goes; ``plan`` is set while prompts are read."""
        self.plan, self.row_T, self.position_T = plan, row_T, position_T

    def copy(self, source: int, place: int, positions: int) -> None:
        """Give a row the first positions of another one."""
        for stored in (*self.keys.values(), *self.values.values()):
            stored[place, :, :positions] = stored[source, :, :positions]
        self.last[place] = self.last[source]

    def attend(
        self, layer: int, query_THD: Tensor, key_TKD: Tensor, value_TKD: Tensor, call: Call
    ) -> Tensor:
        """Store keys and values, attend, and return (T, H, D)."""
        if layer not in self.keys:
            shape = (self.rows, key_TKD.shape[1], self.positions, key_TKD.shape[2])
            self.keys[layer] = key_TKD.new_zeros(shape)
            self.values[layer] = value_TKD.new_zeros((*shape[:3], value_TKD.shape[2]))
        keys, values = self.keys[layer], self.values[layer]
        keys[self.row_T, :, self.position_T] = key_TKD
        values[self.row_T, :, self.position_T] = value_TKD
        if self.plan is not None:
            query, key, value = (x.transpose(0, 1)[None] for x in (query_THD, key_TKD, value_TKD))
            return attention.segment_attention(query, key, value, self.plan, call)[0]
        return self._decode(query_THD, keys, values, call)

    def _decode(self, query_THD: Tensor, keys: Tensor, values: Tensor, call: Call) -> Tensor:
        longest = int(self.position_T.max()) + 1
        place = torch.arange(longest)
        mask = place[None] <= self.position_T[:, None]
        if call.window is not None:
            mask &= place[None] > self.position_T[:, None] - call.window
        rows = self.row_T
        whole = len(rows) == self.rows and bool((rows == torch.arange(self.rows)).all())
        key = keys[:, :, :longest] if whole else keys[rows, :, :longest]
        value = values[:, :, :longest] if whole else values[rows, :, :longest]
        query = query_THD[:, :, None]
        if call.softcap is not None or call.sinks_H is not None:
            out = attention.explicit_attention(query, key, value, mask[:, None, None], call)
        else:
            out = F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=mask[:, None, None],
                scale=call.scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        return out[:, :, 0]


class Engine:
    """Generates with one model.

    Args:
        model: a prepared model; one that takes no ragged batches runs in transformers' own loop.
        stop_ids: ids that end a continuation.
        rows: continuations that run at once.
        bf16: autocast to bf16.
        prompt_tokens: prompts are read in flat batches of about this many tokens.
        decode: ids to text, needed where a prompt has stop strings.
    """

    def __init__(
        self,
        model: LanguageModel,
        stop_ids: Sequence[int],
        *,
        rows: int = 64,
        bf16: bool = False,
        prompt_tokens: int = 4096,
        decode: Decode | None = None,
    ) -> None:
        self.model, self.stop_ids = model, frozenset(stop_ids)
        self.rows, self.bf16, self.prompt_tokens = rows, bf16, prompt_tokens
        self.decode = decode

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[str, Continuation]]:
        """Yield ``(prompt.id, continuation)`` as rows end. Prompts must not be empty."""
        if not prompts:
            return
        training = self.model.model.training
        self.model.model.eval()
        try:
            yield from self._ragged(prompts) if self.model.ragged else self._padded(prompts)
        finally:
            self.model.model.train(training)

    def _padded(self, prompts: Sequence[Prompt]) -> Iterator[tuple[str, Continuation]]:
        network = self.model.model
        yield from generate_padded(
            network, prompts, self.stop_ids, rows=self.rows, bf16=self.bf16, decode=self.decode
        )

    def _ragged(self, prompts: Sequence[Prompt]) -> Iterator[tuple[str, Continuation]]:
        head = self.model.head()
        # samples of one prompt stand together, so that it is read once
        waiting = sorted(prompts, key=lambda p: (-len(p.ids) - p.max_new_tokens, p.ids))
        cache = Cache(min(self.rows, len(waiting)), len(waiting[0].ids) + waiting[0].max_new_tokens)
        running: list[Row | None] = [None] * cache.rows
        waiting.reverse()
        while waiting or any(running):
            yield from self._fill(cache, running, waiting, head)
            yield from self._step(cache, running, head)

    def _fill(
        self, cache: Cache, running: list[Row | None], waiting: list[Prompt], head: Head
    ) -> Iterator[tuple[str, Continuation]]:
        """Read waiting prompts into free rows, once enough rows are free to make it worth it."""
        free = [i for i, row in enumerate(running) if row is None]
        if not waiting or (len(free) < max(1, cache.rows // 4) and any(running)):
            return
        while free and waiting:
            taken: dict[int, Prompt] = {}
            tokens = 0
            while free and waiting and (not taken or tokens < self.prompt_tokens):
                prompt = waiting.pop()
                tokens += 0 if prompt.ids in {p.ids for p in taken.values()} else len(prompt.ids)
                taken[free.pop(0)] = prompt
            hidden = self._read(cache, running, taken)
            for place, prompt in taken.items():
                running[place] = Row(prompt)
            yield from self._choose(hidden, list(taken), running, head)

    def _read(
        self, cache: Cache, running: Sequence[Row | None], taken: dict[int, Prompt]
    ) -> Tensor:
        """Last hidden states of the prompts, by place: (R, D). Each is computed once.

        A prompt that another row has read, now or earlier, is copied from there.
        """
        source = {row.prompt.ids: place for place, row in enumerate(running) if row is not None}
        fresh = {p.ids: place for place, p in reversed(taken.items()) if p.ids not in source}
        if fresh:
            lengths = tuple(len(ids) for ids in fresh)
            places, sizes = torch.tensor(list(fresh.values())), torch.tensor(lengths)
            position = torch.cat([torch.arange(n) for n in lengths])
            plan = Plan(lengths, (-1,) * len(lengths))
            cache.point(plan, torch.repeat_interleave(places, sizes), position)
            hidden = self._hidden(cache, torch.tensor([i for ids in fresh for i in ids]), position)
            for place, last in zip(fresh.values(), hidden[sizes.cumsum(0) - 1], strict=True):
                cache.last[place] = last
        source |= fresh
        for place, prompt in taken.items():
            if source[prompt.ids] != place:
                cache.copy(source[prompt.ids], place, len(prompt.ids))
        return torch.stack([cache.last[place] for place in taken])

    def _step(
        self, cache: Cache, running: list[Row | None], head: Head
    ) -> Iterator[tuple[str, Continuation]]:
        places = [i for i, row in enumerate(running) if row is not None]
        if not places:
            return
        rows = [row for row in running if row is not None]
        ids = torch.tensor([row.ids[-1] for row in rows])
        position = torch.tensor([len(row.prompt.ids) + len(row.ids) - 1 for row in rows])
        cache.point(None, torch.tensor(places), position)
        yield from self._choose(self._hidden(cache, ids, position), places, running, head)

    def _hidden(self, cache: Cache, ids_T: Tensor, position_T: Tensor) -> Tensor:
        with (
            torch.autocast(ids_T.device.type, dtype=torch.bfloat16, enabled=self.bf16),
            attention.active_plan(None, cache),
        ):
            out = backbone_of(self.model.model)(
                input_ids=ids_T[None], position_ids=position_T[None], use_cache=False
            )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def _choose(
        self, hidden_RD: Tensor, places: list[int], running: list[Row | None], head: Head
    ) -> Iterator[tuple[str, Continuation]]:
        """Pick the next id of each row; rows that end are yielded and freed."""
        rows = [row for row in (running[place] for place in places) if row is not None]
        chosen = choose(logprobs(hidden_RD, head), rows)
        for place, row, (token, logp) in zip(places, rows, chosen, strict=True):
            if row.take(token, logp, self.stop_ids, self.decode):
                running[place] = None
                yield row.prompt.id, row.done()


def logprobs(hidden_RD: Tensor, head: Head) -> Tensor:
    """fp32 log-probabilities of the next id: (R, V)."""
    return full_logits(hidden_RD, head, head.weight_VD.dtype).log_softmax(-1)
