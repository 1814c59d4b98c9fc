"""How the second solver reads an input; see :mod:`regimen.assets.starter.tasks.solver`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from regimen.assets.starter.lexicon import number_words


@dataclass(frozen=True, slots=True)
class Question:
    """An input cut into its main part and what is asked of it."""

    main: str
    asked: str
    object: str
    language: str

    @property
    def parts(self) -> list[str]:
        """Comma-separated parts of the main part."""
        return re.findall(r"[^,\s][^,]*", self.main)

    @property
    def position(self) -> int:
        """Index of what is asked among the parts."""
        return next(i for i, part in enumerate(self.parts) if part == self.asked)

    @property
    def words(self) -> list[str]:
        """Words of a sentence."""
        return re.findall(r"[^\s.]+", self.main)

    @property
    def pairs(self) -> list[list[str]]:
        """Rows or fields cut at their colon or equals sign."""
        return [re.split(r": |=", piece) for piece in re.split(r"\n|; ", self.main)]

    def number(self, text: str) -> int:
        """The number that an amount begins with."""
        digits = re.match(r"\d+", text)
        if digits:
            return int(digits.group())
        return {w: n for n, w in number_words(self.language).items()}[text.split()[0]]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the parts."""
        return [self.number(part) for part in self.parts]
