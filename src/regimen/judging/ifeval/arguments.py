"""The arguments of a constraint, read one by one; what is missing or misread is told by name."""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from regimen.errors import EvaluationError, near

RELATIONS: Mapping[str, Callable[[int, int], bool]] = {
    "at least": operator.ge,
    "less than": operator.lt,
    "al menos": operator.ge,
    "como máximo": operator.le,
    "au moins": operator.ge,
    "moins de": operator.lt,
    "以上": operator.ge,
    "未満": operator.lt,
}
"""How a number that was counted stands to the one that was asked for, as the data say it."""


def composed(text: str) -> str:
    """The text in normal form NFC, so that é is one character in answers and in arguments."""
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one constraint of ``kind``; each method raises ``bad-constraint``."""

    kind: str
    values: Mapping[str, Any]

    def number(self, name: str) -> int:
        """A whole number, 0 or more; 3.0 is one, as tables with gaps store it."""
        value = self._value(name)
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        if not whole or value != value // 1 or value < 0:
            raise self._bad(name, value, "a whole number, 0 or more")
        return int(value)

    def place(self, name: str) -> int:
        """A place in a list, from 1."""
        value = self.number(name)
        if value == 0:
            raise self._bad(name, value, "a whole number, 1 or more")
        return value

    def text(self, name: str) -> str:
        """A text that is not blank."""
        value = self._value(name)
        if not isinstance(value, str) or not value.strip():
            raise self._bad(name, value, "a text")
        return composed(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """One text or more."""
        value = self._value(name)
        listed = isinstance(value, list | tuple)
        if not listed or not value or not all(isinstance(t, str) and t.strip() for t in value):
            raise self._bad(name, value, "a list of texts")
        return tuple(map(composed, value))

    def pairs(self, name: str) -> Mapping[str, str]:
        """Texts by text; entries without a text are gaps of a table and left out."""
        value = self._value(name)
        kept = (
            {key: text for key, text in value.items() if text is not None}
            if isinstance(value, Mapping)
            else {}
        )
        if not kept or not all(isinstance(text, str) and text for text in kept.values()):
            raise self._bad(name, value, "a text for each of one text or more")
        return {key: composed(text) for key, text in kept.items()}

    def holds(self, found: int, number: str, relation: str = "relation") -> bool:
        """Whether ``found`` stands to the number as the relation says."""
        return self._compare(relation)(found, self.number(number))

    def reaches(self, found: int, number: str) -> bool:
        """As ``holds`` with the argument ``relation``; at least the number where there is none."""
        compare = self._compare("relation") if "relation" in self.values else operator.ge
        return compare(found, self.number(number))

    def _compare(self, name: str) -> Callable[[int, int], bool]:
        value = self._value(name)
        if not isinstance(value, str) or value not in RELATIONS:
            fix = near(str(value), RELATIONS)
            raise self._bad(name, value, "one of " + ", ".join(RELATIONS), fix)
        return RELATIONS[value]

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise self._bad(name, None, "a value")
        return self.values[name]

    def _bad(self, name: str, value: object, expected: str, fix: str = "") -> EvaluationError:
        return EvaluationError(
            f"The constraint {self.kind!r} cannot be checked: {name!r} is not what it needs.",
            slug="bad-constraint",
            got=f"{name} = {value!r}" if name in self.values else f"no {name!r}",
            expected=expected,
            fix=fix,
        )


def require_names(
    kind: str, values: Iterable[str], needed: Iterable[str], optional: Iterable[str]
) -> None:
    """Raise ``bad-constraint`` where a name is missing or unknown."""
    given, known = set(values), {*needed, *optional}
    wrong = sorted(given - known) or sorted(set(needed) - given)
    if wrong:
        unknown = wrong[0] in given
        raise EvaluationError(
            f"The constraint {kind!r} {'knows' if unknown else 'needs'} "
            f"{'no argument' if unknown else 'the argument'} {wrong[0]!r}.",
            slug="bad-constraint",
            got=", ".join(sorted(given)) or "no arguments",
            expected=", ".join(sorted(known)) or "no arguments",
            fix=near(wrong[0], known if unknown else given) if known and given else "",
        )
