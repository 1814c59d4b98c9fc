"""Which prompts are read whole, and which go on from the beginning of another row.

Items with the same demonstrations begin alike. One of them is read; the others copy the keys and
values of what they have in common and read the rest over the cache, as decoding does with one token
of each row (the prefix cache of Zheng et al. 2023, *SGLang*, arXiv 2312.07104).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from regimen.tokens.sharing import common_beginning

Ids = tuple[int, ...]

LEAST = 64
"""Shorter beginnings than this many tokens are read again: copying costs something too."""
TOKENS, READ = 256, 1 << 18
"""Tokens of rests that are read at once, and positions that they all together look back on."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A prompt whose first ``start`` tokens row ``source`` holds; the others go to ``place``."""

    ids: Ids
    place: int
    source: int
    start: int


def split_reading(
    fresh: Mapping[Ids, int], running: Mapping[Ids, int]
) -> tuple[dict[Ids, int], list[Rest]]:
    """Prompts to read whole, in their order, and those that go on from them or a running row.

    Args:
        fresh: prompts to read, and their rows.
        running: prompts whose rows hold them.
    """
    known = sorted(running)
    rests: list[Rest] = []
    leader: Ids | None = None
    for ids in sorted(fresh):
        # what a prompt shares most of is beside it in the order of the ids
        at = bisect_left(known, ids)
        beside = [(one, running[one]) for one in known[max(at - 1, 0) : at + 1]]
        if leader is not None:
            beside.append((leader, fresh[leader]))
        alike = ((common_beginning(one, ids), place) for one, place in beside)
        shared, source = max(alike, default=(0, -1))
        start = min(shared, len(ids) - 1)
        if start >= LEAST:
            rests.append(Rest(ids, fresh[ids], source, start))
        else:
            leader = ids
    later = {rest.ids for rest in rests}
    return {ids: place for ids, place in fresh.items() if ids not in later}, rests


def rest_groups(rests: Sequence[Rest]) -> Iterator[list[Rest]]:
    """Rests that are read at once; a long one alone."""
    group: list[Rest] = []
    tokens = longest = 0
    for rest in rests:
        more = len(rest.ids) - rest.start
        longest = max(longest, len(rest.ids))
        if group and (tokens + more > TOKENS or (tokens + more) * longest > READ):
            yield group
            group, tokens, longest = [], 0, len(rest.ids)
        group.append(rest)
        tokens += more
    if group:
        yield group
