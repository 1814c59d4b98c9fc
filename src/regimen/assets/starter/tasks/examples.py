"""Rows of a task and its worked examples: right ones, and wrong ones with the reason why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from regimen.assets.starter.lexicon import categories, lexicon
from regimen.assets.starter.tasks.formats import Answer, formats_for, write_answer
from regimen.assets.starter.tasks.operations import OPERATIONS, Operation
from regimen.assets.starter.tasks.operations.base import items_of
from regimen.assets.starter.tasks.scenes import Scene
from regimen.assets.starter.tasks.steps import rationale
from regimen.assets.starter.tasks.wording import wordings
from regimen.records import Example

REDRAWS = 8
POSITIVE = 2
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Cell:
    """Coordinates of one task in the grammar: operation, object, format and language."""

    operation: str
    object: str
    form: str
    language: str

    @property
    def name(self) -> str:
        """Unique name, such as ``pick.first/animals/quoted/en``."""
        family = OPERATIONS[self.operation].family
        return f"{family}.{self.operation}/{self.object}/{self.form}/{self.language}"

    @property
    def op(self) -> Operation:
        """The operation itself."""
        return OPERATIONS[self.operation]

    @property
    def scene(self) -> Scene:
        """Where its inputs come from."""
        return Scene(self.language, self.object)

    @property
    def choices(self) -> str:
        """The two groups of a pair object, such as ``animals or tools``; else empty."""
        words = lexicon(self.language)
        if self.object not in words["pairs"]:
            return ""
        return f" {words['terms']['or']} ".join(words["kinds"][name] for name in self.scene.pair)

    def fill(self, text: str) -> str:
        """A clause with the object's names in its slots."""
        if "{" not in text:
            return text
        names = wordings(self.language)["objects"][self.object]
        for slot in ("things", "thing"):
            text = text.replace(f"{{{slot}}}", names[slot])
        return text.replace("{choices}", self.choices)

    def solve(self, text: str) -> Answer:
        """The raw answer to an input."""
        return self.op.solve(text, self.scene)


@dataclass(frozen=True, slots=True)
class Oracle:
    """Accepted outputs of a row, from its input alone."""

    cell: Cell

    def __call__(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """The one accepted output.

        Raises:
            ValueError: the input is not one of this task.
        """
        cell = self.cell
        return (write_answer(cell.solve(row["input"]), cell.form, cell.language),)


@dataclass(frozen=True, slots=True)
class Generator:
    """Rows of a task; equal seeds give equal rows on every machine.

    Rows of operations that have steps carry them as ``rationale``.
    """

    cell: Cell

    def __call__(self, seed: int, n: int) -> list[dict[str, Any]]:
        """``n`` rows, inputs distinct while the task has unseen ones."""
        rng, seen, oracle = Random(f"{self.cell.name}/{seed}"), set[str](), Oracle(self.cell)
        rows = []
        for _ in range(n):
            text = _unseen(rng, self.cell, seen)
            row = {"input": text, "output": list(oracle({"input": text}))}
            steps = rationale(self.cell.operation, text, self.cell.language)
            rows.append({**row, "rationale": steps} if steps else row)
        return rows


def _unseen(rng: Random, cell: Cell, seen: set[str]) -> str:
    """An input outside ``seen``, or a repeat when ``REDRAWS`` draws found none; recorded."""
    text = cell.op.write(rng, cell.scene)
    for _ in range(REDRAWS):
        if text not in seen:
            break
        text = cell.op.write(rng, cell.scene)
    seen.add(text)
    return text


def plain(answer: Answer) -> str:
    """A raw answer as it stands in an explanation."""
    return answer if isinstance(answer, str) else ", ".join(answer)


def examples(cell: Cell) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Two right and two wrong examples, one wrong in its answer and one in its form."""
    rng, seen = Random(f"{cell.name}/examples"), set[str]()
    texts = [_unseen(rng, cell, seen) for _ in range(POSITIVE + 2)]
    positive = tuple(_right(cell, text) for text in texts[:POSITIVE])
    return positive, (_wrong_answer(rng, cell, texts[-2]), _wrong_form(rng, cell, texts[-1]))


def _because(cell: Cell, answer: Answer) -> str:
    said = wordings(cell.language)["operations"][cell.operation]["because"]
    return cell.fill(said).replace("{answer}", plain(answer))


def _form(cell: Cell) -> str:
    return str(wordings(cell.language)["formats"][cell.form]["form"])


def _right(cell: Cell, text: str) -> Example:
    answer = cell.solve(text)
    output = write_answer(answer, cell.form, cell.language)
    said = f"{_because(cell, answer)} {_form(cell)}"
    return Example(input=text, output=output, explanation=said)


def _wrong_answer(rng: Random, cell: Cell, text: str) -> Example:
    answer = cell.solve(text)
    output = write_answer(_near_miss(rng, cell, text, answer), cell.form, cell.language)
    remark = wordings(cell.language)["remarks"]["wrong_answer"]
    said = remark.replace("{because}", _because(cell, answer))
    return Example(input=text, output=output, explanation=said)


def _wrong_form(rng: Random, cell: Cell, text: str) -> Example:
    answer = cell.solve(text)
    caseless = cell.op.caseless(cell.object)
    right = write_answer(answer, cell.form, cell.language)
    forms = formats_for(cell.op.answer, caseless=caseless)
    others = [write_answer(answer, form, cell.language) for form in forms if form != cell.form]
    output = rng.choice([other for other in others if other != right])
    remark = wordings(cell.language)["remarks"]["wrong_form"]
    return Example(input=text, output=output, explanation=remark.replace("{form}", _form(cell)))


def _near_miss(rng: Random, cell: Cell, text: str, answer: Answer) -> Answer:
    """A wrong answer of the right kind, close to the right one where the input offers one."""
    if isinstance(answer, tuple):
        shapes = [answer[::-1], answer[:-1], (*answer[1:], answer[0])]
        return next(shape for shape in shapes if shape and shape != answer)
    others = _rivals(cell, text, answer)
    if others:
        return rng.choice(others)
    while True:
        other = cell.solve(cell.op.write(rng, cell.scene))
        if other != answer:
            return other


def _rivals(cell: Cell, text: str, answer: str) -> list[str]:
    """Other parts of the input that might be taken for the answer."""
    if cell.op.answer == "item":
        parts = items_of(text)
    elif cell.op.shape == "sentence" and cell.op.answer == "word":
        parts = _WORD.findall(text)
    elif cell.op.shape in ("table", "passage", "record"):
        kind = _kinds(cell.language).get(answer)
        parts = [word for word in _WORD.findall(text) if _kinds(cell.language).get(word) == kind]
    else:
        return []
    return [part for part in parts if part != answer]


@cache
def _kinds(language: str) -> dict[str, str]:
    """Word -> its category, for the words that have one."""
    listed = {
        "months": lexicon(language)["months"],
        "weekdays": lexicon(language)["weekdays"],
        **categories(language),
    }
    return {word: name for name, words in listed.items() for word in words}
