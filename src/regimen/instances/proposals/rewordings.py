"""Texts that say what another text says: in another language, in short, in other words."""

from __future__ import annotations

from collections.abc import Mapping

from regimen.instances.languages import language_code
from regimen.instances.proposals.roles import (
    DOCUMENT,
    LANGUAGES,
    QUESTION,
    REWRITES,
    SUMMARY,
    Guess,
    pair_of,
)
from regimen.instances.proposals.tables import MOSTLY, Table
from regimen.instances.words import tokens

_SAMPLE = 500


def translation(table: Table) -> Guess | None:
    """One text in two languages: a column for each, or a column that holds both."""
    codes = [(language_code(c.key), c) for c in table.texts() if c.filled >= MOSTLY]
    both = [(code, c.name) for code, c in codes if code in LANGUAGES]
    for column in table.columns:
        value = next((row[column.name] for row in table.rows if row.get(column.name)), None)
        if isinstance(value, Mapping) and len(value) == 2 and LANGUAGES.issuperset(value):
            both = [(code, f"{column.name}.{code}") for code in value]
    if len(both) != 2:
        return None
    (first, source), (second, target) = both
    return Guess(
        type="translation",
        columns={"input": source, "output": target},
        why={"type": [f"{source!r} and {target!r} are named for languages."]},
        others=(f"the other direction: input {target}, output {source}",),
        direction=(first, second),
    )


def summarisation(table: Table) -> Guess | None:
    """A long text and a much shorter one that is named for a summary."""
    short = next((c for name in SUMMARY if (c := table.named((name,), "text"))), None)
    if short is None or table.named(QUESTION, "text") is not None:
        return None
    taken = [c for c in table.texts(short.name) if c.words >= 2.5 * short.words]
    named = next((c for name in DOCUMENT for c in taken if c.key == name), None)
    long = named or max(taken, key=lambda c: c.words, default=None)
    if long is None:
        return None
    why = f"{short.name!r} has {short.words:.0f} words on average, {long.name!r} {long.words:.0f}."
    return Guess(
        type="summarisation",
        columns={"input": long.name, "output": short.name},
        why={"type": [why]},
    )


def rewriting(table: Table) -> Guess | None:
    """A text and another wording of it, by the names."""
    pair = pair_of(table, REWRITES)
    if pair is None:
        return None
    share = _overlap(table, pair[0].name, pair[1].name)
    return Guess(
        type="rewriting",
        columns={"input": pair[0].name, "output": pair[1].name},
        why={"type": [f"By the names; the two share {share:.0%} of their words."]},
        others=("translation, if the two are in different languages",) if share < 0.3 else (),
    )


def _overlap(table: Table, first: str, second: str) -> float:
    """Mean share of the shorter text's words that the other has too."""
    shares = []
    for row in table.rows[:_SAMPLE]:
        a, b = (set(tokens(str(row.get(name)))) for name in (first, second))
        if a and b:
            shares.append(len(a & b) / min(len(a), len(b)))
    return sum(shares) / len(shares) if shares else 0.0
