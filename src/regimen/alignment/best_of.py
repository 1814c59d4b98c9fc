"""Best-of-n: of several answers the one with the highest score, as something to imitate.

Rejection sampling for fine-tuning is that in rounds, each from the model that the round before
ended with (RAFT, Dong et al. 2023, arXiv 2304.06767; Llama 2, Touvron et al. 2023, section 3.2.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from regimen.records import Instance, Item, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best answer to a prompt. ``tied`` answers beside it have the same score."""

    item: Item
    answer: str
    score: float
    answers: int
    tied: int


def kl_of_best(n: int) -> float:
    """KL divergence of best-of-n from the model that is sampled, in nats: log n - (n - 1) / n.

    Exact for scores without ties, an upper bound otherwise (Stiennon et al. 2020, appendix G.3,
    arXiv 2009.01325; Beirami et al. 2024, arXiv 2401.01879).
    """
    if n < 1:
        raise ValueError("best of none")
    return math.log(n) - (n - 1) / n


def best_of(item: Item, scored: Sequence[tuple[str, float]]) -> Best:
    """The first of the answers with the highest score; ``scored`` has at least one."""
    score = max(value for _, value in scored)
    first = next(text for text, value in scored if value == score)
    others = {text for text, value in scored if value == score} - {first}
    return Best(item=item, answer=first, score=score, answers=len(scored), tied=len(others))


def best_instance(best: Best, generator: str, scorer: str) -> Instance:
    """The best answer as a demonstration: only it is learned, of earlier turns nothing."""
    prompt = (
        replace(turn, train=False) if turn.role == "assistant" else turn
        for turn in best.item.messages
    )
    lineage = replace(
        best.item.lineage,
        variant=f"best_of_{best.answers}",
        generator=generator,
        verdicts=(
            *best.item.lineage.verdicts,
            f"scored_by:{scorer}",
            f"score:{best.score:g}",
        ),
    )
    answer = Message(role="assistant", content=best.answer)
    return Instance(messages=(*prompt, answer), lineage=lineage)
