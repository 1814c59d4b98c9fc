"""Pairs of answers before a judge: in both orders, with ties, and nothing decided by default.

Judges favour a place (Zheng et al. 2023, section 3.4, arXiv 2306.05685), so each pair is shown in
both orders: a system wins only where it is preferred in both, and orders that disagree are a tie.
A pair of which one order has no verdict is a failed comparison, counted apart and never a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from regimen.judging.judge import Judge, Shown, Verdict
from regimen.judging.prompts import Turns
from regimen.records import Item

Decided = Literal["", "identical", "unanswered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPair:
    """Two systems' answers to one item; None where a system gave none."""

    item: Item
    systems: tuple[str, str]
    a: Turns | None
    b: Turns | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The verdict on a pair: ``forward`` with ``a`` shown first, ``backward`` with ``b`` first.

    ``backward`` is None where orders were not swapped. Pairs that need no judge are ``decided``:
    identical answers tie, and an answer beats none. ``lengths`` are in characters; ``ratings`` are
    those that a judge of single answers gave.
    """

    item: Item
    systems: tuple[str, str]
    lengths: tuple[int, int]
    forward: Verdict
    backward: Verdict | None = None
    decided: Decided = ""
    ratings: tuple[float, float] | None = None

    @property
    def orders(self) -> tuple[float, ...] | None:
        """Preference for ``a`` in each order asked; None where one has no verdict."""
        signed = [(self.forward, 1)] + ([(self.backward, -1)] if self.backward else [])
        values = [v.value * sign for v, sign in signed if v.value is not None]
        return tuple(values) if len(values) == len(signed) else None

    @property
    def value(self) -> float | None:
        """1 where ``a`` wins, -1 where ``b`` does, 0 for a tie; None where it failed.

        A win is one in every order; orders that disagree tie.
        """
        if self.orders is None:
            return None
        if all(value > 0 for value in self.orders):
            return 1.0
        return -1.0 if all(value < 0 for value in self.orders) else 0.0

    @property
    def soft(self) -> float | None:
        """Mean preference for ``a`` over the orders, in -1..1; None where it failed."""
        return None if self.orders is None else sum(self.orders) / len(self.orders)

    @property
    def consistent(self) -> bool | None:
        """Whether both orders say the same; None unless a judge gave a verdict in both."""
        if self.decided or self.orders is None or len(self.orders) < 2:
            return None
        first, second = self.orders
        return (first > 0, first < 0) == (second > 0, second < 0)

    @property
    def error(self) -> str:
        """Why it failed; empty where it did not."""
        verdicts = (self.forward, self.backward)
        return "; ".join(v.error for v in verdicts if v is not None and v.error)


def compare(
    judge: Judge, pairs: Sequence[AnswerPair], *, swap: bool = True
) -> tuple[Comparison, ...]:
    """Comparisons of pairs, in their order; both orders of all pairs are asked at once.

    Args:
        judge: of two answers.
        pairs: with distinct items for each two systems.
        swap: whether each pair is shown in both orders.
    """
    open_pairs = [pair for pair in pairs if not _decided(pair)]
    shown = [Shown(pair.item, (_given(pair.a), _given(pair.b))) for pair in open_pairs]
    if swap:
        shown += [Shown(pair.item, (_given(pair.b), _given(pair.a))) for pair in open_pairs]
    verdicts = iter(judge.verdicts(shown) if shown else ())
    forward = [next(verdicts) for _ in open_pairs]
    backward: list[Verdict | None] = [next(verdicts) if swap else None for _ in open_pairs]
    judged = iter(zip(forward, backward, strict=True))
    return tuple(
        _comparison(pair, *((_without_judge(pair), None) if _decided(pair) else next(judged)))
        for pair in pairs
    )


def ratings(judge: Judge, answered: Sequence[tuple[Item, Turns | None]]) -> tuple[Verdict, ...]:
    """The rating of every answer, in order; an answer that is not there is not rated."""
    shown = [Shown(item, (turns,)) for item, turns in answered if turns is not None]
    found = iter(judge.verdicts(shown) if shown else ())
    nothing = Verdict(error="the system gave no answer")
    return tuple(nothing if turns is None else next(found) for _, turns in answered)


def compare_ratings(pair: AnswerPair, a: Verdict, b: Verdict) -> Comparison:
    """The comparison that two ratings come to; equal ratings tie."""
    if _decided(pair) == "unanswered":
        return _comparison(pair, _without_judge(pair), None)
    if a.value is None or b.value is None:
        errors = "; ".join(verdict.error for verdict in (a, b) if verdict.error)
        return _comparison(pair, Verdict(error=errors), None)
    value = float((a.value > b.value) - (a.value < b.value))
    forward = Verdict(value=value, reason=f"{a.value:g} against {b.value:g}")
    return replace(_comparison(pair, forward, None), ratings=(a.value, b.value))


def _given(turns: Turns | None) -> Turns:
    return turns if turns is not None else ()


def _decided(pair: AnswerPair) -> Decided:
    """Why a pair needs no judge; empty where it does."""
    if pair.a is None or pair.b is None:
        return "unanswered"
    return "identical" if pair.a == pair.b else ""


def _without_judge(pair: AnswerPair) -> Verdict:
    if pair.a is not None and pair.b is not None:
        return Verdict(value=0.0, reason="the answers are identical")
    value = float((pair.a is not None) - (pair.b is not None))
    return Verdict(value=value, reason="an answer against none" if value else "no answers")


def _comparison(pair: AnswerPair, forward: Verdict, backward: Verdict | None) -> Comparison:
    return Comparison(
        item=pair.item,
        systems=pair.systems,
        lengths=(sum(map(len, _given(pair.a))), sum(map(len, _given(pair.b)))),
        forward=forward,
        backward=backward,
        decided=_decided(pair),
    )
