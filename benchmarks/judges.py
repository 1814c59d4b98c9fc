"""How far judges agree with people, and how far people agree with each other.

    python benchmarks/judges.py --data DIR [--quick] [--json]

DIR holds the labelled pairs as `judge_sources.py` names them. A full run writes
benchmarks/results/judges.json and docs/judges.md.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from command import carry_out, parser
from judge_page import write_judges_page
from judge_sources import (
    FOLDER,
    Label,
    Pairs,
    coin,
    labels_of,
    likelier,
    longer,
    overlap,
    read_pairs,
)
from regimen import __version__, console
from regimen.evaluation.agreement import agreement, judge_against_people, panel
from regimen.evaluation.bradley_terry import Contest, strengths
from regimen.evaluation.length_control import length_control
from regimen.evaluation.statistics import Interval
from regimen.judging.agreement import coded, majority
from regimen.judging.people import CATEGORIES
from result import machine

NAME = "judges"
QUICK = 120


def judges(data: Pairs) -> dict[str, tuple[str, Callable[[], Sequence[Label]]]]:
    """What each judge is, and its labels."""
    base = str(files("regimen") / "assets" / "tiny-base")
    return {
        "gpt-3.5-turbo": ("stored verdicts, as published", lambda: data.stored),
        "longer": ("the answer with more characters", lambda: labels_of(longer, "longer", data)),
        "overlap": (
            "the answer with the higher ROUGE-L with the instruction",
            lambda: labels_of(overlap, "overlap", data),
        ),
        "likelier": (
            "the answer with the higher mean log-probability under the tiny base",
            lambda: labels_of(likelier(data.pairs, base), "likelier", data),
        ),
        "coin": ("a coin", lambda: labels_of(coin, "coin", data)),
    }


def majority_labels(data: Pairs) -> list[Label]:
    """What most people said; None where they did not agree."""
    codes = np.stack([coded(said, CATEGORIES) for said in data.people.values()], axis=1)
    return [None if code < 0 else CATEGORIES[code] for code in majority(codes, 3)]


def row(name: str, what: str, labels: Sequence[Label], data: Pairs) -> dict[str, Any]:
    """One judge: agreement, without ties, what length does, strengths of the systems."""
    truth = majority_labels(data)
    no_tie = [(a or None, b or None) for a, b in zip(labels, truth, strict=True)]
    decided = agreement([a for a, _ in no_tie], [b for _, b in no_tie], (-1, 1), data.clusters)
    found = judge_against_people(labels, data.people, CATEGORIES, data.clusters)
    del found["people"]
    return {
        "judge": name,
        "what": what,
        "ties": sum(label == 0 for label in labels),
        **found,
        "without_ties": decided,
        **length(labels, data),
        "strengths": strength(labels, data),
    }


def length(labels: Sequence[Label], data: Pairs) -> dict[str, Any]:
    """Win rate of the answers that stand first, at equal lengths too, and the longer's wins."""
    kept = [n for n, label in enumerate(labels) if label is not None]
    wins = [(1 + (labels[n] or 0)) / 2 for n in kept]
    sizes = [(characters(data.pairs[n].a), characters(data.pairs[n].b)) for n in kept]
    found = length_control(wins, sizes, [data.clusters[n] for n in kept])
    return {
        "first_wins": sum(wins) / len(wins),
        "first_wins_at_equal_lengths": interval(found.win_rate),
        "length_effect": found.effect,
        "longer_wins": interval(found.longer_wins) if found.longer_wins else None,
    }


def characters(turns: Sequence[str] | None) -> int:
    """Of a first answer; none where there is none."""
    return len(turns[0]) if turns else 0


def strength(labels: Sequence[Label], data: Pairs) -> dict[str, Any]:
    """Bradley-Terry strengths of the models that wrote the answers, by these labels."""
    contests = [
        Contest(a=pair.systems[0], b=pair.systems[1], win=(1 + label) / 2, cluster=cluster)
        for pair, label, cluster in zip(data.pairs, labels, data.clusters, strict=True)
        if label is not None
    ]
    return {name: interval(found) for name, found in strengths(contests).items()}


def interval(found: Interval) -> dict[str, float | None]:
    """An interval as JSON."""
    return {"value": found.estimate, "low": found.low, "high": found.high}


def people(data: Pairs) -> dict[str, Any]:
    """People among themselves, and what they make of length."""
    said = Counter(len(set(labels)) for labels in zip(*data.people.values(), strict=True))
    truth = majority_labels(data)
    return {
        **panel(data.people, CATEGORIES, data.clusters),
        "ties": sum(label == 0 for label in truth),
        "labels_per_pair": {str(count): said[count] for count in (1, 2, 3)},
        **length(truth, data),
        "strengths": strength(truth, data),
    }


def bench(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Measure everything and put together the result."""
    where = machine()
    data = read_pairs(folder, QUICK if quick else None)
    rows = []
    for name, (what, labels) in judges(data).items():
        start = time.perf_counter()
        rows.append(row(name, what, labels(), data))
        console.line(f"  {name}: {time.perf_counter() - start:.1f} s")
    return {
        "name": NAME,
        "versions": {"regimen": __version__},
        "machine": where,
        "quick": quick,
        "data": {
            "source": FOLDER,
            "pairs": len(data.pairs),
            "prompts": len({pair.item.item_id for pair in data.pairs}),
            "clusters": len(set(data.clusters)),
        },
        "people": people(data),
        "rows": rows,
        "ratios": {},
    }


def show(result: Mapping[str, Any]) -> None:
    """Print agreement as a table."""
    body = [
        (r["judge"], *(f"{r['in_place'][key]['value']:.3f}" for key in ("agreement", "kappa")))
        for r in result["rows"]
    ]
    ceiling = result["people"]["one_against_others"]
    body.append(("one person", *(f"{ceiling[k]['value']:.3f}" for k in ("agreement", "kappa"))))
    console.table(NAME, ("judge", "agreement", "kappa"), body)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the judges; the exit status."""
    options = parser(
        "Judges against people.", data="folder of the labelled pairs", quick=f"{QUICK} pairs"
    ).parse_args(argv)
    return carry_out(
        options, lambda: bench(options.data, quick=options.quick), show, write_judges_page
    )


if __name__ == "__main__":
    sys.exit(main())
