"""A local model as a ``Generator``: the renderer, the engine and the tokenizer together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.models.forward import LanguageModel
from regimen.protocols import Completion, Request
from regimen.tokens.rendering import Renderer, stop_ids


class LocalGenerator:
    """Answers requests with a model in this process.

    Args:
        name: what the lineage records.
        model: a prepared model.
        tokenizer: its tokenizer.
        renderer: renders the messages of a request.
        rows: continuations that run at once.
        bf16: autocast to bf16.
        max_length: prompts of more ids than this come back as errors.
        kv_cache: how keys and values are kept: ``full`` or ``int8``.
    """

    def __init__(
        self,
        name: str,
        model: LanguageModel,
        tokenizer: Any,
        renderer: Renderer,
        *,
        rows: int = 64,
        bf16: bool = False,
        max_length: int | None = None,
        kv_cache: str = "full",
    ) -> None:
        self._name, self.tokenizer, self.renderer = name, tokenizer, renderer
        self.max_length = max_length or model.context_length
        self.engine = Engine(
            model,
            stop_ids(tokenizer, renderer),
            rows=rows,
            bf16=bf16,
            decode=self._decode,
            kv_cache=kv_cache,
        )

    @property
    def name(self) -> str:
        """What the lineage records as the generator."""
        return self._name

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        """Yield a completion for every request; one that does not fit the context is an error."""
        prompts: list[Prompt] = []
        stops: dict[str, tuple[str, ...]] = {}
        for request in requests:
            if request.messages:
                ids = self.renderer.prompt(request.messages)
            else:
                ids = self.renderer.text_ids(request.text)
            if not ids or len(ids) + request.max_new_tokens > self.max_length:
                problem = f"prompt of {len(ids)} tokens, context of {self.max_length}"
                yield request.id, Completion(text="", finish="error", error=problem)
                continue
            stops[request.id] = request.stop
            prompts.append(
                Prompt(
                    request.id,
                    ids,
                    request.max_new_tokens,
                    request.temperature,
                    request.top_p,
                    request.seed,
                    request.stop,
                )
            )
        for name, found in self.engine.generate(prompts):
            text = cut_at(self._decode(found.ids), stops[name])
            yield (
                name,
                Completion(
                    text=text,
                    finish="stop" if found.finish == "stop" else "length",
                    tokens=len(found.ids),
                    logp=found.logp,
                ),
            )

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def cut_at(text: str, stops: Sequence[str]) -> str:
    """The text up to the first stop string."""
    ends = [text.find(stop) for stop in stops if stop and stop in text]
    return text[: min(ends)] if ends else text
