"""Where the material of an input comes from: a language and a kind of object.

A scene knows the items of its object (``pool``), the order they count in (``scale``) and how an
amount of it is written (``amount``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

from regimen.assets.starter.lexicon import categories, lexicon, number_words

UNITS = {"weights": "kg", "prices": "coins", "ages": "years", "lengths": "cm"}
DATE_FRAMES = {"en": "{day} {month}", "fr": "{day} {month}", "es": "{day} de {month}"}
CASELESS = frozenset({"numbers", "tens", *UNITS})


@dataclass(frozen=True, slots=True)
class Scene:
    """A language and an object kind of the grammar."""

    language: str
    object: str

    @property
    def pool(self) -> tuple[str, ...]:
        """Distinct items that a list of this object is drawn from."""
        return _pool(self.object, self.language)

    @property
    def scale(self) -> tuple[tuple[str, ...], bool]:
        """The items in counting order and whether the order starts again at its end."""
        return _scale(self.object, self.language)

    @property
    def pair(self) -> tuple[str, str]:
        """The two categories that an object such as ``animals_tools`` mixes."""
        first, second = lexicon(self.language)["pairs"][self.object]
        return first, second

    def amount(self, rng: Random, value: int, *, spelled: bool = False) -> str:
        """``value`` as this object writes it: ``7``, ``seven`` or ``7 pears``."""
        in_words = spelled or self.object == "number_words"
        figure = number_words(self.language)[value] if in_words else str(value)
        if not self.object.endswith("_counts"):
            return figure
        return f"{figure} {rng.choice(self.counted)}"

    @property
    def counted(self) -> tuple[str, ...]:
        """Plural nouns that an amount of this object counts."""
        return tuple(lexicon(self.language)["plurals"][self.object.removesuffix("_counts")])


@cache
def _pool(name: str, language: str) -> tuple[str, ...]:
    if name in categories(language):
        return categories(language)[name]
    if name in ("months", "weekdays", "letters"):
        return tuple(lexicon(language)[name])
    if name == "dates":
        frame = DATE_FRAMES[language]
        months = lexicon(language)["months"]
        return tuple(frame.format(day=d, month=m) for m in months for d in range(1, 29))
    if name in UNITS:
        return tuple(f"{value} {UNITS[name]}" for value in range(2, 41))
    if name == "number_words":
        return tuple(number_words(language)[value] for value in range(1, 21))
    if name == "numbers":
        return tuple(str(value) for value in range(1, 41))
    raise ValueError(f"object {name!r} has no items in language {language!r}")


@cache
def _scale(name: str, language: str) -> tuple[tuple[str, ...], bool]:
    if name in ("months", "weekdays"):
        return _pool(name, language), True
    return _pool(name, language), False
