"""Plain text for the demo: what tuning replays, and what the retention panel is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from regimen.assets.starter.text import LANGUAGES
from regimen.assets.starter.text import documents as generated


def held_out(seed: int, documents: int) -> Iterator[str]:
    """``documents`` texts that nothing was trained on, a third of them in each language."""
    for language in LANGUAGES:
        yield from islice(generated(seed, language), documents // len(LANGUAGES))


def replayed(seed: int, documents: int) -> Iterator[str]:
    """``documents`` texts of the kind that the base was trained on, half of them English."""
    streams = {code: generated(seed, code) for code in LANGUAGES}
    for number in range(documents):
        yield next(streams[("en", "fr", "en", "es")[number % 4]])
