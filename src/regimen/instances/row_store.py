"""Many rows in little memory: packed in blocks, read like a tuple.

A row as a dictionary takes three to five times the room of its text. A task with a million rows
is read once to be split and once to be formatted, in order, so a block is unpacked twice.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

from regimen.records import Row

BLOCK = 512
"""Rows of a block. Fewer rows than this are not packed at all."""
_LEVEL = 1


class RowStore(Sequence[Row]):
    """Rows that can be appended to and read; equal to any sequence of equal rows."""

    __slots__ = ("_blocks", "_last", "_tail")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._blocks: list[bytes] = []
        self._tail: list[Row] = []
        self._last: tuple[int, list[Row]] = (-1, [])
        self.extend(rows)

    def append(self, row: Row) -> None:
        """Add a row."""
        self._tail.append(row)
        if len(self._tail) == BLOCK:
            self._blocks.append(zlib.compress(pickle.dumps(self._tail, protocol=5), _LEVEL))
            self._tail = []

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        for row in rows:
            self.append(row)

    def __len__(self) -> int:
        return BLOCK * len(self._blocks) + len(self._tail)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Row, ...]: ...

    def __getitem__(self, place: int | slice) -> Row | tuple[Row, ...]:
        if isinstance(place, slice):
            return tuple(self[one] for one in range(*place.indices(len(self))))
        place = place + len(self) if place < 0 else place
        if not 0 <= place < len(self):
            raise IndexError(place)
        number, within = divmod(place, BLOCK)
        return self._block(number)[within]

    def _block(self, number: int) -> list[Row]:
        if number == len(self._blocks):
            return self._tail
        if self._last[0] != number:
            self._last = (number, pickle.loads(zlib.decompress(self._blocks[number])))
        return self._last[1]

    def __iter__(self) -> Iterator[Row]:
        for number in range(len(self._blocks) + 1):
            yield from self._block(number)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        same = all(one == two for one, two in zip(self, other, strict=False))
        return len(self) == len(other) and same

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, islice(self, 3)))
        return f"RowStore([{shown}{', ...' if len(self) > 3 else ''}], {len(self)} rows)"
