"""``show``: preference pairs side by side, with their margin and their lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from regimen import console
from regimen.curation.card import pair_rows
from regimen.curation.ledger import Ledger
from regimen.errors import TokenError
from regimen.evaluation.pairs import pair_statistics
from regimen.instances.answer_sets import AnswerSet, PairRule, pairs_of, together
from regimen.instances.readers import RowFailure
from regimen.layout import Panel
from regimen.records import Message, Preference
from regimen.settings.loading import load_settings
from regimen.stages.show_material import is_settings, records_of
from regimen.stages.sources import read_sources
from regimen.tables import read_table, table_to_preferences

MOST = 2000
"""Pairs that the figures are of."""


def pairs_to_show(source: Path | str, seed: int = 0) -> list[Preference]:
    """The first pairs of a source; none where it holds something else.

    Args:
        source: a file of preferences or ``preferences.parquet`` of a build; a folder of files, or a
            settings file whose sources hold pairs alone.
        seed: of the draws of a settings file.

    Raises:
        DataError: the source cannot be read.
    """
    path = Path(source)
    if path.is_file() and is_settings(path):
        section = load_settings(path).build
        if section is None:
            return []
        with TemporaryDirectory() as folder:
            return read_sources(section, seed, Ledger(folder)).preferences[:MOST]
    if path.name == "preferences.parquet" and path.is_file():
        return list(islice(table_to_preferences(read_table(path)), MOST))
    if (path / "instances.parquet").is_file():
        return []
    return list(islice(_pairs(source), MOST))


def _pairs(source: Path | str) -> Iterator[Preference]:
    """The pairs of a file's records, as long as they are pairs or answers to be compared."""
    sets: list[AnswerSet] = []
    for record in records_of(source):
        if isinstance(record, Preference):
            yield record
        elif isinstance(record, AnswerSet):
            sets.append(record)
            if len(sets) >= MOST:
                break
        elif not isinstance(record, RowFailure):
            return
    for one in together(sets):
        yield from pairs_of(one, PairRule()).kept


def show_preferences(
    pairs: Sequence[Preference], model: str = "", *, number: int = 3
) -> dict[str, Any]:
    """Print ``number`` pairs side by side, and what all of them are like.

    Args:
        pairs: of a source.
        model: a model or tokenizer folder, whose tokens are counted as ``align`` renders them;
            characters where none is given.
        number: pairs to show.

    Returns:
        The statistics of :func:`regimen.evaluation.pairs.pair_statistics`.
    """
    lengths = _token_lengths(model) if model else _character_lengths
    for place, pair in enumerate(pairs[:number], start=1):
        prompt, chosen, rejected = lengths(pair)
        origin = f"{pair.lineage.source}:{pair.lineage.row} {pair.lineage.variant}".strip()
        margin = "not given" if pair.margin is None else f"{pair.margin:g}"
        console.heading(f"pair {place}: {origin}; margin {margin}")
        console.line()
        console.panels([Panel("prompt", _sections(pair.prompt), prompt)])
        console.panels(
            [
                Panel("chosen", _sections(pair.chosen, "green"), chosen),
                Panel("rejected", _sections(pair.rejected, "red"), rejected),
            ]
        )
    found = pair_statistics(pairs)
    console.line()
    console.table(f"{len(pairs):,} pairs", ["", "value"], pair_rows(found))
    return found


def _sections(turns: Sequence[Message], style: str = "") -> tuple[tuple[str, str], ...]:
    return tuple((f"{turn.role}: {turn.text}", style) for turn in turns)


Lengths = Callable[[Preference], tuple[str, str, str]]


def _character_lengths(pair: Preference) -> tuple[str, str, str]:
    prompt, chosen, rejected = (
        f"{sum(len(turn.text) for turn in turns):,} characters"
        for turns in (pair.prompt, pair.chosen, pair.rejected)
    )
    return prompt, chosen, rejected


def _token_lengths(model: str) -> Lengths:
    """Lengths in tokens as alignment renders a pair; why not, where it cannot."""
    from regimen.models.loading import load_tokenizer
    from regimen.tokens.rendering import Renderer, ensure_chat_tokens

    tokenizer = load_tokenizer(model)
    renderer = Renderer(tokenizer)
    ensure_chat_tokens(tokenizer, renderer)

    def lengths(pair: Preference) -> tuple[str, str, str]:
        try:
            found = renderer.preference(pair.prompt, pair.chosen, pair.rejected)
        except TokenError as error:
            return error.what, "", ""
        prompt, chosen, rejected = (
            f"{len(ids):,} tokens" for ids in (found.prompt, found.chosen, found.rejected)
        )
        return prompt, chosen, rejected

    return lengths
