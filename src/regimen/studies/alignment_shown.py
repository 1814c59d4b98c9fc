"""The figures and tables of study ``alignment``."""

from __future__ import annotations

from typing import Any

from regimen.settings.alignment_study import DPO
from regimen.studies.alignment_seen import (
    ELSEWHERE,
    HARMFUL,
    HARMLESS,
    HELPED,
    NEW_HARMFUL,
    NEW_HARMLESS,
    OWN,
    PARENT,
    START,
    WORLD_SUITES,
    Seen,
    length_of,
    level_of,
)
from regimen.studies.claims import in_words
from regimen.studies.design import difference, mean_json
from regimen.studies.one_job import bits_per_byte
from regimen.studies.scores import Level

MOST_WORDS = 1000.0
"""Words that no answer has: the reach of a difference in length."""


def figures(seen: Seen) -> tuple[dict[str, Any], ...]:
    """Right conduct against divergence, and what is refused of either kind."""
    return (*_reward(seen), _frontier(seen))


def tables(seen: Seen) -> tuple[dict[str, Any], ...]:
    """Conduct, differences, unseen targets, divergence and length, kinds of harmless requests."""
    return (_conduct(seen), _against(seen), _new_targets(seen), _further(seen), _kinds(seen))


def _reward(seen: Seen) -> list[dict[str, Any]]:
    """Right conduct against divergence, DPO by beta and the other methods."""
    grid = seen.conduct()
    points = []
    for level in seen.levels:
        far = 0.0 if level == START else seen.divergence(level)
        if level[0] == OWN or far is None:
            continue
        entry = mean_json(grid.scores[level], grid.clusters)
        swept = level[1].startswith(DPO) or level == START
        points.append(
            {
                "label": level[1],
                "series": "DPO by beta" if swept else "other methods",
                "x": far,
                **{name: entry[name] for name in ("score", "low", "high")},
            }
        )
    if len(points) < 2:
        return []
    return [
        {
            "kind": "price",
            "title": "Right conduct by divergence from the parent",
            "x": "KL from the parent (nats per answer)",
            "points": points,
        }
    ]


def _frontier(seen: Seen) -> dict[str, Any]:
    points = []
    for level in seen.levels[1:]:
        fewer, more = seen.change(HARMFUL, START, level), seen.change(HARMLESS, level)
        points.append(
            {
                "label": level[1],
                "series": level[0],
                "x": more.difference,
                "x_low": more.low,
                "x_high": more.high,
                "y": fewer.difference,
                "y_low": fewer.low,
                "y_high": fewer.high,
            }
        )
    return {
        "kind": "frontier",
        "title": "Harmful requests refused against harmless ones refused",
        "x": "harmless requests refused more often (points)",
        "y": "harmful requests refused more often (points)",
        "origin": PARENT,
        "apart": True,
        "points": points,
    }


def _named(level: Level) -> list[Any]:
    return [level[0] or "-", level[1]]


def _shares(seen: Seen, level: Level, suite: str) -> list[float | None]:
    grid = seen.grids[suite]
    entry = mean_json(grid.scores[level], grid.clusters)
    return [entry[name] for name in ("score", "low", "high")]


def _conduct(seen: Seen) -> dict[str, Any]:
    return {
        "title": "Held-out requests: harmful complied with, harmless refused and helped with",
        "columns": [
            *("learnt from", "method", "complied", "low", "high"),
            *("refused", "low", "high", "helped"),
        ],
        "rows": [
            [
                *_named(level),
                *_shares(seen, level, HARMFUL),
                *_shares(seen, level, HARMLESS),
                _shares(seen, level, HELPED)[0],
            ]
            for level in seen.levels
        ],
    }


def _against(seen: Seen) -> dict[str, Any]:
    """Paired differences, in points."""
    suites = (HARMFUL, HARMLESS, HELPED, ELSEWHERE)
    return {
        "title": "Against the parent, points with 95% intervals",
        "columns": ["learnt from", "method", "complied", "refused", "helped", "other tasks"],
        "rows": [
            [*_named(level), *(in_words(seen.change(suite, level), unit="") for suite in suites)]
            for level in seen.levels[1:]
        ],
    }


def _new_targets(seen: Seen) -> dict[str, Any]:
    return {
        "title": "Requests of unseen targets: harmful complied with, harmless refused",
        "columns": [
            *("learnt from", "method", "complied", "low", "high"),
            *("refused", "low", "high"),
        ],
        "rows": [
            [
                *_named(level),
                *_shares(seen, level, NEW_HARMFUL),
                *_shares(seen, level, NEW_HARMLESS),
            ]
            for level in seen.levels
        ],
    }


def _further(seen: Seen) -> dict[str, Any]:
    """Divergence, length and retention."""
    conduct = seen.conduct()
    rows = []
    for level in seen.levels:
        rows.append(
            [
                *_named(level),
                float(conduct.scores[level].mean()),
                *(seen.drift(level, suite, "kl") for suite in WORLD_SUITES),
                *(_words(seen, suite, level) for suite in (HARMFUL, HARMLESS, ELSEWHERE)),
                float(seen.grids[ELSEWHERE].scores[level].mean()),
                bits_per_byte(seen.outcomes, level, level_of),
            ]
        )
    return {
        "title": "Right conduct, KL from the parent (nats per answer), words of answers, retention",
        "columns": [
            *("learnt from", "method", "right", "KL harmful", "KL harmless"),
            *("words harmful", "words harmless", "words tasks", "other tasks", "bits/byte"),
        ],
        "rows": rows,
    }


def _words(seen: Seen, suite: str, level: Level) -> str:
    """Mean words of an answer; of others than the parent, the change with its interval."""
    grid = seen.grids[length_of(suite)]
    if level == START:
        return f"{float(grid.scores[level].mean()):.1f}"
    found = difference(grid.scores[level], grid.scores[START], grid.clusters, MOST_WORDS)
    if found.low is None or found.high is None:
        return f"{found.difference:+.1f}"
    return f"{found.difference:+.1f} [{found.low:.1f}, {found.high:.1f}]"


def _kinds(seen: Seen) -> dict[str, Any]:
    """Refusals of harmless requests by what makes them look harmful."""
    grid = seen.grids[HARMLESS]
    verbs = sorted({row.cluster for row in seen.grids[HARMFUL].rows})
    same_verb = grid.only(lambda row: row.cluster in verbs)
    same_target = grid.only(lambda row: row.cluster not in verbs)
    return {
        "title": "Harmless requests refused, by what they share with harmful ones",
        "columns": ["learnt from", "method", "the verb", "the target"],
        "rows": [
            [
                *_named(level),
                *(
                    float(part.scores[level].mean()) if part.rows else None
                    for part in (same_verb, same_target)
                ),
            ]
            for level in seen.levels
        ],
    }
