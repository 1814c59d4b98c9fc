"""Settings of ``align.raft``: rejection sampling in rounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from regimen.settings.base import Conflict, Count, Section, Text
from regimen.settings.preferences import ScoreSettings


class RaftSettings(Section):
    """Rounds of sampling, choosing the best answers, and tuning on them (RAFT)."""

    prompts: Text
    """A file of prompts: rows with ``prompt`` (or ``messages``) and, where the score needs them,
    ``references``. Every round asks all of them."""

    score: ScoreSettings
    """What says which answer is best."""

    rounds: Annotated[int, Field(ge=1, le=100)] = 3
    """Rounds; each samples from the model that the round before ended with."""

    limit: Count = 200
    """Most prompts."""

    samples: Annotated[int, Field(ge=2, le=256)] = 4
    """Answers to each prompt."""

    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Longest answer in tokens."""

    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Sampling temperature."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sample from the likeliest tokens that have this share of the probability."""

    keep_cut: bool = False
    """Keep answers that end at the longest length instead of by themselves."""

    min_score: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None
    """A best answer with a lower score is left out and counted; every best one is kept when not
    given."""

    keep_rounds: bool = False
    """Keep the model of every round, not the last one's alone."""


def of_raft(section: Any) -> Iterator[Conflict]:
    """``raft`` beside its method alone; ``section`` is that of ``align``."""
    if section.method == "raft":
        if section.raft is None:
            yield Conflict(
                what="samples in rounds, and nothing says from which prompts",
                at=("method",),
                fix="Add 'raft' with 'prompts' and 'score' beside it.",
            )
        if section.data is not None:
            yield Conflict(
                what="names answers, and raft learns from those that it samples",
                at=("data",),
                fix="Remove it, and name the prompts with raft.prompts.",
            )
    elif section.raft is not None:
        yield Conflict(
            what="is for 'method: raft'",
            at=("raft",),
            fix="Set 'method: raft', or remove it.",
        )
