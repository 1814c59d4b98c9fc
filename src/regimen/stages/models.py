"""Loading what an earlier stage wrote, ready to answer and to be measured."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from regimen.adapters.files import (
    adapter_tensors,
    is_adapter,
)
from regimen.adapters.several import (
    Routes,
    is_routed,
    load_several,
    read_routes,
    switch,
    using,
)
from regimen.generation.local import LocalGenerator
from regimen.memory.merging import apart, seen_base, seen_by_all
from regimen.memory.quantisation.files import load_quantised, read_config
from regimen.models.forward import LanguageModel, prepare
from regimen.models.loading import ModelSpec, fit_vocabulary, load_model, load_tokenizer
from regimen.protocols import Completion, Request
from regimen.tokens.rendering import Rendered, Renderer, ensure_chat_tokens
from regimen.tokens.store import TokenRows, token_rows
from regimen.training.measure import measured_batches


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its tokenizer, in eval mode; ``routes`` choose among several adapters."""

    language_model: LanguageModel
    tokenizer: Any
    renderer: Renderer
    adapter_tensors: int
    routes: Routes | None = None

    def groups(
        self, labels: Sequence[Mapping[str, str]]
    ) -> Iterator[tuple[AbstractContextManager[None], list[int]]]:
        """The places of rows that one adapter answers, and the block in which it is in use."""
        if self.routes is None:
            yield nullcontext(), list(range(len(labels)))
            return
        by_name: dict[str, list[int]] = {}
        for place, about in enumerate(labels):
            by_name.setdefault(self.routes.of(about), []).append(place)
        for name, places in by_name.items():
            yield using(self.language_model.model, name), places


def load(path: str, *, template: str | None = None, dtype: str = "float32") -> Loaded:
    """A folder of a model, an adapter or routes; ``template`` renders chats for a bare base."""
    routes = read_routes(path) if is_routed(path) else None
    first = next(iter(routes.adapters.values())) if routes else path
    tokenizer = load_tokenizer(first)
    renderer = Renderer(tokenizer, template=template)
    added = ensure_chat_tokens(tokenizer, renderer)
    tensors = 0
    if routes is not None:
        seen = seen_by_all(routes.adapters.values())
        network = seen_base(routes.base, tokenizer, dtype=dtype, seen=seen)
        network = load_several(network, routes.adapters)
        switch(network, routes.otherwise)
        tensors = sum(map(adapter_tensors, routes.adapters.values()))
    elif is_adapter(path):
        network = apart(path, tokenizer, dtype=dtype)
        tensors = adapter_tensors(path)
    elif read_config(path) is not None:
        network = load_quantised(path, dtype=dtype)
    else:
        network = load_model(ModelSpec(path=path, dtype=dtype))
        fit_vocabulary(network, tokenizer, added=added)
    network.eval()
    return Loaded(prepare(network), tokenizer, renderer, tensors, routes)


@dataclass(slots=True)
class LazyGenerator:
    """A local model that is loaded at the first request and can be let go again."""

    name: str
    open: Callable[[], Loaded]
    rows: int = 64
    bf16: bool = False
    kv_cache: str = "full"
    _loaded: Loaded | None = field(default=None, init=False)

    @property
    def loaded(self) -> Loaded:
        """The model, loaded now if it was not."""
        if self._loaded is None:
            self._loaded = self.open()
        return self._loaded

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        """As ``Generator``."""
        it = self.loaded
        for in_use, places in it.groups([dict(request.labels) for request in requests]):
            with in_use:
                yield from LocalGenerator(
                    self.name,
                    it.language_model,
                    it.tokenizer,
                    it.renderer,
                    rows=self.rows,
                    bf16=self.bf16,
                    kv_cache=self.kv_cache,
                ).generate([requests[place] for place in places])

    def close(self) -> None:
        """Forget the model."""
        self._loaded = None
        gc.collect()


def token_logps(
    model: LanguageModel, rows: TokenRows, *, bf16: bool, tokens_per_batch: int = 8192
) -> list[torch.Tensor]:
    """Log-probabilities (nats) of the supervised tokens of each row, in order."""
    found: list[torch.Tensor] = [torch.zeros(0)] * len(rows)
    measured = measured_batches(model, rows, tokens_per_batch=tokens_per_batch, bf16=bf16)
    for numbers, batch, logp_N in measured:
        owner_N = torch.tensor(batch.instance_S)[batch.target_segment_N]
        for row in numbers:
            found[row] = logp_N[owner_N == row].cpu()
    return found


def document_losses(loaded: Loaded, texts: Sequence[str], *, bf16: bool) -> list[float]:
    """Sum of -log p (nats) over each text's tokens after the first, end of text included."""
    rendered = loaded.renderer.documents(texts)
    limit = int(getattr(loaded.language_model.model.config, "max_position_embeddings", 0) or 1024)
    pieces: list[Rendered] = []
    owner: list[int] = []
    for index, row in enumerate(rendered):
        for start in range(0, len(row.ids), limit):
            ids = row.ids[start : start + limit]
            pieces.append(Rendered(ids, (0.0, *([1.0] * (len(ids) - 1)))))
            owner.append(index)
    totals = [0.0] * len(texts)
    logps = token_logps(loaded.language_model, token_rows(pieces), bf16=bf16)
    for index, logp in zip(owner, logps, strict=True):
        totals[index] -= float(logp.sum())
    return totals
