"""The author of one document: chooses phrases and ways of writing, and keeps the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

from .resources import Language
from .styles import CASED, LIST_STYLES, SINGLE_STYLES

T = TypeVar("T")
LONGEST = 900
_PATIENCE = 12
_STATED = {"open", "u_remove", "u_add", "u_start", "u_replace", "u_swap", "u_reverse"}
_PLAIN_SHARE = 0.5
_RECORD_SHARE = 0.14
_NAMED_SHARE = 0.65
_MARKS = (("", ""), ("", ""), ("", ""), ('"', '"'), ("'", "'"))


class Author:
    """Writes statements in one language. All randomness comes from one `Random`."""

    def __init__(self, language: Language, rng: Random) -> None:
        self.language = language
        self.rng = rng
        self.random = rng.random
        self.phrases = language.phrases
        self.terms = language.terms
        self.colon = " :" if language.code == "fr" else ":"
        self._and = f" {language.terms['and'][0]} "
        self.begin()

    def begin(self) -> None:
        """Starts a new document: new people, a new name for the list, a new quoting habit."""
        self.parts: list[str] = []
        self.length = 0
        self.target = 130 + int(self.random() * 640)
        self.marks = self.pick(_MARKS)
        self.who = self.pick(self.language.words["name"])
        self.base: dict[str, str] = {
            "L": self.pick(self.terms["lists"]),
            "who": self.who,
            "kinds": "",
            "n": "",
        }
        self.gap = "\n" if self.random() < 0.25 else " "

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as likely."""
        return options[int(self.random() * len(options))]

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(self.random() * n)

    def mark(self, word: str) -> str:
        """The word as this document mentions it: bare or quoted."""
        return self.marks[0] + word + self.marks[1]

    def number(self, n: int) -> str:
        """A number as digits or, up to 100, sometimes as a word."""
        if 0 <= n <= 100 and self.random() < 0.4:
            return self.language.numbers[n]
        return str(n)

    def joined(self, items: Sequence[str]) -> str:
        """The items as running text: commas and a last "and", or commas alone."""
        if len(items) == 1:
            return items[0]
        if self.random() < 0.3:
            return ", ".join(items)
        return ", ".join(items[:-1]) + self._and + items[-1]

    def say(self, key: str, result: Sequence[str] = (), **fields: str) -> str:
        """A statement of ability `key` whose result is written in some way.

        A result that begins a block ends with a newline, so that the next statement starts on
        its own line.
        """
        phrase = self.pick(self.phrases[key])
        fields = {**self.base, **fields}
        if phrase.head is None or not result or self.random() < _PLAIN_SHARE:
            fields["r"] = self.joined(result) if result else ""
            return phrase.text.format_map(fields)
        # A list that is stated for later recall keeps its letters; figures have no capitals.
        keep = key in _STATED or result[0][0].isdigit()
        return self._styled(phrase.head.format_map(fields), phrase.joint, result, keep)

    def _styled(self, head: str, joint: str, result: Sequence[str], keep: bool) -> str:
        if self.random() < _RECORD_SHARE:
            return self._record(head, result)
        styles = SINGLE_STYLES if len(result) == 1 else LIST_STYLES
        style = self.pick(styles[CASED:] if keep else styles)
        if self.random() < _NAMED_SHARE:
            head = f"{head}, {self.pick(self.terms[style.key])}"
            joint = self.colon + " "
        if style.block:
            return f"{head}{self.colon}\n{style.write(result)}\n"
        return f"{head}{joint}{style.write(result)}."

    def _record(self, head: str, result: Sequence[str]) -> str:
        """The result as a JSON record or on a labelled line."""
        if self.random() < 0.5:
            key, name = self.pick(self.terms["keys"]), "fmt_json"
            single = len(result) == 1 or self.random() < 0.5
            value = f'"{", ".join(result)}"' if single else '["' + '", "'.join(result) + '"]'
            line = f'{{"{key}": {value}}}'
        else:
            name = "fmt_label"
            line = f"{self.pick(self.terms['labels'])}: {', '.join(result)}"
        if self.random() < _NAMED_SHARE:
            head = f"{head}, {self.pick(self.terms[name])}"
        return f"{head}{self.colon}\n{line}\n"

    def add(self, statement: str | None) -> bool:
        """Puts a statement on the page if there is one and it fits; tells whether it did."""
        if not statement or self.length + len(statement) + 1 > LONGEST:
            return False
        self.parts.append(statement)
        self.length += len(statement) + 1
        return True

    def add_all(self, statements: Iterable[str | None]) -> None:
        """Puts statements on the page up to the document's chosen length."""
        misses = 0
        for statement in statements:
            misses = 0 if self.add(statement) else misses + 1
            if self.length >= self.target or misses > _PATIENCE:
                return

    def page(self) -> str:
        """The document: statements joined, blocks on lines of their own."""
        gap = self.gap
        pieces = [part if part[-1] == "\n" else part + gap for part in self.parts]
        return "".join(pieces).strip()
