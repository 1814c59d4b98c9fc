"""The visible table of objectives. Adding a method adds a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regimen.objectives.preference import Dpo
from regimen.objectives.supervised import Supervised

OBJECTIVES: dict[str, Callable[..., Any]] = {
    "supervised": Supervised,
    "language_modelling": Supervised,
    "dpo": Dpo,
}
