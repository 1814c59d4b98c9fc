"""Criteria looked up in ``evaluation.json``: one check for each quantity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from regimen.errors import SettingsError, near
from regimen.evaluation.comparisons import adjusted
from regimen.evaluation.criteria import (
    Check,
    Criterion,
    Gain,
    NoRegression,
    Retention,
    SafetyRate,
    Score,
    StopRate,
    Unit,
)
from regimen.evaluation.margins import Decision, decide
from regimen.evaluation.ratios import LEVEL
from regimen.evaluation.safety import RATES
from regimen.evaluation.statistics import MIN_CLUSTERS

Json = Mapping[str, Any]

SUBJECTS = ("aligned", "tuned")
"""Trained systems, the last first: what a criterion is about that names no system."""


def checks(evaluation: Json, one: Criterion) -> Iterator[Check]:
    """One criterion as checks, one for each quantity that it is about.

    Raises:
        SettingsError: ``gate-unknown``: it names a suite, system, text or pair that is not there.
    """
    if isinstance(one, Gain):
        yield _gain_anywhere(evaluation, one) if one.suite is None else _gain(evaluation, one)
    elif isinstance(one, NoRegression):
        names = _compared(evaluation) if one.suite is None else [one.suite]
        yield from (_no_regression(evaluation, one, name) for name in names)
    elif isinstance(one, Retention):
        yield from _retention(evaluation, one)
    elif isinstance(one, SafetyRate):
        yield _safety(evaluation, one)
    elif isinstance(one, Score):
        yield _score(evaluation, one)
    else:
        names = list(_suites(evaluation)) if one.suite is None else [one.suite]
        yield from (_stops(evaluation, one, name) for name in names)


def _suites(evaluation: Json) -> Mapping[str, Any]:
    found: Mapping[str, Any] = evaluation["suites"]
    return found


def _compared(evaluation: Json) -> list[str]:
    """Suites with a score."""
    return [name for name, block in _suites(evaluation).items() if block["paired"]]


def _named(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """The entry of a name that the settings gave."""
    if name in known:
        return known[name]
    raise SettingsError(
        f"The gate names a {kind} that this evaluation has not.",
        slug="gate-unknown",
        got=name,
        expected=", ".join(known) or f"no {kind} was measured",
        fix=near(name, known) if known else "Take it out of evaluate.gate, or measure it.",
    )


def subject_of(evaluation: Json) -> str:
    """The system that a gate is about where it names none: the last trained one."""
    asked = {name for block in _suites(evaluation).values() for name in block["systems"]}
    return next((name for name in SUBJECTS if name in asked), SUBJECTS[-1])


def _pair(evaluation: Json, paired: Json, one: Gain | NoRegression | Retention) -> tuple[str, Any]:
    """``tuned against base`` and the entry of the two."""
    system = one.system or subject_of(evaluation)
    entry = _named("comparison", f"{system}-{one.over}", paired)
    return f"{system} against {one.over}", entry


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def _share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _check(
    what: str, requirement: str, unit: Unit, bound: float, entry: Json, found: Decision
) -> Check:
    """A check on an entry of the evaluation: a paired difference, or a rate with n and clusters."""
    value = entry.get("difference", entry.get("score"))
    basis = {key: entry.get(key) for key in ("low", "high", "n", "clusters", "seeds")}
    return Check(
        what=what,
        requirement=requirement,
        outcome=found.outcome,
        reason=found.reason,
        unit=unit,
        bound=bound,
        value=value,
        **basis,
    )


def _gain(evaluation: Json, one: Gain) -> Check:
    """A gain on a suite that is named."""
    block = _named("suite", str(one.suite), _suites(evaluation))
    if not block["paired"]:
        return _unscored(str(one.suite), "points", one.at_least)
    pair, entry = _pair(evaluation, block["paired"], one)
    strict = one.at_least == 0
    found = _decided(entry, one.at_least, strict=strict, show=_points)
    wanted = "better" if strict else f"better by {_points(one.at_least)} or more"
    return _check(f"{one.suite}: {pair}", wanted, "points", one.at_least, entry, found)


def _gain_anywhere(evaluation: Json, one: Gain) -> Check:
    """Better on at least one suite: the suite of the smallest p, adjusted for all of them."""
    names = _compared(evaluation)
    found = {name: _pair(evaluation, _suites(evaluation)[name]["paired"], one)[1] for name in names}
    pair = f"{one.system or subject_of(evaluation)} against {one.over}"
    where = f"at least one of {len(names)} suites" if len(names) != 1 else "the only suite"
    requirement = f"better on {where}"
    p_values = {name: entry["p_adjusted"] for name, entry in adjusted(found).items()}
    tested = {name: p for name, p in p_values.items() if p is not None}
    better = {n: p for n, p in tested.items() if p < 1 - LEVEL and found[n]["difference"] > 0}
    ends = [_decided(entry, 0.0, strict=True, show=_points) for entry in found.values()]
    if better:
        best = min(better, key=lambda name: better[name])
        decision = Decision(outcome="pass", reason=f"adjusted p = {better[best]:.2g}")
    elif ends and all(end.outcome == "fail" for end in ends):
        best = max(found, key=lambda name: found[name]["difference"])
        decision = Decision(outcome="fail", reason="no suite's interval reaches above 0")
    else:
        best = max(found, key=lambda name: found[name]["difference"], default="")
        decision = Decision(outcome="cannot tell", reason=_why_no_gain(len(tested), len(found)))
    what = f"{best}: {pair}" if best else pair
    return _check(what, requirement, "points", 0.0, found.get(best, {}), decision)


def _why_no_gain(tested: int, asked: int) -> str:
    if not asked:
        return "no suite has a score to compare"
    if not tested:
        return f"no evidence: no suite has {MIN_CLUSTERS} clusters"
    return "no gain shown, adjusted for all suites"


def _no_regression(evaluation: Json, one: NoRegression, name: str) -> Check:
    """Not worse than the margin on one suite."""
    block = _named("suite", name, _suites(evaluation))
    if not block["paired"]:
        return _unscored(name, "points", -one.margin)
    pair, entry = _pair(evaluation, block["paired"], one)
    found = _decided(entry, -one.margin, show=_points)
    wanted = f"not worse by more than {100 * one.margin:g} points"
    return _check(f"{name}: {pair}", wanted, "points", -one.margin, entry, found)


def _retention(evaluation: Json, one: Retention) -> Iterator[Check]:
    """Each text, or the one that is named."""
    block = evaluation.get("retention") or {}
    if not block:
        yield _unmeasured("retention", "bits per byte", one.margin)
        return
    texts = block.get("texts") or {"plain text": block}
    chosen = texts if one.text is None else {one.text: _named("text", one.text, texts)}
    for name, text in chosen.items():
        pair, entry = _pair(evaluation, text["paired"], one)
        share = one.unit == "share"
        base = text["systems"][one.over]["bits_per_byte"]
        bound = one.margin * base if share else one.margin
        found = _decided(
            entry, bound, at_most=True, show=lambda value: f"{value:+.3f} bits per byte"
        )
        margin = f"{100 * one.margin:g}%" if share else f"{one.margin:g} bits per byte"
        what, wanted = f"retention of {name}: {pair}", f"at most {margin} more bits per byte"
        yield _check(what, wanted, "bits per byte", bound, entry, found)


def _safety(evaluation: Json, one: SafetyRate) -> Check:
    """A rate of one system."""
    block = evaluation.get("safety") or {}
    if not block:
        return _unmeasured("safety", "share", one.at_most)
    kind = block[next(kind for kind, (rate, _) in RATES.items() if rate == one.rate)]
    system = one.system or subject_of(evaluation)
    rate = _named("system", system, kind["systems"])[one.rate]
    entry = {**rate, "n": kind["n"], "clusters": kind["clusters"]}
    found = _decided(entry, one.at_most, at_most=True)
    what = f"{one.rate.replace('_', '-')} of {system}"
    return _check(what, f"at most {_share(one.at_most)}", "share", one.at_most, entry, found)


def _score(evaluation: Json, one: Score) -> Check:
    """A score of one system."""
    block = _named("suite", one.suite, _suites(evaluation))
    system = one.system or subject_of(evaluation)
    given = _named("system", system, block["systems"])
    if given["score"] is None:
        return _unscored(one.suite, "share", one.at_least)
    entry = _rate(block, given["score"], given["low"], given["high"])
    wanted = f"a score of at least {_share(one.at_least)}"
    found = _decided(entry, one.at_least)
    return _check(f"{one.suite}: {system}", wanted, "share", one.at_least, entry, found)


def _stops(evaluation: Json, one: StopRate, name: str) -> Check:
    """The stop rate of one system on one suite."""
    block = _named("suite", name, _suites(evaluation))
    system = one.system or subject_of(evaluation)
    given = _named("system", system, block["systems"])
    entry = _rate(block, *(given.get(key) for key in ("stop_rate", "stop_low", "stop_high")))
    what = f"{name}: answers of {system} that stop by themselves"
    found = _decided(entry, one.at_least)
    return _check(what, f"at least {_share(one.at_least)}", "share", one.at_least, entry, found)


def _rate(block: Json, score: Any, low: Any, high: Any) -> Json:
    """A rate of a suite's items in the shape of a check."""
    basis = {"n": block["items"], "clusters": block["clusters"]}
    return {"score": score, "low": low, "high": high, **basis}


def _decided(
    entry: Json,
    bound: float,
    *,
    at_most: bool = False,
    strict: bool = False,
    show: Callable[[float], str] = _share,
) -> Decision:
    """What the interval of an entry says about a bound."""
    ends = entry["low"], entry["high"], entry["clusters"]
    return decide(*ends, bound, at_most=at_most, strict=strict, show=show)


def _unscored(suite: str, unit: Unit, bound: float) -> Check:
    return Check(
        what=suite,
        requirement="a score",
        outcome="cannot tell",
        reason="the suite has no score of its own",
        unit=unit,
        bound=bound,
    )


def _unmeasured(what: str, unit: Unit, bound: float) -> Check:
    return Check(
        what=what,
        requirement="to be measured",
        outcome="cannot tell",
        reason="it was not measured",
        unit=unit,
        bound=bound,
    )
