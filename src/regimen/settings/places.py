"""Places in a settings file: where each key and each value was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from regimen.errors import RegimenError

Path = tuple[str | int, ...]
"""The way to a value: keys of sections and numbers of list entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was written.

    Args:
        origin: the file's name, or ``override 'tune.learning_rate=1e-4'``.
        line: counted from 1; 0 where there are no lines.
        column: counted from 1.
        text: the whole source line.
        length: number of characters that are meant.
    """

    origin: str
    line: int = 0
    column: int = 0
    text: str = ""
    length: int = 1

    def render(self) -> str:
        """``file:line:column`` with the source line and carets below it."""
        if not self.line:
            return self.origin
        start = max(0, self.column - 61) if len(self.text) > 96 else 0
        shown = self.text[start : start + 96].replace("\t", " ").rstrip()
        before = self.column - 1 - start
        carets = "^" * max(1, min(self.length, len(shown) - before))
        gutter = f"{self.line:>8} | "
        pointer = " " * (len(gutter) - 2) + "| " + " " * before + carets
        return f"{self.origin}:{self.line}:{self.column}\n{gutter}{shown}\n{pointer}"


@dataclass(slots=True, kw_only=True)
class Document:
    """Plain data with places; overrides change it before it is validated.

    Args:
        origin: the file's name.
        data: mappings, lists and scalars.
        keys: where the key (or the list entry) of a path was written.
        values: where the value of a path was written.
        empty: paths whose value was left out (``evaluate:``), as against written as ``null``.
        problems: what is wrong so far.
    """

    origin: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    empty: set[Path] = field(default_factory=set)
    problems: list[RegimenError] = field(default_factory=list)

    def place(self, path: Path, *, of_value: bool = False) -> Place:
        """The place of a path's key or value, or of the nearest section around it."""
        places = self.values if of_value else self.keys
        for end in range(len(path), -1, -1):
            if path[:end] in places:
                return places[path[:end]]
            places = self.keys
        return Place(origin=self.origin)


def dotted(path: Path) -> str:
    """``build.sources[0].path``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "settings"
