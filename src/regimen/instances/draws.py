"""Random draws of formatting: every variable of every row has a stream of its own.

A draw is a function of (seed, task, row, variable) alone. So it is the same for any number of
workers, and changing one variable of the formatting leaves the draws of all others as they were:
two mixtures that differ in one setting can be compared row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar
from zlib import crc32

from regimen.records import stable_hash

T = TypeVar("T")
_MASK = (1 << 64) - 1


def seeded(*parts: object) -> Random:
    """A generator of its own for every list of parts: equal on every machine and worker."""
    return Random(int(stable_hash([str(part) for part in parts], length=16), 16))


class Draws:
    """The draws of one row of one task."""

    __slots__ = ("_base",)

    def __init__(self, seed: int, task: str, row: int, what: str = "") -> None:
        text = f"{seed}\0{task}\0{row}\0{what}"
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._base = int.from_bytes(digest, "little")

    def number(self, variable: str) -> int:
        """An integer below 2^63, uniform: the seed of the variable."""
        # the finaliser of SplitMix64 (Steele et al., 2014)
        mixed = (self._base + crc32(variable.encode()) * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ (mixed >> 31)) >> 1

    def index(self, variable: str, n: int) -> int:
        """One of ``range(n)``, uniform (to 1 part in 2^63 / n)."""
        return self.number(variable) % n

    def chance(self, variable: str, share: float) -> bool:
        """True with probability ``share``; a larger share keeps every True of a smaller one."""
        return share > 0 and (self.number(variable) >> 10) < share * (1 << 53)

    def order(self, variable: str, n: int) -> Iterator[int]:
        """A random order of ``range(n)``, made as far as it is read."""
        rng, moved = Random(self.number(variable)), dict[int, int]()
        for place in range(n):
            other = place + int(rng.random() * (n - place))
            yield moved.get(other, other)
            moved[other] = moved.get(place, place)

    def shuffled(self, variable: str, values: Sequence[T]) -> list[T]:
        """The values in a random order."""
        mixed = list(values)
        if len(mixed) > 1:
            Random(self.number(variable)).shuffle(mixed)
        return mixed
