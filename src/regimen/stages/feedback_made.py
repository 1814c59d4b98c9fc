"""What one section of AI feedback makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from regimen.errors import DataError
from regimen.records import Instance, Preference


@dataclass(slots=True)
class Made:
    """What feedback came to; ``about`` goes into the data card."""

    instances: list[Instance] = field(default_factory=list)
    pairs: list[Preference] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, other: Made) -> None:
        """What one section made, under its name."""
        self.instances += other.instances
        self.pairs += other.pairs
        self.about[name] = other.about


def nothing(slug: str, what: str, lost: Mapping[str, int], name: str) -> DataError:
    """The error of a section that made nothing."""
    return DataError(
        what,
        slug=slug,
        got=", ".join(f"{reason} {count:,}" for reason, count in lost.items()) or "nothing asked",
        fix=f"Look at ledger/*-{name}-* for the reason of each.",
    )
