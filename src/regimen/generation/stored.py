"""Samples of a local model on disk, so that an interrupted run does not sample them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from regimen.generation.endpoints.cache import ResponseCache, request_key
from regimen.protocols import Completion, Generator, Request
from regimen.records import content_of


@dataclass(frozen=True, slots=True)
class StoredGenerator:
    """A ``Generator`` whose answers are kept; what is stored is not asked again.

    Args:
        generator: who answers what is not stored.
        cache: where answers are kept. Errors are not.
        identity: of the generator's weights or answers: part of every key, with all that a request
            asks. Ids and labels of requests are no part of it.
    """

    generator: Generator
    cache: ResponseCache
    identity: str

    @property
    def name(self) -> str:
        """The generator's."""
        return self.generator.name

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        """Stored answers first, then the others as they come, each stored at once."""
        payloads = {request.id: self._payload(request) for request in requests}
        missing = []
        for request in requests:
            stored = self.cache.get(self._key(payloads[request.id]))
            if stored is None:
                missing.append(request)
            else:
                yield request.id, stored
        for name, completion in self.generator.generate(missing) if missing else ():
            if completion.finish != "error":
                payload = payloads[name]
                self.cache.put(self._key(payload), payload, completion)
            yield name, completion

    def _key(self, payload: dict[str, Any]) -> str:
        return request_key("local", payload)

    def _payload(self, request: Request) -> dict[str, Any]:
        return {
            "generator": self.identity,
            "messages": content_of(request.messages),
            "text": request.text,
            "max_new_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop),
        }
