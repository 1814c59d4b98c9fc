"""Contamination: items that a model may have seen, by 8-grams shared with one training row.

The rule of Tulu 3 (Lambert et al. 2024, arXiv 2411.15124): an item is contaminated if
more than half of what it asks lies in 8-grams that it shares with one training row, a suite if that
holds for more than 2% of its items. Only what users say is compared. What an item asks is its bare
input where it has one, as in ``regimen.curation.leaks``: tasks share their wording by design. An
item of fewer than 8 words holds no 8-gram; it is contaminated if a user turn equals it.

N-grams cannot find a translation or a free paraphrase of an item. A clean item is one for which
nothing was found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regimen.curation.leaks import LeakRule, asked_of
from regimen.curation.ngrams import NgramIndex, bordered
from regimen.evaluation.answers import AnswerRow
from regimen.evaluation.statistics import clustered_rate
from regimen.evaluation.summaries import rate_json
from regimen.instances.words import tokens
from regimen.records import Item

SUITE_SHARE = 0.02
"""A suite with a larger share of contaminated items is contaminated."""
UNDETECTABLE = "translations and paraphrases share no n-grams and are not found"
UNKNOWN = "not checked: training rows unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The largest overlap of an item with one training row.

    ``share`` of what the item asks was found, in 0..1; ``row`` is the number of the first training
    row with that share, -1 where there is none.
    """

    share: float = 0.0
    row: int = -1
    contaminated: bool = False


class ContaminationCheck:
    """Compares items with training rows; rows come in pieces, in order.

    Args:
        items: any number of suites.
        rule: words of an n-gram and the share; those of Tulu 3 when not given.
    """

    def __init__(self, items: Sequence[Item], rule: LeakRule | None = None) -> None:
        self.rule = rule or LeakRule()
        self._asks = [tokens(asked_of(item)) for item in items]
        long = [place for place, ask in enumerate(self._asks) if len(ask) >= self.rule.ngram]
        self._long = np.array(long, dtype=np.int64)
        self._index = NgramIndex([self._asks[place] for place in long], self.rule.ngram)
        self._short: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, ask in enumerate(self._asks):
            if 0 < len(ask) < self.rule.ngram:
                self._short[tuple(ask)].append(place)
        self._words = np.zeros(len(items), np.int64)
        self._row = np.full(len(items), -1, np.int64)
        self._rows = 0

    def take(self, users: Sequence[Sequence[str]]) -> None:
        """Compare the user's turns of some training rows."""
        texts = [bordered(turns) for turns in users]
        text_H, probe_H, words_H = self._index.covered(texts)
        self._keep(self._long[probe_H], text_H, words_H)
        if self._short:
            self._equal(texts)
        self._rows += len(users)

    def _equal(self, texts: Sequence[Sequence[str]]) -> None:
        """Short asks that a user's turn, or all turns together, equal."""
        for number, words in enumerate(texts):
            turns = _split(words)
            for said in {*turns, tuple(word for turn in turns for word in turn)}:
                for place in self._short.get(said, ()):
                    if not self._words[place]:
                        self._words[place], self._row[place] = len(said), self._rows + number

    def _keep(self, item_H: Any, text_H: Any, words_H: Any) -> None:
        """The largest overlap of each item; of equal ones the first row."""
        order = np.lexsort((text_H, -words_H, item_H))
        first = order[np.flatnonzero(np.diff(item_H[order], prepend=-1))]
        better = first[words_H[first] > self._words[item_H[first]]]
        self._words[item_H[better]] = words_H[better]
        self._row[item_H[better]] = self._rows + text_H[better]

    def found(self) -> tuple[Overlap, ...]:
        """The overlap of each item, in order."""
        return tuple(
            Overlap(
                share=words / max(len(ask), 1),
                row=row,
                contaminated=words > self.rule.share * len(ask),
            )
            for ask, words, row in zip(
                self._asks, self._words.tolist(), self._row.tolist(), strict=True
            )
        )


def _split(words: Sequence[str]) -> list[tuple[str, ...]]:
    """The turns of ``bordered`` words."""
    turns: list[tuple[str, ...]] = []
    begin = 0
    for place, word in enumerate(words):
        if not word:
            turns.append(tuple(words[begin:place]))
            begin = place + 1
    return turns


def contamination_block(
    rows: Sequence[AnswerRow], overlaps: Mapping[str, Overlap], against: Mapping[str, Any]
) -> dict[str, Any]:
    """The block of a suite for ``evaluation.json``.

    Args:
        rows: the answers of all systems to the suite's items.
        overlaps: by item id.
        against: what the items were compared with.

    Returns:
        ``checked`` (items), ``flagged``, ``share`` of them (0..1), ``contaminated``,
        ``items_clean``, and ``score_clean``: by system score and interval on the items that are
        not flagged, null where there is none.
    """
    ids = list(dict.fromkeys(row.item_id for row in rows))
    flagged = {one for one in ids if overlaps[one].contaminated}
    by_system: dict[str, list[AnswerRow]] = defaultdict(list)
    for row in rows:
        by_system[row.system].append(row)
    return {
        "checked": len(ids),
        "flagged": len(flagged),
        "share": len(flagged) / len(ids),
        "contaminated": len(flagged) > SUITE_SHARE * len(ids),
        "against": dict(against),
        "not_found": UNDETECTABLE,
        "items_clean": len(ids) - len(flagged),
        "score_clean": {
            system: _clean([row for row in own if row.item_id not in flagged])
            for system, own in by_system.items()
        },
    }


def unchecked_block() -> dict[str, Any]:
    """The block of a suite where nobody knows what the model was trained on."""
    return {"checked": None, "flagged": None, "share": None, "against": None, "reason": UNKNOWN}


def _clean(rows: Sequence[AnswerRow]) -> dict[str, float | None] | None:
    scores = [row.score for row in rows if row.score is not None]
    if not scores or len(scores) < len(rows):
        return None
    return rate_json(clustered_rate(np.array(scores), [row.cluster for row in rows]))
