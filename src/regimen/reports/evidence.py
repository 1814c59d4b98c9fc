"""What an evaluation says, as frozen values with every optional part made explicit.

The shapes are those of ``evaluation.json`` and ``safety.json``. A system may be an object with
``score``, ``low``, ``high`` or a bare number, and blocks may be missing: the report then says less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regimen.reports.files import Json, flat, mapping, number
from regimen.reports.theme import SYSTEMS

RESOLVABLE = ("resolvable", "smallest_resolvable_difference", "smallest_resolvable")
RATE_KEYS = ("score", "rate", "bits_per_byte", "estimate", "value", "mean")
MEASURES = frozenset({"harmful_compliance", "over_refusal", "bits_per_byte"})
METRICS = ("exact_match", "rouge_l", "stop_rate")
PREFERRED_SUITES = ("unseen_compositions", "unseen_families", "unseen_languages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95% interval, where one is known, and the number behind it."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemScore:
    """The score of one system, 0..1, and its other metrics by name."""

    score: Estimate
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """``first`` minus ``second`` on the same items."""

    first: str
    second: str
    difference: Estimate
    verdict: str
    clusters: int | None
    seeds: int | None
    resolvable: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A suite, or a family or language of one."""

    name: str
    items: int | None
    clusters: int | None
    systems: Mapping[str, SystemScore]
    paired: tuple[Paired, ...]
    families: tuple[Group, ...] = ()
    languages: tuple[Group, ...] = ()

    def pair(self, first: str, second: str) -> Paired | None:
        """The paired difference of two systems, if it was computed."""
        wanted = ((p.first, p.second) == (first, second) for p in self.paired)
        return next((p for p, hit in zip(self.paired, wanted, strict=True) if hit), None)

    def score(self, name: str) -> float | None:
        """The score of a system, if it was asked."""
        found = self.systems.get(name)
        return None if found is None else found.score.value

    def gain(self, first: str, second: str = "base") -> Estimate | None:
        """first - second: paired where known, otherwise the bare difference of the scores."""
        pair = self.pair(first, second)
        if pair is not None:
            return pair.difference
        a, b = self.score(first), self.score(second)
        return None if a is None or b is None else Estimate(value=a - b, n=self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """One measure (harmful compliance, bits per byte) of several systems; lower is better."""

    name: str
    systems: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that was measured. ``changed`` maps a system to its facts in display order."""

    suites: tuple[Group, ...]
    changed: Mapping[str, Json]
    retention: tuple[Rates, ...]
    safety: tuple[Rates, ...]
    seeds: int | None
    model: str

    @property
    def subject(self) -> str:
        """The system the report is about: tuned where there is one."""
        names = {name for suite in self.suites for name in suite.systems}
        return next((name for name in ("tuned", "aligned") if name in names), "tuned")


def read_evaluation(data: Json, safety: Json) -> Evaluation | None:
    """The evaluation of a run; None when neither file holds anything."""
    if not data and not safety:
        return None
    suites = [_group(name, mapping(value)) for name, value in mapping(data.get("suites")).items()]
    rank = {name: i for i, name in enumerate(PREFERRED_SUITES)}
    suites.sort(key=lambda suite: rank.get(suite.name, len(rank)))
    seeds = data.get("seeds")
    pairs = [pair.seeds for suite in suites for pair in suite.paired if pair.seeds]
    return Evaluation(
        suites=tuple(suites),
        changed=_changed(mapping(data.get("changed"))),
        retention=_rates(mapping(data.get("retention")), "bits_per_byte"),
        safety=_rates(safety or mapping(data.get("safety")), "rate"),
        seeds=len(seeds) if isinstance(seeds, list) else whole(seeds) or min(pairs, default=None),
        model=str(data.get("model") or ""),
    )


def whole(value: Any) -> int | None:
    """A whole number, or None."""
    found = number(value)
    return None if found is None else int(found)


def estimate(value: Any, *keys: str) -> Estimate | None:
    """An estimate from a number, or from an object that has one of the keys."""
    bare = number(value)
    if bare is not None:
        return Estimate(value=bare)
    data = mapping(value)
    found = next((n for key in keys if (n := number(data.get(key))) is not None), None)
    if found is None:
        return None
    n = whole(data.get("n", data.get("items")))
    return Estimate(value=found, low=number(data.get("low")), high=number(data.get("high")), n=n)


def _group(name: str, data: Json) -> Group:
    # A family may be written as its systems alone, without the keys around them.
    listed = data.get("systems", {} if "items" in data or "paired" in data else data)
    systems = {key: s for key, value in mapping(listed).items() if (s := _system(value))}
    paired = (_paired(key, mapping(value)) for key, value in mapping(data.get("paired")).items())
    return Group(
        name=name,
        items=whole(data.get("items", data.get("n"))),
        clusters=whole(data.get("clusters")),
        systems=systems,
        paired=tuple(pair for pair in paired if pair is not None),
        families=_groups(data.get("by_family")),
        languages=_groups(data.get("by_language")),
    )


def _groups(value: Any) -> tuple[Group, ...]:
    return tuple(_group(name, mapping(inner)) for name, inner in mapping(value).items())


def _system(value: Any) -> SystemScore | None:
    score = estimate(value, "score", "exact_match", "estimate", "mean")
    if score is None:
        return None
    found: dict[str, float] = {}
    for key in METRICS:
        metric = estimate(mapping(value).get(key), "score", "estimate", "rate", "mean")
        if metric is not None:
            found[key] = metric.value
    return SystemScore(score=score, metrics=found)


def _paired(key: str, data: Json) -> Paired | None:
    first, _, second = key.partition("-")
    difference = estimate(data, "difference")
    if difference is None or not second:
        return None
    return Paired(
        first=first,
        second=second,
        difference=difference,
        verdict=str(data.get("verdict") or ""),
        clusters=whole(data.get("clusters")),
        seeds=whole(data.get("seeds")),
        resolvable=next((n for k in RESOLVABLE if (n := number(data.get(k))) is not None), None),
    )


def _changed(data: Json) -> Mapping[str, Json]:
    """Facts by system; a block without systems is about the tuned model."""
    if not data:
        return {}
    if all(isinstance(value, Mapping) for value in data.values()) and "adapter_tensors" not in data:
        return {system: flat(mapping(facts)) for system, facts in data.items()}
    return {"tuned": flat(data)}


def _rates(data: Json, default: str) -> tuple[Rates, ...]:
    """Measures by system from either nesting: {system: {measure}} or {measure: {system}}."""
    found: dict[str, dict[str, Estimate]] = {}
    for outer, inner in (mapping(data.get("systems")) or data).items():
        nested = mapping(mapping(inner).get("systems")) or mapping(inner)
        measures = [key for key in nested if key in MEASURES]
        if outer in SYSTEMS and (one := estimate(inner, *RATE_KEYS)) and not measures:
            found.setdefault(default, {})[outer] = one
        elif measures:
            for key in measures:
                if one := estimate(nested[key], *RATE_KEYS):
                    found.setdefault(key, {})[outer] = one
        else:
            for key, value in nested.items():
                if key in SYSTEMS and (one := estimate(value, *RATE_KEYS)):
                    found.setdefault(outer, {})[key] = one
    return tuple(Rates(name=name, systems=systems) for name, systems in found.items())
