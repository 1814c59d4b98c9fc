"""What an evaluation says, as frozen values with every optional part made explicit.

The shapes are those that ``regimen.evaluation`` writes to ``evaluation.json`` and
``safety.json``. Any block, system or bound may be missing: the report then says less.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from regimen.reports.contamination import Contamination, read_contamination
from regimen.reports.files import Json, mapping, number, whole

# What went wrong while answering; what else a system's block holds beside its metrics.
FAULTS = ("failed", "empty", "scorer_errors")
NO_METRICS = ("score", "low", "high", "finish", *FAULTS)
PREFERRED_SUITES = ("unseen_compositions", "unseen_families", "unseen_languages")
BUCKETS = ("regressed", "fixed", "still_wrong", "still_right")
SAFETY = {"harmful": "compliance", "harmless": "over_refusal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95% interval, where one is known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemScore:
    """The score of one system, 0..1, its other metrics, and its faults by kind (counts)."""

    score: Estimate
    metrics: Mapping[str, float]
    faults: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """``first`` minus ``second`` on the same items; the verdict is the evaluation's own.

    ``p_adjusted`` is that of several read together, ``noninferior`` the word on a margin.
    """

    first: str
    second: str
    difference: Estimate
    verdict: str
    n: int | None
    clusters: int | None
    seeds: int | None
    resolvable: float | None
    p_adjusted: float | None = None
    noninferior: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Items in each bucket from ``before`` to ``after``, and McNemar's exact p."""

    before: str
    after: str
    counts: Mapping[str, int]
    p: float | None

    @property
    def total(self) -> int:
        """Items in all buckets."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A suite, or a family or language of one.

    ``metric`` names what the scores are, "" where answers are not scored; an answer is right from
    ``right_at`` on.
    """

    name: str
    metric: str
    right_at: float
    items: int | None
    clusters: int | None
    systems: Mapping[str, SystemScore]
    paired: tuple[Paired, ...]
    changes: tuple[Change, ...] = ()
    families: tuple[Group, ...] = ()
    languages: tuple[Group, ...] = ()

    def pair(self, first: str, second: str) -> Paired | None:
        """The paired difference of two systems, if it was computed."""
        return find_pair(self.paired, first, second)

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
        return None if a is None or b is None else Estimate(value=a - b)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """One measure of several systems, the lower the better.

    ``n`` is what it was measured on (prompts, documents); ``shares`` are other outcomes by system;
    ``texts`` the same measure on each of several texts.
    """

    name: str
    n: int | None
    clusters: int | None
    systems: Mapping[str, Estimate]
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    paired: tuple[Paired, ...] = ()
    texts: Mapping[str, Rates] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that was measured. ``changed`` are the facts in the order of the file."""

    suites: tuple[Group, ...]
    changed: Json
    retention: Rates | None
    safety: tuple[Rates, ...]
    contamination: Mapping[str, Contamination] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """The system that the report is about: tuned where there is one."""
        names = {name for suite in self.suites for name in suite.systems}
        return next((name for name in ("tuned", "aligned") if name in names), "tuned")

    @property
    def seeds(self) -> int | None:
        """Training seeds behind the verdicts: the smallest number that any of them states."""
        stated = [p.seeds for suite in self.suites for p in suite.paired if p.seeds is not None]
        return min(stated, default=None)


def find_pair(pairs: tuple[Paired, ...], first: str, second: str) -> Paired | None:
    """The pair of two systems among several."""
    return next((p for p in pairs if (p.first, p.second) == (first, second)), None)


def read_evaluation(data: Json, safety: Json) -> Evaluation | None:
    """The evaluation of a run; None when neither file holds anything."""
    if not data and not safety:
        return None
    suites = [_group(name, mapping(value)) for name, value in mapping(data.get("suites")).items()]
    rank = {name: i for i, name in enumerate(PREFERRED_SUITES)}
    suites.sort(key=lambda suite: (not suite.metric, rank.get(suite.name, len(rank))))
    return Evaluation(
        suites=tuple(suites),
        changed=mapping(data.get("changed")),
        retention=_retention(mapping(data.get("retention"))),
        safety=_safety(safety or mapping(data.get("safety"))),
        contamination=read_contamination(mapping(data.get("suites"))),
    )


def estimate(value: Any, key: str) -> Estimate | None:
    """The value under a key with its bounds; None where there is no number."""
    data = mapping(value)
    found = number(data.get(key))
    if found is None:
        return None
    return Estimate(value=found, low=number(data.get("low")), high=number(data.get("high")))


def _group(name: str, data: Json, metric: str = "exact", right_at: float = 1.0) -> Group:
    """A suite, or a part of one, which has the suite's metric; older files hold exact matches."""
    systems = mapping(data.get("systems"))
    metric = str(data.get("metric", metric) or "")
    right_at = number(data.get("right_at")) or right_at
    return Group(
        name=name,
        metric=metric,
        right_at=right_at,
        items=whole(data.get("items")),
        clusters=whole(data.get("clusters")),
        systems={key: found for key, value in systems.items() if (found := _system(value))},
        paired=_pairs(data.get("paired"), systems),
        changes=_changes(data.get("buckets"), systems),
        families=_groups(data.get("by_family"), metric, right_at),
        languages=_groups(data.get("by_language"), metric, right_at),
    )


def _groups(value: Any, metric: str, right_at: float) -> tuple[Group, ...]:
    return tuple(
        _group(name, mapping(inner), metric, right_at) for name, inner in mapping(value).items()
    )


def _system(value: Any) -> SystemScore | None:
    score, data = estimate(value, "score"), mapping(value)
    if score is None:
        return None
    return SystemScore(
        score=score,
        metrics={
            key: x
            for key, held in data.items()
            if key not in NO_METRICS and (x := number(held)) is not None
        },
        faults={key: n for key in FAULTS if (n := whole(data.get(key)))},
    )


def split_pair(key: str, systems: Collection[str]) -> tuple[str, str]:
    """``tuned-base`` as its two systems; names may have hyphens where the systems are known."""
    cuts = [(key[:i], key[i + 1 :]) for i, letter in enumerate(key) if letter == "-"]
    known = (cut for cut in cuts if cut[0] in systems and cut[1] in systems)
    return next(known, cuts[0] if cuts else (key, ""))


def _pairs(value: Any, systems: Collection[str]) -> tuple[Paired, ...]:
    found = []
    for key, inner in mapping(value).items():
        first, second = split_pair(key, systems)
        difference, data = estimate(inner, "difference"), mapping(inner)
        if difference is None or not second:
            continue
        found.append(
            Paired(
                first=first,
                second=second,
                difference=difference,
                verdict=str(data.get("verdict") or ""),
                n=whole(data.get("n")),
                clusters=whole(data.get("clusters")),
                seeds=whole(data.get("seeds")),
                resolvable=number(data.get("resolvable")),
                p_adjusted=number(data.get("p_adjusted")),
                noninferior=str(data.get("noninferior") or ""),
            )
        )
    return tuple(found)


def _changes(value: Any, systems: Collection[str]) -> tuple[Change, ...]:
    found = []
    for key, inner in mapping(value).items():
        after, before = split_pair(key, systems)
        counts = {name: whole(mapping(inner).get(name)) or 0 for name in BUCKETS}
        p = number(mapping(inner).get("mcnemar_p"))
        if before and sum(counts.values()):
            found.append(Change(before=before, after=after, counts=counts, p=p))
    return tuple(found)


def _retention(data: Json) -> Rates | None:
    systems = mapping(data.get("systems")).items()
    found = {name: e for name, value in systems if (e := estimate(value, "bits_per_byte"))}
    if not found:
        return None
    texts = {name: _retention(mapping(own)) for name, own in mapping(data.get("texts")).items()}
    return Rates(
        name="bits_per_byte",
        n=whole(data.get("documents")),
        clusters=None,
        systems=found,
        paired=_pairs(data.get("paired"), found),
        texts={name: rates for name, rates in texts.items() if rates},
    )


def _safety(data: Json) -> tuple[Rates, ...]:
    found = []
    for kind, measure in SAFETY.items():
        block = mapping(data.get(kind))
        systems = {name: mapping(value) for name, value in mapping(block.get("systems")).items()}
        rates = {
            n: e for n, value in systems.items() if (e := estimate(value.get(measure), "score"))
        }
        if not rates:
            continue
        shares = {
            name: {key: x for key in ("empty", "failed") if (x := number(value.get(key)))}
            for name, value in systems.items()
        }
        found.append(
            Rates(
                name=measure,
                n=whole(block.get("n")),
                clusters=whole(block.get("clusters")),
                systems=rates,
                shares=shares,
                paired=_pairs(mapping(data.get("paired")).get(kind), systems),
            )
        )
    return tuple(found)
