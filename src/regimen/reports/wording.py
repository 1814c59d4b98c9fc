"""Numbers and findings in words, shared by the page and its Markdown twin.

Scores are shares in 0..1 and are written in percent; differences are written in points.
"""

from __future__ import annotations

from collections.abc import Callable

from regimen.reports.evidence import Estimate, Group, Paired
from regimen.reports.theme import system

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"

BASIS = "n, clusters, seeds"

Writer = Callable[[float, int], str]
"""A number and its digits as text: ``plain`` or ``signed``."""


def percent(share: float | None) -> str:
    """``0.613`` as ``61%``; one decimal where rounding would claim none or all."""
    if share is None:
        return NONE
    value = 100 * share
    digits = 1 if 0 < value < 1 or 99 < value < 100 else 0
    return f"{value:.{digits}f}%".replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """A number with its sign; a rounded 0 has none."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)


def points(difference: Estimate, *, unit: bool = True) -> str:
    """``+61 points [57, 65]``; one decimal below three points."""
    value = 100 * difference.value
    digits = 0 if abs(value) >= 3 or value == 0 else 1
    text = signed(value, digits)
    if unit:
        text += " point" if text.lstrip(f"+{MINUS}") == "1" else " points"
    if difference.low is None or difference.high is None:
        return text
    low, high = (plain(100 * x, digits) for x in (difference.low, difference.high))
    return f"{text} [{low}, {high}]"


def plain(value: float, digits: int) -> str:
    """A number without a plus; a rounded 0 has no sign."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def bracketed(estimate: Estimate | None, digits: int, write: Writer = plain) -> str:
    """``0.61 [0.55, 0.67]``: a value as it is, with its interval; ``signed`` writes its sign."""
    if estimate is None:
        return NONE
    text = write(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{plain(estimate.low, digits)}, {plain(estimate.high, digits)}]"


def interval(estimate: Estimate | None) -> str:
    """``61% [57, 65]``."""
    if estimate is None:
        return NONE
    if estimate.low is None or estimate.high is None:
        return percent(estimate.value)
    bounds = (percent(x).removesuffix("%") for x in (estimate.low, estimate.high))
    return f"{percent(estimate.value)} [{', '.join(bounds)}]"


def count(n: int | float | None) -> str:
    """A number of things, in groups of three."""
    return NONE if n is None else f"{n:,.0f}"


def things(n: int, one: str, many: str = "") -> str:
    """``1 item``, ``480 items``."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def significant(value: object) -> str:
    """Any value of a settings or summary file, numbers with up to four significant digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return count(value)
    return f"{value:.4g}"


def title(name: str) -> str:
    """``unseen_compositions`` as ``Unseen compositions``."""
    text = name.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


METRICS = {
    "exact": "Exact match",
    "normalised": "Normalised match",
    "numeric": "Numeric match",
    "rouge_l": "ROUGE-L",
    "rouge_l_sni": "ROUGE-L (Super-NaturalInstructions)",
    "exact_sni": "Exact match (Super-NaturalInstructions)",
    "f1": "Token F1",
    "chrf": "chrF",
    "bleu": "BLEU",
    "json_valid": "Valid JSON",
    "ifeval_strict": "IFEval, strict",
    "ifeval_loose": "IFEval, loose",
    "ifeval_instructions": "IFEval, instructions",
    "ifeval_instructions_loose": "IFEval, instructions, loose",
    "stop_rate": "Stops by itself",
}
"""What metrics are called, where their name does not say it well."""


def metric_label(metric: str) -> str:
    """``rouge_l`` as ``ROUGE-L``; a metric that is not listed by its own name."""
    return METRICS.get(metric) or title(metric) or "Score"


def probability(p: float) -> str:
    """A p-value as text."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def answers_line(suite: Group, subject: str) -> str:
    """``Tuned answers 61% of 480 unseen compositions; its base answers 0%.``

    A graded metric is named: ``Tuned scores 61% (ROUGE-L) on 480 ...; its base scores 0%.``
    """
    score, base = suite.score(subject), suite.score("base")
    what = suite.name.replace("_", " ")
    many = f"{count(suite.items)} " if suite.items is not None else ""
    does = "answers" if suite.right_at >= 1 else "scores"
    how = "of" if suite.right_at >= 1 else f"({metric_label(suite.metric)}) on"
    text = f"{title(system(subject).label)} {does} {percent(score)} {how} {many}{what}"
    if base is None:
        return f"{text}. The base was not asked."
    return f"{text}; its base {does} {percent(base)}."


def evidence_line(pair: Paired | None, suite: Group) -> str:
    """``+61 points [57, 65], better: 480 items in 96 clusters, 1 seed.``"""
    if pair is None:
        return "No paired interval was computed, so this run cannot say whether that is chance."
    facts = []
    n = pair.n or suite.items
    clusters = pair.clusters or suite.clusters
    if n is not None:
        facts.append(things(n, "item") + (f" in {things(clusters, 'cluster')}" if clusters else ""))
    if pair.seeds is not None:
        facts.append(things(pair.seeds, "seed"))
    text = points(pair.difference)
    if pair.verdict:
        text += f", {pair.verdict}"
    return f"{text} ({', '.join(facts)})." if facts else f"{text}."


def basis(pair: Paired | None) -> str:
    """``480, 96, 1``: items, clusters and training seeds behind a difference."""
    return NONE if pair is None else counts(pair.n, pair.clusters, pair.seeds)


def counts(n: int | None, clusters: int | None, seeds: int | None) -> str:
    """What a value rests on, under ``BASIS``."""
    return ", ".join(map(count, (n, clusters, seeds)))


def bits_difference(difference: Estimate, base: float | None) -> str:
    """``+0.031 [0.020, 0.042] (+1.5%)``: bits per byte, and their share of the base's."""
    text = bracketed(difference, 3, signed)
    return f"{text} ({signed(100 * difference.value / base, 1)}%)" if base else text


def families_line(suite: Group, subject: str) -> str:
    """In how many families the subject scores higher than its base; empty under two families."""
    gains = [gain.value for group in suite.families if (gain := group.gain(subject)) is not None]
    if len(gains) < 2:
        return ""
    text = (
        f"{title(system(subject).label)} scores higher than its base in "
        f"{sum(gain > 0 for gain in gains)} of {len(gains)} families"
    )
    if lower := sum(gain < 0 for gain in gains):
        text += f", lower in {lower}"
    pairs = [pair for group in suite.families if (pair := group.pair(subject, "base"))]
    if shown := sum(pair.verdict == "better" for pair in pairs):
        return f"{text}; in {shown} of them the family's own interval shows it too."
    if pairs and any(gain > 0 for gain in gains):
        return f"{text}; no family has evidence enough of its own."
    return f"{text}."
