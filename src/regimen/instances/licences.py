"""Licences: which is the stricter, and what holds for a work of several parents."""

from __future__ import annotations

import re
from collections.abc import Iterable

# From free to restricted: what a work that is made of several parents may be used for. Terms that
# are not known permit nothing, so they rank last. Prefixes of SPDX identifiers, in lower case.
_RESTRICTIONS: tuple[tuple[str, ...], ...] = (
    ("cc0", "public domain", "unlicense", "pddl", "0bsd"),
    ("mit", "bsd", "apache", "isc", "zlib", "cc-by-1", "cc-by-2", "cc-by-3", "cc-by-4",
     "odc-by", "cdla-permissive"),
    ("mpl", "lgpl", "cc-by-sa", "odbl", "cdla-sharing", "gpl", "agpl"),
    ("cc-by-nd",),
    ("cc-by-nc",),
)  # fmt: skip
_BOTH = re.compile(r"\s+and\s+|;", re.IGNORECASE)
"""What stands between licences that all hold."""


def restriction(licence: str) -> int:
    """Rank of a licence: 0 public domain, 1 attribution, 2 share-alike, 3 no derivatives,
    4 non-commercial, 5 not known or not given. Of ``A AND B`` and ``A; B`` the higher counts."""
    parts = _BOTH.split(licence.replace("(", " ").replace(")", " "))
    return max(_rank(part.strip().lower()) for part in parts)


def _rank(name: str) -> int:
    spelled = name.replace("cc by", "cc-by").replace(" ", "-") if name.startswith("cc") else name
    for rank in range(len(_RESTRICTIONS) - 1, -1, -1):
        if spelled.startswith(_RESTRICTIONS[rank]):
            return rank
    return len(_RESTRICTIONS)


def strictest(licences: Iterable[str]) -> str:
    """The most restricted of the licences; "" (not known) ranks above all others.

    Of licences with the same rank the first in alphabetical order. This sorts by what is
    permitted; it is not legal advice, and share-alike terms of two parents can also conflict.
    """
    return max(sorted(set(licences)), key=restriction, default="")
