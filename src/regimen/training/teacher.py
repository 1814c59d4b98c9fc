"""On-policy distillation: a frozen teacher, and batches of the student's own answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from regimen.generation.engine import Engine
from regimen.generation.rows import Continuation, Prompt
from regimen.models.forward import LanguageModel
from regimen.models.teaching import Taught
from regimen.tokens.ragged import RaggedBatch, Segment, ragged_batch
from regimen.tokens.store import TokenRows
from regimen.training.data import Data
from regimen.training.options import LoopOptions


@dataclass(frozen=True, slots=True)
class Teacher:
    """A frozen model, in eval mode, and the divergence by which it is learnt from."""

    model: LanguageModel
    beta: float = 0.0
    temperature: float = 1.0

    @torch.no_grad()
    def __call__(self, batch: RaggedBatch) -> Taught:
        """What it says of the targets of a batch."""
        hidden_TD = self.model.hidden(batch, batch.source_row_N)
        hidden_ND = hidden_TD.index_select(0, batch.source_row_N)
        return Taught(hidden_ND, self.model.head(), self.beta, self.temperature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the student answers.

    Args:
        share: of the micro-batches that are its own answers (lambda of Agarwal et al. 2024).
        max_new_tokens: longest answer.
        temperature: of the samples.
        top_p: sample from the likeliest tokens that have this share of the probability.
        stop_ids: ids that end an answer.
    """

    share: float
    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    stop_ids: tuple[int, ...] = ()


class OwnAnswers(Data):
    """Rows of which a share of the micro-batches has the student's own last answers.

    A micro-batch is the data's, or the student's answers to the same prompts as it is now; which,
    and the samples themselves, follow from the seed and the micro-batch's number alone, so that an
    interrupted training goes on with the same ones.
    """

    ahead: ClassVar[bool] = False  # the student answers as it is when its turn comes

    def __init__(
        self, rows: TokenRows, options: LoopOptions, model: LanguageModel, sampling: Sampling
    ) -> None:
        super().__init__(rows, options)
        self.model, self.sampling = model, sampling

    def at(self, cursor: int) -> tuple[RaggedBatch, float]:
        """Micro-batch ``cursor``, of the data's or of the student's answers."""
        numbers, epoch = self.row_numbers(cursor)
        draw = np.random.default_rng([self.options.seed, 0x0611, cursor])
        if draw.random() >= self.sampling.share:
            return self.batch(numbers), epoch
        seeds = draw.integers(2**31, size=len(numbers)).tolist()
        return ragged_batch(self._answered(numbers, seeds)), epoch

    def _answered(self, numbers: Sequence[int], seeds: Sequence[int]) -> list[Segment]:
        """The rows with the student's answers in place of their last ones."""
        given = self.rows.segments(numbers)
        asked: dict[str, Prompt] = {}
        for place, (segment, seed) in enumerate(zip(given, seeds, strict=True)):
            start, _ = last_answer(segment)
            room = min(self.model.context_length, self.options.tokens_per_batch) - start - 1
            if start > 0 and room > 0:
                it = self.sampling
                asked[str(place)] = Prompt(
                    str(place),
                    tuple(int(i) for i in segment.ids[:start]),
                    min(it.max_new_tokens, room),
                    it.temperature,
                    it.top_p,
                    int(seed),
                )
        engine = Engine(self.model, self.sampling.stop_ids, bf16=self.options.bf16)
        found = dict(engine.generate(list(asked.values())))
        return [
            self._segment(segment, found[str(place)]) if str(place) in found else segment
            for place, segment in enumerate(given)
        ]

    def _segment(self, segment: Segment, said: Continuation) -> Segment:
        """A row with another last answer, which ends as that of the data did."""
        start, stop = last_answer(segment)
        end = [int(segment.ids[stop - 1])]
        if said.finish != "stop" or end[0] not in self.sampling.stop_ids:
            end = []
        answer = [*said.ids, *end]
        if not answer:
            return segment
        prompt = [int(i) for i in segment.ids[:start]]
        weight = float(segment.weights[stop - 1])
        weights = [0.0] * start + [weight] * len(answer)
        return Segment([*prompt, *answer], weights, segment.parent, segment.instance)


def last_answer(segment: Segment) -> tuple[int, int]:
    """Where the last supervised stretch of a row begins and ends."""
    supervised = np.flatnonzero(np.asarray(segment.weights))
    if not len(supervised):
        return 0, 0
    gaps = np.flatnonzero(np.diff(supervised) > 1)
    first = supervised[gaps[-1] + 1] if len(gaps) else supervised[0]
    return int(first), int(supervised[-1]) + 1
