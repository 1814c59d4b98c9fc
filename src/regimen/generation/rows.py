"""What is asked of a generator of ids, what comes back, and how the next id is chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch

from regimen.generation.sampling import sample
from regimen.generation.vocabulary import Scores

Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to continue, as ids. Samples of one prompt are prompts with the same ids."""

    id: str
    ids: tuple[int, ...]
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Continuation:
    """Generated ids (without the stop id), why they end, and their log-probabilities.

    ``logps`` has one entry (nats) per id, and one more for the stop id where it was one that ended
    the row.
    """

    ids: tuple[int, ...]
    finish: str
    logps: tuple[float, ...]

    @property
    def logp(self) -> float:
        """Their sum."""
        return sum(self.logps)


@dataclass(slots=True)
class Row:
    """A continuation while it grows."""

    prompt: Prompt
    ids: list[int] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    finish: str = ""

    def take(
        self, token: int, logp: float, stop_ids: Collection[int], decode: Decode | None
    ) -> bool:
        """Add the next id; True where the row ends with it."""
        self.logps.append(logp)
        stopped = token in stop_ids
        if not stopped:
            self.ids.append(token)
            stopped = self._stop_string(decode)
        if stopped or len(self.ids) >= self.prompt.max_new_tokens:
            self.finish = "stop" if stopped else "length"
        return bool(self.finish)

    def done(self) -> Continuation:
        """What came of it."""
        return Continuation(tuple(self.ids), self.finish, tuple(self.logps))

    def _stop_string(self, decode: Decode | None) -> bool:
        """Whether the text so far holds a stop string; the last ids are enough to tell."""
        if not self.prompt.stop or decode is None:
            return False
        longest = max(len(stop) for stop in self.prompt.stop)
        tail = decode(self.ids[-(longest + 4) :])
        return any(stop in tail for stop in self.prompt.stop)


def choose(scores: Scores, rows: Sequence[Row]) -> list[tuple[int, float]]:
    """The next id of each row and its log-probability (nats) under the model."""
    tokens = scores.best_R.tolist()
    drawn = [index for index, row in enumerate(rows) if row.prompt.temperature > 0]
    if drawn:
        asked = [rows[index].prompt for index in drawn]
        found = sample(
            scores.logits_RV if len(drawn) == len(rows) else scores.logits_RV[drawn],
            [prompt.temperature for prompt in asked],
            [prompt.top_p for prompt in asked],
            [(rows[index].prompt.seed, len(rows[index].ids)) for index in drawn],
        )
        for index, token in zip(drawn, found, strict=True):
            tokens[index] = token
    picked = torch.tensor(tokens, device=scores.lse_R.device)[:, None]
    logps = scores.logits_RV.gather(1, picked)[:, 0] - scores.lse_R
    return list(zip(tokens, logps.tolist(), strict=True))
