"""Plain text about days and months: the domain of the job in ``specialise.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from regimen.assets.starter.text import documents as generated

CALENDAR = re.compile(
    r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b"
    r"|\b(?:January|February|March|April|June|July|August|September|October|November|December)\b"
)
MENTIONS = 3
"""Days and months that a text names at least."""


def documents(seed: int, documents: int) -> Iterator[str]:
    """The first ``documents`` generated English texts that are about the calendar."""
    stream = (text for text in generated(seed, "en") if len(CALENDAR.findall(text)) >= MENTIONS)
    yield from islice(stream, documents)
