"""THE generation engine: prompts and decoding steps are ragged batches over one static cache.

Prompts are read as one flat batch, so no prompt is padded; each decoding step is a flat batch of
one token per running row. A row that ends gives its place to the next prompt. Sampling noise comes
from the request's own seed and position, so a row's sample does not depend on its neighbours.

Shape letters: R rows of the cache, M its positions, T tokens of a flat batch, K key heads, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from regimen.errors import ModelError
from regimen.generation.decoding import Decoder
from regimen.generation.padded import generate_padded
from regimen.generation.reading import rest_groups, split_reading
from regimen.generation.rows import Continuation, Decode, Prompt, Row, choose
from regimen.models.forward import LanguageModel
from regimen.tokens.ragged import Plan


class Engine:
    """Generates with one model.

    Args:
        model: a prepared model; one that takes no ragged batches runs in transformers' own loop.
        stop_ids: ids that end a continuation.
        rows: continuations that run at once.
        bf16: autocast to bf16.
        prompt_tokens: prompts are read in flat batches of about this many tokens.
        decode: ids to text, needed where a prompt has stop strings.
        kv_cache: ``full`` keeps keys and values as they are, ``int8`` in 8 bits.
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
        kv_cache: str = "full",
    ) -> None:
        self.model, self.stop_ids = model, frozenset(stop_ids)
        self.rows, self.bf16, self.prompt_tokens = rows, bf16, prompt_tokens
        self.decode, self.kv_cache = decode, kv_cache

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[str, Continuation]]:
        """Yield ``(prompt.id, continuation)`` as rows end. Prompts must not be empty.

        Raises:
            ModelError: ``kv-cache-own`` where the model keeps a cache that is not ours.
        """
        if not prompts:
            return
        training = self.model.model.training
        self.model.model.eval()
        try:
            yield from self._ragged(prompts) if self.model.ragged else self._padded(prompts)
        finally:
            self.model.model.train(training)

    def _padded(self, prompts: Sequence[Prompt]) -> Iterator[tuple[str, Continuation]]:
        if self.kv_cache != "full":
            raise ModelError(
                "This model generates in transformers' own loop, with a cache of its own.",
                slug="kv-cache-own",
                got=f"kv_cache {self.kv_cache}; padded batches: {self.model.reason}",
                fix="Set kv_cache: full.",
            )
        network = self.model.model
        yield from generate_padded(
            network, prompts, self.stop_ids, rows=self.rows, bf16=self.bf16, decode=self.decode
        )

    def _ragged(self, prompts: Sequence[Prompt]) -> Iterator[tuple[str, Continuation]]:
        # samples of one prompt stand together, so that it is read once
        waiting = sorted(prompts, key=lambda p: (-len(p.ids) - p.max_new_tokens, p.ids))
        decoder = Decoder(
            self.model,
            min(self.rows, len(waiting)),
            len(waiting[0].ids) + waiting[0].max_new_tokens,
            sum(prompt.max_new_tokens for prompt in waiting),
            bf16=self.bf16,
            kv_cache=self.kv_cache,
        )
        running: list[Row | None] = [None] * decoder.cache.rows
        waiting.reverse()
        while waiting or any(running):
            yield from self._fill(decoder, running, waiting)
            yield from self._step(decoder, running)

    def _fill(
        self, decoder: Decoder, running: list[Row | None], waiting: list[Prompt]
    ) -> Iterator[tuple[str, Continuation]]:
        """Read waiting prompts into free rows, once enough rows are free to make it worth it."""
        free = [i for i, row in enumerate(running) if row is None]
        if not waiting or (len(free) < max(1, len(running) // 4) and any(running)):
            return
        while free and waiting:
            taken: dict[int, Prompt] = {}
            tokens = 0
            while free and waiting and (not taken or tokens < self.prompt_tokens):
                prompt = waiting.pop()
                tokens += 0 if prompt.ids in {p.ids for p in taken.values()} else len(prompt.ids)
                taken[free.pop(0)] = prompt
            hidden = self._read(decoder, running, taken)
            for place, prompt in taken.items():
                running[place] = Row(prompt)
            yield from self._choose(decoder, hidden, list(taken), running)

    def _read(
        self, decoder: Decoder, running: Sequence[Row | None], taken: dict[int, Prompt]
    ) -> Tensor:
        """Last hidden states of the prompts, by place: (R, D). Each is computed once.

        A prompt that another row has read, now or earlier, is copied from there; so is a long
        beginning of one.
        """
        cache = decoder.cache
        source = {row.prompt.ids: place for place, row in enumerate(running) if row is not None}
        fresh = {p.ids: place for place, p in reversed(taken.items()) if p.ids not in source}
        whole, rests = split_reading(fresh, source) if decoder.network is not None else (fresh, [])
        for group in _groups(whole, decoder.batch_tokens):
            plan = Plan(tuple(len(ids) for ids in group), (-1,) * len(group))
            # over the cache, where every row begins with something that is there already
            _read_into(
                decoder,
                None if decoder.ahead else plan,
                [(ids, place, 0) for ids, place in group.items()],
            )
        for rested in rest_groups(rests):
            for rest in rested:
                cache.copy(rest.source, rest.place, rest.start + decoder.ahead)
            _read_into(decoder, None, [(rest.ids, rest.place, rest.start) for rest in rested])
        source |= fresh
        for place, prompt in taken.items():
            if source[prompt.ids] != place:
                cache.copy(source[prompt.ids], place, len(prompt.ids) + decoder.ahead)
        return torch.stack([cache.last[place] for place in taken])

    def _step(
        self, decoder: Decoder, running: list[Row | None]
    ) -> Iterator[tuple[str, Continuation]]:
        places = [i for i, row in enumerate(running) if row is not None]
        if not places:
            return
        rows = [row for row in running if row is not None]
        ids = [row.ids[-1] for row in rows]
        positions = [len(row.prompt.ids) + len(row.ids) - 1 for row in rows]
        yield from self._choose(decoder, decoder.step(places, ids, positions), places, running)

    def _choose(
        self, decoder: Decoder, hidden_RD: Tensor, places: list[int], running: list[Row | None]
    ) -> Iterator[tuple[str, Continuation]]:
        """Pick the next id of each row; rows that end are yielded and freed."""
        rows = [row for row in (running[place] for place in places) if row is not None]
        chosen = choose(decoder.scores(hidden_RD), rows)
        for place, row, (token, logp) in zip(places, rows, chosen, strict=True):
            if row.take(token, logp, self.stop_ids, self.decode):
                running[place] = None
                yield row.prompt.id, row.done()


def _read_into(
    decoder: Decoder, plan: Plan | None, prompts: Sequence[tuple[tuple[int, ...], int, int]]
) -> None:
    """Read prompts into their rows, each from a first token that is not there yet.

    Args:
        decoder: of the rows.
        plan: of the tokens where nothing of the prompts is there; None reads over the cache.
        prompts: ids, row, and number of the first token.
    """
    sizes = torch.tensor([len(ids) - start for ids, _, start in prompts])
    position = torch.cat([torch.arange(start, len(ids)) for ids, _, start in prompts])
    position += decoder.ahead
    places = torch.tensor([place for _, place, _ in prompts])
    rows, ends = torch.repeat_interleave(places, sizes), sizes.cumsum(0) - 1
    tokens = torch.tensor([i for ids, _, start in prompts for i in ids[start:]])
    tokens, position, rows, ends = (x.to(decoder.device) for x in (tokens, position, rows, ends))
    decoder.cache.point(plan, rows, position)
    hidden = decoder.hidden(tokens, position, ends)
    decoder.cache.last |= zip(places.tolist(), hidden, strict=True)


def _groups(
    prompts: Mapping[tuple[int, ...], int], tokens: int
) -> Iterator[dict[tuple[int, ...], int]]:
    """The prompts in groups of about so many tokens."""
    group: dict[tuple[int, ...], int] = {}
    size = 0
    for ids, place in prompts.items():
        group[ids] = place
        size += len(ids)
        if size >= tokens:
            yield group
            group, size = {}, 0
    if group:
        yield group
