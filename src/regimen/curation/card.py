"""The data card: what a training mixture is made of, as a dict and as Markdown."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from regimen.curation.filters import characters
from regimen.instances.licences import strictest
from regimen.records import SCHEMA_VERSION, Instance, Labelled, Preference, Ranked, Stepwise

FACETS = ("source", "family", "category", "language", "licence", "template", "demonstrations")
COLUMNS = (*FACETS, "task")
"""Columns of the lineage that are counted."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
NOT_GIVEN = "(not given)"


def data_card(
    instances: Sequence[Instance],
    preferences: Sequence[Preference] = (),
    ledger: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Counts by facet, licence, lengths in characters, and removals by reason.

    Args:
        instances: what is kept for training.
        preferences: pairs that are kept; counted, and part of the strictest licence.
        ledger: the ledger's summary (``Ledger.write``).

    Returns:
        ``instances, tasks, preferences`` (counts), ``by_<facet>`` ({value: n}, most frequent
        first), ``strictest_licence``, ``characters`` ({"prompt" | "answer": {quantile: n}}),
        ``removed`` and ``failed`` ({reason: n} over all steps), ``schema_version``.
    """
    counts = CardCounts()
    columns = {name: [getattr(one.lineage, name) for one in instances] for name in COLUMNS}
    counts.add(columns, *sizes(instances))
    return counts.card(preferences, ledger)


def sizes(instances: Sequence[Instance]) -> tuple[list[int], list[int]]:
    """Characters of the prompt and of the answers of each instance."""
    return (
        [_size(one, answer=False) for one in instances],
        [_size(one, answer=True) for one in instances],
    )


class CardCounts:
    """The counts of a data card, batch by batch."""

    def __init__(self) -> None:
        self.instances = 0
        self.facets: dict[str, Counter[str]] = {name: Counter() for name in COLUMNS}
        self.prompts, self.answers = array("l"), array("l")

    def add(
        self,
        columns: Mapping[str, Sequence[Any]],
        prompts: Sequence[int],
        answers: Sequence[int],
    ) -> None:
        """Count a batch: the lineage's ``COLUMNS``, characters of prompts and answers."""
        self.instances += len(prompts)
        for name, counter in self.facets.items():
            values = columns[name]
            # demonstrations are counted by how many a prompt shows
            counter.update(map(str, map(len, values)) if name == "demonstrations" else values)
        self.prompts.extend(prompts)
        self.answers.extend(answers)

    def card(
        self,
        preferences: Sequence[Preference] = (),
        ledger: Mapping[str, Mapping[str, Any]] | None = None,
        judged: Sequence[Labelled | Ranked | Stepwise] = (),
    ) -> dict[str, Any]:
        """The card as ``data_card`` gives it; ``judged`` are part of the strictest licence."""
        others = (one.lineage.licence for one in (*preferences, *judged))
        licences = {*self.facets["licence"], *others}
        card: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "instances": self.instances,
            "tasks": len(self.facets["task"].keys() - {""}),
            "preferences": len(preferences),
        }
        for facet in FACETS:
            card[f"by_{facet}"] = _counts(self.facets[facet])
        card["strictest_licence"] = strictest(licences) or NOT_GIVEN
        card["characters"] = {
            "prompt": quantiles(self.prompts),
            "answer": quantiles(self.answers),
        }
        steps = (ledger or {}).values()
        card["removed"] = _sum(step["removed"] for step in steps)
        card["failed"] = _sum(step["failed"] for step in steps)
        return card


def _counts(values: Mapping[str, int]) -> dict[str, int]:
    counted = {value or NOT_GIVEN: n for value, n in values.items()}
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for step in counts:
        total.update(step)
    return dict(sorted(total.items(), key=lambda pair: (-pair[1], pair[0])))


def _size(instance: Instance, *, answer: bool) -> int:
    turns = (m for m in instance.messages if (m.role == "assistant") is answer)
    return sum(map(characters, turns))


def quantiles(values: Sequence[int]) -> dict[str, int]:
    """Minimum, 5, 25, 50, 75, 95 percent and maximum: values that occur, never between two."""
    if not values:
        return {}
    found = np.quantile(np.asarray(values, dtype=np.int64), QUANTILES, method="inverted_cdf")
    return {f"{q:g}": int(value) for q, value in zip(QUANTILES, found, strict=True)}


def card_markdown(card: Mapping[str, Any], title: str = "Data card") -> str:
    """The card as Markdown, for people; long lists are cut and say so."""
    blocks = [
        f"# {title}",
        f"{card['instances']:,} training instances of {card['tasks']:,} tasks, "
        f"{card['preferences']:,} preference pairs. "
        f"Strictest licence among them: {card['strictest_licence']}.",
    ]
    for facet in FACETS:
        blocks.append(_table(f"By {facet}", (facet, "instances"), card[f"by_{facet}"]))
    blocks.append(_lengths(card["characters"]))
    blocks.append(_positions(card.get("option_positions", {}).get("all", {})))
    for severity, found in card.get("lints", {}).get("findings", {}).items():
        blocks.append(_table(f"Lints: {severity}", ("lint", "tasks"), found))
    blocks.append(_judged(card))
    if "pairs" in card:
        lines = [f"| {_cell(name)} | {value} |" for name, value in pair_rows(card["pairs"])]
        blocks.append("\n".join(["## Preference pairs", "", "| | |", "|---|---|", *lines]))
    blocks.append(_table("Removed", ("reason", "rows"), card["removed"]))
    blocks.append(_table("Failed", ("error", "rows"), card["failed"]))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _judged(card: Mapping[str, Any]) -> str:
    """Judged answers that are no pairs: what there is of each kind."""
    kinds = [kind for kind in ("labelled", "ranked", "stepwise") if kind in card]
    if not kinds:
        return ""
    figures = [
        f"| {kind} | {', '.join(f'{n:,} {what}' for what, n in card[kind].items())} |"
        for kind in kinds
    ]
    return "\n".join(["## Judged answers", "", "| | |", "|---|---|", *figures])


def pair_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of pairs (``evaluation.pairs.pair_statistics``) in words, a line each."""
    margin, length = found["margin"], found["length"]
    rows = [("pairs", f"{found['pairs']:,}"), ("prompts", f"{found['prompts']:,}")]
    rows += [(f"pairs of {name or NOT_GIVEN}", f"{n:,}") for name, n in found["by_source"].items()]
    if "ties" in found:
        rows.append(("ties, which gave no pair", f"{found['ties']:,}"))
    if margin["given"]:
        shown = ", ".join(f"{margin['quantiles'][q]:.3g}" for q in ("0.05", "0.5", "0.95"))
        rows.append((f"margin of {margin['given']:,} pairs: 5%, median, 95%", shown))
    rows.append(("longer answer chosen", _between(length["longer_chosen"])))
    rows.append(("answers of equal length", f"{length['equal']:,}"))
    rows.append(("rank correlation of margin and length", _between(found["margin_with_length"])))
    for source, one in found["agreement"].items():
        rows.append(
            (f"{source}: alpha of {one['raters']} annotators", _between(one["alpha_nominal"]))
        )
        rows.append((f"{source}: Fleiss' kappa", _between(one["kappa_fleiss"])))
        for pair, measures in one["pairs"].items():
            rows.append((f"{source}: kappa of {pair}", _between(measures["kappa"])))
    return rows


def _between(found: Mapping[str, Any] | None) -> str:
    """A value with its interval."""
    if found is None or found["value"] is None:
        return "not defined"
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _table(title: str, head: tuple[str, str], counts: Mapping[str, int], most: int = 40) -> str:
    if not counts:
        return ""
    rows = [f"| {_cell(name)} | {n:,} |" for name, n in list(counts.items())[:most]]
    rest = list(counts.values())[most:]
    if rest:
        rows.append(f"| {len(rest):,} more | {sum(rest):,} |")
    return "\n".join([f"## {title}", "", f"| {head[0]} | {head[1]} |", "|---|---:|", *rows])


def _positions(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Where the right option stands, by the number of options."""
    if not rows:
        return ""
    lines = [
        "## Where the right option stands",
        "",
        "| options | by position | p |",
        "|---|---|---|",
    ]
    for options, row in rows.items():
        chance = "too few" if row["p"] is None else f"{row['p']:.2g}"
        lines.append(f"| {options} | {', '.join(f'{n:,}' for n in row['counts'])} | {chance} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _lengths(lengths: Mapping[str, Mapping[str, int]]) -> str:
    filled = {name: found for name, found in lengths.items() if found}
    if not filled:
        return ""
    head = " | ".join(f"{float(q):.0%}" for q in next(iter(filled.values())))
    lines = ["## Length in characters", "", f"| | {head} |", "|---|" + "---:|" * len(QUANTILES)]
    for name, found in filled.items():
        lines.append(f"| {name} | " + " | ".join(f"{n:,}" for n in found.values()) + " |")
    return "\n".join(lines)
