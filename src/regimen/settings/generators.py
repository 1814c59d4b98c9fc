"""Settings of who answers generation requests, for every section that asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from regimen.settings.base import Conflict, Section, Text, exactly_one


class GeneratorSettings(Section):
    """Who answers generation requests: a script, a remote endpoint or a local model."""

    scripted: Text | None = None
    """A file of prepared answers, or ``starter`` for those that come with regimen."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+")] | None = None
    """Base URL of an OpenAI-compatible server; ``model`` then names the model there."""

    model: Text | None = None
    """Directory of a local model, or the model's name at the endpoint."""

    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Name of the environment variable that holds the endpoint's key; never the key itself."""

    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    """Longest answer in tokens."""

    temperature: Annotated[float, Field(ge=0, le=10)] = 0.7
    """Sampling temperature; 0 is greedy."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 4
    """Requests under way at the same time, for an endpoint."""

    timeout: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    """Seconds for one attempt at an endpoint, of which there are six; then that request has
    failed."""

    def conflicts(self) -> Iterator[Conflict]:
        """Exactly one generator; an endpoint names its model."""
        if self.endpoint is None:
            yield from exactly_one(self, ("scripted", "endpoint", "model"))
            if self.api_key_env is not None:
                yield Conflict(
                    what="is for an endpoint, and there is none",
                    at=("api_key_env",),
                    fix="Remove it, or set 'endpoint'.",
                )
            return
        yield from exactly_one(self, ("scripted", "endpoint"))
        if self.model is None:
            yield Conflict(
                what="needs the name of a model at that endpoint",
                at=("endpoint",),
                fix="Add 'model' beside 'endpoint'.",
            )
