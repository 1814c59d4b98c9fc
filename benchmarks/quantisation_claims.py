"""What the papers say of the order of methods, held against the documents and tasks.

Each claim is a paired difference with its 95% interval: of divergences from the full model or of
losses, by document; of scores, by item within clusters of tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regimen.evaluation.statistics import Paired, paired_difference
from regimen.stages.compress import FULL

Documents = Mapping[str, Sequence[Mapping[str, float]]]
SMALL = 0.01
"""Bits per byte, as a share of the full model's, that count as near."""


@dataclass(frozen=True, slots=True)
class Claim:
    """a is lower than b in a measure of held-out text, according to a paper."""

    claim: str
    source: str
    a: str
    b: str
    measure: str = "kl"


GPTQ, AWQ = "Frantar et al. 2022, table 3", "Lin et al. 2023, table 4"
SMOOTH = "Xiao et al. 2022, table 4"
ORDER = (
    *(
        Claim(f"GPTQ diverges less than RTN at {bits} bits, {size}", GPTQ, *pair)
        for bits in (4, 3, 2)
        for size in ("channel", "64")
        for pair in [(f"gptq-{bits}-{size}", f"rtn-{bits}-{size}")]
    ),
    *(
        Claim(f"AWQ diverges less than RTN at {bits} bits, {size}", AWQ, *pair)
        for bits in (4, 3)
        for size in ("channel", "64")
        for pair in [(f"awq-{bits}-{size}", f"rtn-{bits}-{size}")]
    ),
    *(
        Claim(f"SmoothQuant W8A8 diverges less than RTN, {how}", SMOOTH, *pair)
        for how in ("tensor-fixed", "tensor", "token")
        for pair in [(f"smoothquant-w8a8-{how}", f"rtn-w8a8-{how}")]
    ),
    *(
        Claim(
            f"Tuning that knows of the rounding has a lower loss than RTN at {bits} bits",
            "Liu et al. 2023, LLM-QAT, arXiv 2305.17888",
            f"aware-{bits}-64",
            f"rtn-{bits}-64",
            "nll",
        )
        for bits in (3, 2)
    ),
)
"""Claims of the papers that name two models each."""


def claims(
    documents: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Sequence[float]],
    clusters: Sequence[str],
) -> list[dict[str, Any]]:
    """Every claim whose models there are, with what was measured and whether it holds.

    Args:
        documents: rows of ``documents.parquet``.
        scores: by model, of the same items in the same order.
        clusters: of the items.
    """
    by_name: dict[str, list[Mapping[str, float]]] = {}
    for row in documents:
        by_name.setdefault(row["name"], []).append(row)
    found = [
        _told(one.claim, one.source, one.measure, less(by_name, one.a, one.b, one.measure))
        for one in ORDER
        if {one.a, one.b} <= by_name.keys()
    ]
    found += _wider_gaps(by_name)
    found += _near(by_name)
    for bits in (3, 2):
        pair = (f"aware-{bits}-64", f"rtn-{bits}-64")
        if set(pair) <= scores.keys():
            words = f"Tuning that knows of the rounding scores more than RTN at {bits} bits"
            measured = paired_difference(*(scores[name] for name in pair), clusters, bounds=(-1, 1))
            found.append(_told(words, "Liu et al. 2023, arXiv 2305.17888", "score", measured))
    return found


def less(documents: Documents, a: str, b: str, measure: str) -> Paired:
    """The difference a - b per token of the text, better where it is lower."""
    ours, theirs = documents[a], documents[b]
    return paired_difference(
        [one[measure] for one in ours],
        [one[measure] for one in theirs],
        [str(one["document"]) for one in ours],
        sizes=[one["tokens"] for one in ours],
        lower_is_better=True,
    )


def _wider_gaps(documents: Documents) -> list[dict[str, Any]]:
    """Whether what GPTQ gains over RTN grows as bits go: RTN - GPTQ at fewer minus at more."""
    found = []
    for more, fewer in ((4, 3), (3, 2)):
        names = [f"{kind}-{bits}-channel" for bits in (fewer, more) for kind in ("rtn", "gptq")]
        if not set(names) <= documents.keys():
            continue
        rtn_few, gptq_few, rtn_more, gptq_more = (documents[name] for name in names)
        measured = paired_difference(
            [a["kl"] - b["kl"] for a, b in zip(rtn_few, gptq_few, strict=True)],
            [a["kl"] - b["kl"] for a, b in zip(rtn_more, gptq_more, strict=True)],
            [str(one["document"]) for one in rtn_few],
            sizes=[one["tokens"] for one in rtn_few],
        )
        words = f"What GPTQ gains over RTN is larger at {fewer} bits than at {more}, channel"
        found.append(_told(words, GPTQ, "kl", measured))
    return found


def _near(documents: Documents) -> list[dict[str, Any]]:
    """Whether W8A8 is within a share of the full model's bits per byte."""
    found = []
    wanted = {
        "rtn-w8a8-tensor-fixed": False,
        "smoothquant-w8a8-tensor-fixed": True,
        "smoothquant-w8a8-token": True,
    }
    for name, expected in wanted.items():
        if name not in documents:
            continue
        measured = less(documents, name, FULL, "nll")
        base = sum(one["nll"] for one in documents[FULL])
        base /= sum(one["tokens"] for one in documents[FULL])
        low, high = measured.low, measured.high
        near = high is not None and high <= SMALL * base
        far = low is not None and low > SMALL * base
        word = "near" if expected else "not near"
        holds = near if expected else far
        fails = far if expected else near
        verdict = "holds" if holds else "does not hold" if fails else "cannot tell"
        found.append(
            {
                "claim": f"{name} is {word} the full model: {SMALL:.0%} of its loss",
                "source": SMOOTH,
                "measure": "nll",
                "measured": asdict(measured),
                "verdict": verdict,
            }
        )
    return found


def _told(words: str, source: str, measure: str, measured: Paired) -> dict[str, Any]:
    verdicts = {"better": "holds", "worse": "the opposite holds"}
    return {
        "claim": words,
        "source": source,
        "measure": measure,
        "measured": asdict(measured),
        "verdict": verdicts.get(measured.verdict, "cannot tell"),
    }
