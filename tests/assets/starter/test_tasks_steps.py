"""Rationales and things to avoid: pytest tests/assets/starter/test_tasks_steps.py."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from regimen.assets.starter.lexicon import LANGUAGES
from regimen.assets.starter.tasks.examples import Cell, Generator
from regimen.assets.starter.tasks.formats import FORMATS, formats_for
from regimen.assets.starter.tasks.operations import OPERATIONS, operations
from regimen.assets.starter.tasks.question import Question
from regimen.assets.starter.tasks.solver import solve
from regimen.assets.starter.tasks.steps import STEPS, Given, avoid
from regimen.assets.starter.tasks.wording import wordings

FAMILIES = {
    *("pick", "slice", "order", "neighbour", "edit", "member", "count", "extreme", "sum"),
    "compare",
}


def rows(language: str) -> Iterator[tuple[Cell, str, str]]:
    """Cell, input and rationale of a few rows of every operation on every object."""
    for op in operations(language):
        for name in op.objects[language]:
            cell = Cell(op.name, name, formats_for(op.answer, caseless=False)[0], language)
            for row in Generator(cell)(4, 3):
                yield cell, row["input"], row.get("rationale", "")


def answered(cell: Cell, text: str) -> str:
    """The raw answer of the second solver, as it stands in a sentence."""
    form = "commas" if cell.op.answer == "list" else "plain"
    return solve({"operation": cell.operation, "object": cell.object, "format": form},
                 cell.language, text)  # fmt: skip


def claims(cell: Cell, said: str, phrase: str) -> list[dict[str, str]]:
    """What a rationale claims by a phrase: the slots of each time that it is said."""
    text: str = wordings(cell.language)["steps"].get(phrase, "")
    if not text:
        return []
    slots = {"n": r"\d+", "item": r"[^.]+?", "answer": r"[^.]+?"}
    pattern = re.sub(r"\\\{(\w+)\\\}", lambda m: f"(?P<{m[1]}>{slots[m[1]]})", re.escape(text))
    return [found.groupdict() for found in re.finditer(rf"(?:^|(?<=\. )){pattern}", said)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_last_step_is_the_answer_of_the_second_solver(language: str) -> None:
    seen = set()
    for cell, text, said in rows(language):
        if cell.op.family not in FAMILIES:
            assert said == ""
            continue
        seen.add(cell.operation)
        assert said.endswith(f" {answered(cell, text)}."), (cell.name, text, said)
        assert "\n" not in said
        assert "{" not in said
        assert len(said.split()) <= 40
    assert seen == {op.name for op in operations(language) if op.family in FAMILIES}
    assert {OPERATIONS[name].family for name in STEPS} == FAMILIES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_step_is_true(language: str) -> None:
    counted = 0
    for cell, text, said in rows(language):
        line = text.split("\n")[0]
        items = re.split(r", ", line)
        if cell.operation == "words":
            items = re.findall(r"[^\s.]+", line)
        elif cell.operation == "rows":
            items = re.findall(r"^\w+", text, flags=re.MULTILINE)
        first = said.split(". ")[0]
        if re.match(r"1 ?: ", said) and cell.op.family not in ("extreme", "compare"):
            listed = re.findall(r"(\d+) ?: ([^,]+)(?:, |$)", first)
            assert listed == [(str(n), item) for n, item in enumerate(items, start=1)], said
            counted += 1
        for claim in (
            *claims(cell, said, "place"),
            *claims(cell, said, "found"),
            *claims(cell, said, "one"),
        ):
            item = claim.get("item") or claim["answer"]
            assert items[int(claim["n"]) - 1] == item, said
            counted += 1
        for left, sign, right, result in re.findall(r"(\d+) ([+-]) (\d+) = (\d+)", said):
            assert int(left) + int(f"{sign}{right}") == int(result), said
            counted += 1
        if cell.op.family in ("extreme", "compare", "sum"):
            asked = Question(text, "", cell.object, language)
            for item, value in re.findall(r"([^,:]+?) ?: (\d+)(?:, |$)", first):
                lengths = cell.operation in ("longest", "shortest")
                if item in items:
                    assert int(value) == (len(item) if lengths else asked.number(item)), said
                    counted += 1
    assert counted > 100


def test_steps_that_deny_are_true_too() -> None:
    said = {
        "contains": ("a, b\n? c", "1: a, 2: b. c is not there: no."),
        "is_first": ("a, b\n? b", "1: a, 2: b. Number 1 is a: no."),
        "comes_before": (
            "a, b, c\n? c, a",
            "1: a, 2: b, 3: c. c is number 3. a is number 1. 3 comes after 1: no.",
        ),
    }
    for operation, (text, expected) in said.items():
        cell = Cell(operation, "letters", "plain", "en")
        assert " ".join(STEPS[operation](Given(text, "en"))) == expected
        assert answered(cell, text) == "no"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_to_avoid_is_said_for_every_operation_and_format(language: str) -> None:
    texts = wordings(language)["avoid"]
    assert set(texts["formats"]) == set(FORMATS)
    assert set(texts["families"]) == {op.family for op in operations(language)}
    assert set(texts["operations"]) <= {op.name for op in operations(language)}
    said = {
        avoid(op.family, op.name, form, language)
        for op in operations(language)
        for form in formats_for(op.answer, caseless=False)
    }
    start = {"en": r"Do not ", "fr": r"N(e |')", "es": r"No "}[language]
    for text in said:
        assert re.fullmatch(rf"({start}[^.]+\.) ({start}[^.]+\.)", text), text
    assert len(said) > 40
