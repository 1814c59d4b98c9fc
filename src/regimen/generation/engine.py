"""THE generation engine: prompts and decoding steps are ragged batches over one static cache.

Prompts are read as one flat batch, so no prompt is padded; each decoding step is a flat batch of
one token per running row. A row that ends gives its place to the next prompt. Sampling noise comes
from the request's own seed and position, so a row's sample does not depend on its neighbours.

Shape letters: R rows of the cache, M its positions, T tokens of a flat batch, K key heads, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.models import attention
from regimen.models.attention import Call
from regimen.models.forward import LanguageModel, backbone_of
from regimen.models.head import Head, full_logits
from regimen.tokens.ragged import Plan


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to continue, as ids."""

    id: str
    ids: tuple[int, ...]
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Continuation:
    """Generated ids (without the stop id), why they end, and their summed log-probability."""

    ids: tuple[int, ...]
    finish: str
    logp: float


@dataclass(slots=True)
class _Row:
    prompt: Prompt
    ids: list[int] = field(default_factory=list)
    logp: float = 0.0


class Cache:
    """Static keys and values: layer by layer (R, K, M, D), each row with its own length."""

    def __init__(self, rows: int, positions: int) -> None:
        self.rows, self.positions = rows, positions
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.plan: Plan | None = None
        self.row_T = torch.zeros(0, dtype=torch.int64)
        self.position_T = torch.zeros(0, dtype=torch.int64)

    def point(self, plan: Plan | None, row_T: Tensor, position_T: Tensor) -> None:
        """Where the next flat batch goes; ``plan`` is set while prompts are read."""
        self.plan, self.row_T, self.position_T = plan, row_T, position_T

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
        model: a prepared model that takes ragged batches.
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
        decode: Callable[[Sequence[int]], str] | None = None,
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
        head = self.model.head()
        waiting = sorted(prompts, key=lambda p: -len(p.ids) - p.max_new_tokens)
        cache = Cache(min(self.rows, len(waiting)), len(waiting[0].ids) + waiting[0].max_new_tokens)
        running: list[_Row | None] = [None] * cache.rows
        waiting.reverse()
        while waiting or any(running):
            yield from self._fill(cache, running, waiting, head)
            yield from self._step(cache, running, head)
        self.model.model.train(training)

    def _fill(
        self, cache: Cache, running: list[_Row | None], waiting: list[Prompt], head: Head
    ) -> Iterator[tuple[str, Continuation]]:
        """Read waiting prompts into free rows, once enough rows are free to make it worth it."""
        free = [i for i, row in enumerate(running) if row is None]
        if not waiting or (len(free) < max(1, cache.rows // 4) and any(running)):
            return
        while free and waiting:
            taken: list[tuple[int, Prompt]] = []
            tokens = 0
            while free and waiting and (not taken or tokens < self.prompt_tokens):
                taken.append((free.pop(0), waiting.pop()))
                tokens += len(taken[-1][1].ids)
            lengths = tuple(len(p.ids) for _, p in taken)
            plan = Plan(lengths, (-1,) * len(lengths))
            ids = torch.tensor([i for _, p in taken for i in p.ids])
            position = torch.cat([torch.arange(n) for n in lengths])
            row = torch.repeat_interleave(
                torch.tensor([r for r, _ in taken]), torch.tensor(lengths)
            )
            cache.point(plan, row, position)
            last = torch.tensor(lengths).cumsum(0) - 1
            hidden = self._hidden(cache, ids, position)[last]
            for place, prompt in taken:
                running[place] = _Row(prompt)
            yield from self._choose(hidden, [r for r, _ in taken], running, head)

    def _step(
        self, cache: Cache, running: list[_Row | None], head: Head
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
        self, hidden_RD: Tensor, places: list[int], running: list[_Row | None], head: Head
    ) -> Iterator[tuple[str, Continuation]]:
        """Pick the next id of each row; rows that end are yielded and freed."""
        logprob = logprobs(hidden_RD, head)
        greedy = logprob.argmax(-1).tolist()
        for index, place in enumerate(places):
            row = running[place]
            assert row is not None
            token = greedy[index]
            if row.prompt.temperature > 0:
                token = sample(logprob[index], row.prompt, len(row.ids))
            row.logp += float(logprob[index, token])
            stopped = token in self.stop_ids
            if not stopped:
                row.ids.append(token)
                stopped = self._stop_string(row)
            if stopped or len(row.ids) >= row.prompt.max_new_tokens:
                running[place] = None
                finish = "stop" if stopped else "length"
                yield row.prompt.id, Continuation(tuple(row.ids), finish, row.logp)

    def _stop_string(self, row: _Row) -> bool:
        """Whether the text so far holds a stop string; the last ids are enough to tell."""
        if not row.prompt.stop or self.decode is None:
            return False
        longest = max(len(stop) for stop in row.prompt.stop)
        tail = self.decode(row.ids[-(longest + 4) :])
        return any(stop in tail for stop in row.prompt.stop)


def logprobs(hidden_RD: Tensor, head: Head) -> Tensor:
    """fp32 log-probabilities of the next id: (R, V)."""
    return full_logits(hidden_RD, head, head.weight_VD.dtype).log_softmax(-1)


def sample(logprob_V: Tensor, prompt: Prompt, position: int) -> int:
    """Nucleus sampling (Holtzman et al. 2020) with noise from (seed, position) alone."""
    probability = (logprob_V / prompt.temperature).softmax(-1)
    if prompt.top_p < 1.0:
        ordered, order = probability.sort(descending=True, stable=True)
        beyond = ordered.cumsum(0) - ordered >= prompt.top_p
        probability = probability.clone()
        probability[order[beyond]] = 0.0
    noise = torch.Generator().manual_seed((prompt.seed * 1_000_003 + position) % (1 << 63))
    return int(torch.multinomial(probability, 1, generator=noise))
