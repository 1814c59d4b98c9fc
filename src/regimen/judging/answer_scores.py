"""Scores of several answers to one prompt: by a rule, by ratings, by comparisons with each other.

What a rule raises, or a judge does not say, is a score without a value; it is never a default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from regimen import console
from regimen.judging.comparisons import AnswerPair, Comparison, compare, ratings
from regimen.judging.judge import Judge
from regimen.protocols import SCORER_ERRORS, AnswerScore
from regimen.records import Item

Asked = Sequence[tuple[Item, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class RuleScores:
    """A scorer of single answers: ``(answer, item)`` to a finite number."""

    rule: Callable[[str, Item], float]
    name: str

    def scores(self, asked: Asked) -> list[list[AnswerScore]]:
        """As ``AnswerScorer``."""
        total = sum(len(answers) for _, answers in asked)
        with console.progress(total, self.name, "answers", after=2.0) as bar:
            return [[self._score(a, item, bar) for a in answers] for item, answers in asked]

    def _score(self, answer: str, item: Item, bar: console.Progress) -> AnswerScore:
        bar.advance()
        try:
            return AnswerScore.of(float(self.rule(answer, item)))
        except SCORER_ERRORS as error:
            return AnswerScore(error=f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class RatingScores:
    """A judge that rates each answer alone."""

    judge: Judge

    @property
    def name(self) -> str:
        """The judge's."""
        return self.judge.name

    def scores(self, asked: Asked) -> list[list[AnswerScore]]:
        """As ``AnswerScorer``; everything is asked at once."""
        flat = [(item, (answer,)) for item, answers in asked for answer in answers]
        rated = (AnswerScore(value=v.value, error=v.error) for v in ratings(self.judge, flat))
        return [[next(rated) for _ in answers] for _, answers in asked]


@dataclass(frozen=True, slots=True)
class WinScores:
    """A judge of two answers: the mean of an answer's comparisons with every other one.

    A win counts 1, a tie 0, a loss -1. An answer none of whose comparisons has a verdict has no
    score; a comparison that failed counts for neither side.
    """

    judge: Judge
    swap: bool = True

    @property
    def name(self) -> str:
        """The judge's."""
        return self.judge.name

    def scores(self, asked: Asked) -> list[list[AnswerScore]]:
        """As ``AnswerScorer``; everything is asked at once."""
        pairs = [
            AnswerPair(
                item=item, systems=(str(one), str(other)), a=(answers[one],), b=(answers[other],)
            )
            for item, answers in asked
            for one, other in combinations(range(len(answers)), 2)
        ]
        judged = iter(compare(self.judge, pairs, swap=self.swap))
        found = []
        for _, answers in asked:
            own = [next(judged) for _ in combinations(answers, 2)]
            found.append([_mean(own, str(place)) for place in range(len(answers))])
        return found


def _mean(judged: Sequence[Comparison], name: str) -> AnswerScore:
    """Mean value of the comparisons in which an answer takes part, from its side."""
    own = [one for one in judged if name in one.systems]
    values = [
        one.value if one.systems[0] == name else -one.value for one in own if one.value is not None
    ]
    if values:
        return AnswerScore(value=sum(values) / len(values))
    errors = "; ".join(dict.fromkeys(one.error for one in own if one.error))
    return AnswerScore(error=errors or "nothing to compare it with")
