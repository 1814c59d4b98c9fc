"""What every section of the settings shares: strictness, bounded numbers, conflicts.

A section refuses keys that it does not know and values of another type (``"5"`` is not 5), and it
cannot be changed after it is made. What one field demands of another is a ``Conflict``; a section
lists its conflicts in ``conflicts`` and they are reported together with all other problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

LARGEST = 2**53
"""Largest whole number that every JSON reader keeps exactly."""

Count = Annotated[int, Field(ge=1, le=LARGEST)]
"""A whole number of at least 1."""

CountOrNone = Annotated[int, Field(ge=0, le=LARGEST)]
"""A whole number of at least 0, where 0 means none."""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""A seed that every random generator in use accepts."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A share of a whole."""

Text = Annotated[str, Field(min_length=1)]
"""Text that is not empty."""

Texts = Annotated[tuple[Text, ...], Strict(False)]
"""A list of texts, none of them empty."""

Language = Annotated[str, Field(pattern=r"^$|^[a-z]{2,3}(-[A-Za-z0-9]+)*$")]
"""A language code such as ``en`` or ``pt-BR``; empty when not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two fields that disagree, or a choice that was not made.

    Args:
        what: what is wrong, without the name of the field.
        at: the field that the message points to, below the section; empty for the section.
        expected: what would be accepted.
        fix: what to do now.
    """

    what: str
    at: tuple[str | int, ...] = ()
    expected: str = ""
    fix: str = ""


class Conflicts(ValueError):
    """All conflicts of one section."""

    def __init__(self, found: Sequence[Conflict]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(conflict.what for conflict in self.found))


class MissingLibrary(ValueError):
    """A setting asks for an optional library that is not installed."""

    def __init__(self, library: str) -> None:
        self.library = library
        super().__init__(f"{library} is not installed")


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    def conflicts(self) -> Iterable[Conflict]:
        """What one field demands of another; a section that has such demands defines this."""
        return ()

    @model_validator(mode="after")
    def _raise_conflicts(self) -> Self:
        found = list(self.conflicts())
        if found:
            raise Conflicts(found)
        return self


def exactly_one(section: Section, names: Sequence[str]) -> Iterator[Conflict]:
    """A conflict unless exactly one of the named fields is set."""
    chosen = [name for name in names if getattr(section, name) is not None]
    if len(chosen) == 1:
        return
    options = ", ".join(repr(name) for name in names)
    if chosen:
        what = f"has {' and '.join(repr(name) for name in chosen)}, which exclude each other"
        yield Conflict(what=what, at=(chosen[-1],), expected=f"exactly one of {options}")
    else:
        yield Conflict(
            what=f"has none of {options}",
            expected=f"exactly one of {options}",
            fix=f"Add one of them, for example {names[0]!r}.",
        )


TimeLimit = Annotated[float, Field(gt=0, le=86_400)]
"""Seconds for a call of a function of one's own."""


class FunctionSettings(Section):
    """A function of your own, found by file and name."""

    file: Text
    """The Python file that defines the function."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The name of the function in that file."""

    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments that the function is called with."""


class TextSettings(Section):
    """Plain text to learn from or to measure on: a file, or a function that yields it."""

    path: Text | None = None
    """A UTF-8 text file, a JSONL file with a ``text`` column, or a directory of them."""

    function: FunctionSettings | None = None
    """A function that yields texts (``str``) when called with its arguments."""

    max_bytes: Count | None = None
    """Use at most this many UTF-8 bytes of it; all of it when not given."""

    def conflicts(self) -> Iterable[Conflict]:
        """Exactly one origin."""
        return exactly_one(self, ("path", "function"))
