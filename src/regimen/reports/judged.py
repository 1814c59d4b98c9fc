"""What a judge said, as frozen values: ``judge`` and ``judged_by`` of ``evaluation.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regimen.reports.evidence import Estimate, estimate, split_pair
from regimen.reports.files import Json, mapping, number, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPair:
    """Two systems on one suite; shares are in 0..1, None where nothing says."""

    suite: str
    first: str
    second: str
    win_rate: Estimate | None
    verdict: str
    n: int
    clusters: int
    seeds: int | None
    ties: int
    failed: int
    length_controlled: Estimate | None
    longer_wins: float | None
    position_consistency: float | None
    first_position: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How often, and how far above chance, two sides agree."""

    agreement: Estimate | None
    kappa: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """A judge beside people: against their majority, in the place of each, and their own ceiling.

    ``pairs`` were compared, ``failed`` of them without a verdict of the judge.
    """

    pairs: int
    raters: int
    failed: int
    majority: Agreement
    in_place: Agreement | None
    ceiling: Agreement | None
    alpha: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRun:
    """Everything that a judge said in a run; ``people`` is None where it was not compared."""

    name: str
    kind: str
    swap: bool
    pairs: tuple[JudgedPair, ...]
    strengths: Mapping[str, Mapping[str, Estimate]]
    people: People | None


def read_judged(data: Json) -> JudgedRun | None:
    """The judge's part of an evaluation; None where nothing was judged."""
    pairs = [
        _pair(suite, name, mapping(block))
        for suite, blocks in mapping(data.get("judge")).items()
        for name, block in mapping(blocks).items()
    ]
    if not pairs:
        return None
    by = mapping(data.get("judged_by"))
    strengths = {
        suite: {n: e for n, value in mapping(own).items() if (e := estimate(value, "strength"))}
        for suite, own in mapping(by.get("strengths")).items()
    }
    return JudgedRun(
        name=str(by.get("name") or "a judge"),
        kind=str(by.get("kind") or ""),
        swap=bool(by.get("swap")),
        pairs=tuple(pairs),
        strengths=strengths,
        people=_people(mapping(by.get("people"))),
    )


def _pair(suite: str, name: str, block: Json) -> JudgedPair:
    first, second = split_pair(name, ())
    controlled = mapping(block.get("length_controlled"))
    return JudgedPair(
        suite=suite,
        first=first,
        second=second,
        win_rate=estimate(block, "win_rate"),
        verdict=str(block.get("verdict") or ""),
        n=whole(block.get("n")) or 0,
        clusters=whole(block.get("clusters")) or 0,
        seeds=whole(block.get("seeds")),
        ties=whole(block.get("ties")) or 0,
        failed=whole(block.get("failed")) or 0,
        length_controlled=estimate(controlled, "win_rate"),
        longer_wins=number(controlled.get("longer_wins")),
        position_consistency=number(block.get("position_consistency")),
        first_position=number(block.get("first_position")),
    )


def _people(block: Json) -> People | None:
    if not block:
        return None
    people = mapping(block.get("people"))
    majority = _agreement(block.get("majority"))
    assert majority is not None
    return People(
        pairs=whole(block.get("pairs")) or 0,
        raters=whole(block.get("raters")) or 0,
        failed=whole(block.get("failed")) or 0,
        majority=majority,
        in_place=_agreement(block.get("in_place")),
        ceiling=_agreement(people.get("one_against_others")),
        alpha=estimate(people.get("alpha_nominal"), "value"),
    )


def _agreement(value: object) -> Agreement | None:
    block = mapping(value)
    if not block:
        return None
    return Agreement(
        agreement=estimate(block.get("agreement"), "value"),
        kappa=estimate(block.get("kappa"), "value"),
    )
