"""What the answers of a suite are scored by: a primary metric and others beside it.

Verdicts, buckets and breakdowns rest on the primary one. A suite that only a judge can score has
none: its answers are kept and counted, and its scores are null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from regimen.errors import EvaluationError
from regimen.judging.ifeval.scorers import require_libraries
from regimen.judging.scorers import Need, scorer_named
from regimen.protocols import Scorer
from regimen.records import Item

# Names in a system's block that a metric beside the primary one cannot take.
SYSTEM_KEYS = frozenset(
    (
        *("score", "low", "high", "failed", "empty", "scorer_errors"),
        *("stop_rate", "stop_low", "stop_high", "finish"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The scorers of a suite.

    Args:
        primary: name of the scorer that verdicts rest on; empty for answers that are not scored.
        scorers: by metric name, ``(answer, item) -> score in 0..1``; the primary is among them.
        right_at: score of the primary metric from which an answer counts as right in the four
            buckets; 1 for exact metrics, a threshold for graded ones such as ROUGE-L.
        needs: what every item must have for these scorers.

    Raises:
        ValueError: the primary is not among the scorers, or a name is taken.
    """

    primary: str
    scorers: Mapping[str, Scorer]
    right_at: float = 1.0
    needs: frozenset[Need] = field(default=frozenset[Need](("references",)))

    def __post_init__(self) -> None:
        """Programming errors, before anything is asked."""
        if self.primary not in self.scorers and (self.primary or self.scorers):
            known = sorted(self.scorers)
            raise ValueError(f"primary metric {self.primary!r} is not among {known}")
        taken = SYSTEM_KEYS & (self.scorers.keys() - {self.primary})
        if taken:
            raise ValueError(f"metrics cannot be named {sorted(taken)}")
        if not 0 < self.right_at <= 1:
            raise ValueError(f"right_at must be above 0 and at most 1, got {self.right_at}")

    @property
    def scored(self) -> bool:
        """Whether answers get a score at all."""
        return bool(self.primary)


UNSCORED = Metrics(primary="", scorers={}, needs=frozenset())
"""Of a suite that only a judge can score."""


def metrics_named(primary: str, *others: str, right_at: float = 1.0) -> Metrics:
    """Metrics of scorers by name, with all that these need of an item.

    Raises:
        EvaluationError: ``unknown-scorer``.
    """
    scorers = {name: scorer_named(name) for name in (primary, *others)}
    needs = frozenset[Need]().union(*(scorer.needs for scorer in scorers.values()))
    return Metrics(primary=primary, scorers=scorers, right_at=right_at, needs=needs)


_SLUGS: Mapping[Need, tuple[str, str, str]] = {
    "references": (
        "item-without-reference",
        "no reference to score an answer against",
        "one accepted answer or more per item",
    ),
    "choices": (
        "item-without-choices",
        "no choices to pick an answer from",
        "two choices or more per item",
    ),
    "constraints": (
        "item-without-constraints",
        "no constraint to check an answer by",
        "one constraint or more per item",
    ),
}


def require_fields(items: Sequence[Item], metrics: Metrics) -> None:
    """Raise for items that no answer could be right for, before anything is asked.

    Raises:
        EvaluationError: ``item-without-reference``, ``item-without-choices``,
            ``item-without-constraints``.
        MissingExtraError: ``missing-library``, for constraints on the language of an answer.
    """
    for need in sorted(metrics.needs):
        bare = [item for item in items if not getattr(item, need)]
        if not bare:
            continue
        slug, lacks, expected = _SLUGS[need]
        first = bare[0]
        raise EvaluationError(
            f"{len(bare)} of {len(items)} items have {lacks}.",
            slug=slug,
            got=f"item {first.item_id} of suite {first.suite!r}, task {first.lineage.task!r}, "
            f"row {first.lineage.row}; metrics {', '.join(metrics.scorers)}",
            expected=expected,
            fix="Add them, leave these items out of the suite, or choose another metric.",
        )
    if "constraints" in metrics.needs:
        require_libraries(items)
