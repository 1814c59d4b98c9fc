"""Plain text for the demo's retention panel: generated documents that the base never read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from regimen.assets.starter.text import LANGUAGES
from regimen.assets.starter.text import documents as generated


def held_out(seed: int, documents: int) -> Iterator[str]:
    """``documents`` texts, a third of them in each language, from a seed of their own."""
    for language in LANGUAGES:
        yield from islice(generated(seed, language), documents // len(LANGUAGES))
