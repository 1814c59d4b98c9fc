"""What the answers of an endpoint cost: requests, tokens, money."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Usage:
    """Counts of one client since it was made.

    ``asked`` answers came from the endpoint and ``cached`` from disk; ``retries`` are the attempts
    after the first. Tokens are those that the endpoint reported for what it was asked now.
    """

    asked: int = 0
    cached: int = 0
    errors: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def cost(self, prompt_price: float, completion_price: float) -> float:
        """Money spent, for prices per million tokens."""
        spent = self.prompt_tokens * prompt_price + self.completion_tokens * completion_price
        return spent / 1_000_000
