"""The wordings of definitions, and their assignment to tasks.

A definition has three clauses: an opener about the input, the operation, the output format. Each
clause comes from a pool of wordings. Within a family, clauses are assigned so that any two
definitions share at most one clause, and ROUGE-L F (Lin 2004) over words between any two of them,
object names and literals removed, is at most ``LARGEST_OVERLAP``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import permutations
from random import Random
from typing import Any

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

LARGEST_OVERLAP = 0.5
ORDERS = tuple(permutations(range(3)))
ATTEMPTS = 1500
RESTARTS = 40
SHORTEST, LONGEST = 12, 24
FIRST_LETTER = 0x4E00


@dataclass(frozen=True, slots=True)
class Spec:
    """What a definition must say; ``fill`` puts the object's names into a clause."""

    shape: str
    operation: str
    form: str
    fill: Callable[[str], str]

    @property
    def label(self) -> str:
        """Operation and format, for messages."""
        return f"{self.operation}/{self.form}"

    def words(self, texts: Iterable[str]) -> int:
        """Length in words of a definition made of these clauses."""
        return sum(len(_TOKEN.findall(self.fill(text))) for text in texts)


_LITERAL = re.compile(r"`[^`]*`")
_SLOT = re.compile(r"\{(?:things|thing|choices)\}")
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\S*\w\S*")


@cache
def wordings(language: str) -> dict[str, Any]:
    """Openers, operations, formats and object names of the language; treat it as read-only."""
    path = files(__package__) / "wordings" / f"{language}.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Clauses:
    """The three clauses of a definition in the order in which they are said."""

    order: tuple[int, ...]
    texts: tuple[str, str, str]

    def said(self) -> Iterable[str]:
        """The clauses in spoken order, slots unfilled."""
        return (self.texts[i] for i in self.order)


def masked(clauses: Clauses) -> str:
    """Lower-case words of a definition without object names, literals and punctuation."""
    return " ".join(word for text in clauses.said() for word in masked_words(text))


@cache
def masked_words(text: str) -> tuple[str, ...]:
    """Lower-case words of a clause outside its slots and literals."""
    return tuple(_WORD.findall(_LITERAL.sub(" ", _SLOT.sub(" ", text)).lower()))


def assign(specs: Sequence[Spec], language: str, seed: str) -> list[Clauses]:
    """Clauses for each definition of one family, in order.

    Draws wordings at random and keeps the first that is far enough from every earlier definition
    of the family. At a dead end the family starts again with the stuck definition first.

    Raises:
        ValueError: the pools are too small for the family.
    """
    order = list(range(len(specs)))
    stuck: Counter[str] = Counter()
    for restart in range(RESTARTS):
        rng, bench, found = Random(f"{seed}/{restart}"), _Bench(), dict[int, Clauses]()
        for at in order:
            clauses = _first_fit(rng, specs[at], language, bench)
            if clauses is None:
                stuck[specs[at].label] += 1
                order.remove(at)
                order.insert(0, at)
                break
            found[at] = clauses
        else:
            return [found[at] for at in range(len(specs))]
    raise ValueError(f"{seed!r}: add wordings for one of {stuck.most_common(3)}")


def _first_fit(rng: Random, spec: Spec, language: str, bench: _Bench) -> Clauses | None:
    shape, operation, form = spec.shape, spec.operation, spec.form
    texts = wordings(language)
    openers = texts["openers"][shape]
    middles = texts["operations"][operation]["clauses"]
    forms = texts["formats"][form]["clauses"]
    for _ in range(ATTEMPTS):
        i, j, k = (int(rng.random() * len(pool)) for pool in (openers, middles, forms))
        pairs = ((shape, i, operation, j), (shape, i, form, k), (operation, j, form, k))
        if bench.shares(pairs):
            continue
        order = ORDERS[int(rng.random() * len(ORDERS))]
        clauses = Clauses(order, (openers[i], middles[j], forms[k]))
        if SHORTEST <= spec.words(clauses.texts) <= LONGEST and bench.admits(clauses):
            bench.add(clauses, pairs)
            return clauses
    return None


class _Bench:
    """Definitions of a family accepted so far."""

    def __init__(self) -> None:
        self._pairs: set[tuple[object, ...]] = set()
        self._lines: list[str] = []
        self._lengths: list[int] = []
        self._letters: dict[str, str] = {}
        self._coded: dict[str, str] = {}

    def shares(self, pairs: Iterable[tuple[object, ...]]) -> bool:
        """Whether an earlier definition has two of the same clauses."""
        return any(pair in self._pairs for pair in pairs)

    def admits(self, clauses: Clauses) -> bool:
        """Whether ROUGE-L F to every earlier definition stays within the bound."""
        if not self._lines:
            return True
        line = self._line(clauses)
        common = cdist([line], self._lines, scorer=LCSseq.similarity, dtype=np.int32)[0]
        total = np.asarray(self._lengths) + len(line)
        return bool((2 * common <= LARGEST_OVERLAP * total).all())

    def add(self, clauses: Clauses, pairs: Iterable[tuple[object, ...]]) -> None:
        """Accept a definition."""
        line = self._line(clauses)
        self._pairs.update(pairs)
        self._lines.append(line)
        self._lengths.append(len(line))

    def _line(self, clauses: Clauses) -> str:
        """The masked definition with one character per word."""
        return "".join(self._coded.get(text) or self._code(text) for text in clauses.said())

    def _code(self, text: str) -> str:
        letters = self._letters
        words = masked_words(text)
        line = "".join(letters.setdefault(w, chr(FIRST_LETTER + len(letters))) for w in words)
        self._coded[text] = line
        return line
