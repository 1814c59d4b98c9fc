"""What the columns of a table hold, in numbers: the ground that guesses stand on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from regimen.instances.data_values import plain, scalar_text, texts_of

Kind = Literal["text", "number", "truth", "texts", "mapping", "turns", "other", "empty"]

MOST_VALUES = 400
"""Most frequent values of a column that are kept."""
MOSTLY = 0.9
_ID = re.compile(
    r"(.*_)?(id|idx|index|uid|guid|uuid|key|hash|url|uri|path|file|filename|timestamp)"
)
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Args:
        name: as the table has it.
        kind: what most of its values are; ``texts`` is a list of them, ``truth`` true or false.
        filled: share of the rows that say something here, 0 to 1.
        distinct: number of different values.
        top: the most frequent values with their counts, as texts; equal counts by the values.
        words: mean words of a value, by white space; characters of scripts that have none count.
        longest: characters of the longest value.
        integers: whether all values are whole numbers.
        low: smallest number, 0 where there is none.
        high: largest number.
        total: rows looked at.
    """

    name: str
    kind: Kind
    filled: float
    distinct: int
    top: tuple[tuple[str, int], ...]
    words: float
    longest: int
    integers: bool
    low: float
    high: float
    total: int

    @property
    def key(self) -> str:
        """The name in lower case with underscores: ``answerKey`` is ``answer_key``."""
        return folded(self.name)

    @property
    def is_id(self) -> bool:
        """Whether the column only names rows, by its name and by its values."""
        named = _ID.fullmatch(self.key) is not None
        return named and self.words < 1.5 and (self.distinct > 0.5 * self.total or self.total < 3)

    def describe(self) -> str:
        """``text, 2,431 different values, 100% of rows, 12.3 words``."""
        words = f", {self.words:.1f} words on average" if self.kind in ("text", "texts") else ""
        span = f", {self.low:g} to {self.high:g}" if self.kind == "number" else ""
        return f"{self.kind}, {self.distinct:,} different, {self.filled:.0%} of rows{words}{span}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows with what is known of their columns; ``labels`` are the words of numbered labels."""

    rows: Sequence[Mapping[str, Any]]
    columns: tuple[Column, ...]
    labels: Mapping[str, tuple[str, ...]]

    def named(self, names: Iterable[str], *kinds: Kind) -> Column | None:
        """The column with the first of the names that one has, ``answer`` also as ``answer1``."""
        usable = [c for c in self.columns if c.filled >= 0.5 and (not kinds or c.kind in kinds)]
        for name in names:
            for spelling in (name, f"{name}1", f"{name}_1"):
                found = next((c for c in usable if c.key == spelling), None)
                if found is not None:
                    return found
        return None

    def column(self, name: str) -> Column:
        """The column of a name."""
        return next(c for c in self.columns if c.name == name)

    def texts(self, *without: str) -> list[Column]:
        """The text columns that are no identifiers, but for the named ones."""
        return [
            c for c in self.columns if c.kind == "text" and not c.is_id and c.name not in without
        ]


def folded(name: str) -> str:
    """A column's name for comparison: lower case, words joined by underscores."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\W_]+", "_", spaced.casefold()).strip("_")


def table_of(
    rows: Sequence[Mapping[str, Any]], labels: Mapping[str, tuple[str, ...]] | None = None
) -> Table:
    """A table of rows; columns in the order in which the rows first name them."""
    names = dict.fromkeys(str(name) for row in rows for name in row)
    plain_rows = [{str(name): plain(value) for name, value in row.items()} for row in rows]
    columns = tuple(_column(name, [row.get(name) for row in plain_rows]) for name in names)
    return Table(rows=plain_rows, columns=columns, labels=dict(labels or {}))


def _column(name: str, values: Sequence[Any]) -> Column:
    said = [value for value in values if value is not None and value not in ("", [], {})]
    said = [value for value in said if not (isinstance(value, str) and not value.strip())]
    texts = [_text(value) for value in said]
    counts = Counter(texts)
    kind = _kind(said)
    numbers = [float(text) for text in texts if is_number(text)] if kind == "number" else []
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_VALUES]
    return Column(
        name=name,
        kind=kind,
        filled=len(said) / max(1, len(values)),
        distinct=len(counts),
        top=tuple(top),
        words=sum(map(_words, texts)) / max(1, len(texts)),
        longest=max(map(len, texts), default=0),
        integers=bool(numbers) and all(number.is_integer() for number in numbers),
        low=min(numbers, default=0.0),
        high=max(numbers, default=0.0),
        total=len(values),
    )


def _text(value: Any) -> str:
    text = scalar_text(value)
    if text is not None:
        return text
    texts = texts_of(value)
    return " / ".join(texts) if texts else str(value)


def _words(text: str) -> int:
    spaced = len(text.split())
    return spaced if text.isascii() else max(spaced, len(_UNSPACED.findall(text)))


def is_number(text: str) -> bool:
    """Whether a text is one finite number in digits."""
    return re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\s*", text) is not None


def _kind(values: Sequence[Any]) -> Kind:
    """What at least nine in ten of the values are."""
    if not values:
        return "empty"
    counts = Counter(_kind_of(value) for value in values)
    if counts["text"] + counts["number"] >= MOSTLY * len(values) > counts["number"]:
        return "text"
    kind, most = counts.most_common(1)[0]
    return kind if most >= MOSTLY * len(values) else "other"


def _kind_of(value: Any) -> Kind:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        if is_number(value):
            return "number"
        return "texts" if texts_of(value) else "text"
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, Mapping) and {"role", "from"} & first.keys():
        return "turns"
    if isinstance(value, Mapping) and not texts_of(value):
        return "mapping"
    return "texts" if texts_of(value) else "other"
