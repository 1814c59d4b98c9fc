"""What an operation is, and the parsing that its solvers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from regimen.assets.starter.lexicon import number_words
from regimen.assets.starter.tasks.formats import Answer
from regimen.assets.starter.tasks.scenes import CASELESS, Scene

Write = Callable[[Random, Scene], str]
Solve = Callable[[str, Scene], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the grammar.

    ``shape`` names the openers that describe its inputs. ``answer`` is the kind of raw answer:
    ``item`` (one of the items of the input), ``word``, ``number``, ``verdict`` (one of two fixed
    words), ``list`` or ``text``. ``objects`` gives the object kinds per language. ``write`` makes
    an input on which ``solve``, which reads nothing but the input, has exactly one answer.
    """

    name: str
    family: str
    category: str
    shape: str
    answer: str
    objects: Mapping[str, tuple[str, ...]]
    write: Write
    solve: Solve

    def caseless(self, name: str) -> bool:
        """Whether answers over this object have no letters worth writing in capitals."""
        return self.answer == "number" or (self.answer != "verdict" and name in CASELESS)


def items_of(text: str) -> list[str]:
    """The comma-separated items of the first line."""
    return text.split("\n", 1)[0].split(", ")


def query_of(text: str) -> str:
    """What the last line holds after its sign (``?``, ``+`` or ``-``)."""
    return text.rsplit("\n", 1)[1][2:]


def change_of(text: str) -> tuple[str, str]:
    """Old and new of the last line, ``old -> new``."""
    old, new = text.rsplit("\n", 1)[1].split(" -> ")
    return old, new


def listed(items: list[str], last: str = "") -> str:
    """Items on one line, and the line under them if there is one."""
    line = ", ".join(items)
    return f"{line}\n{last}" if last else line


def value_of(amount: str, language: str) -> int:
    """The number that an amount such as ``7``, ``seven`` or ``7 pears`` states."""
    figure = amount.split(" ", 1)[0]
    if figure.isdigit():
        return int(figure)
    return next(value for value, word in number_words(language).items() if word == figure)
