"""docs/scorers.md says what the code does: pytest tests/test_docs_scorers.py"""

from __future__ import annotations

import pytest

from helpers.doc_examples import code, table
from regimen.judging.scorers import SCORERS
from regimen.records import Item

CHOICES = ("Paris", "London", "New York")


@pytest.fixture(scope="module")
def page(repo_root):
    return (repo_root / "docs" / "scorers.md").read_text(encoding="utf-8")


def test_every_scorer_has_a_row(page):
    assert {row[0].strip("`") for row in table(page, "Scorer")} == {
        name for name in SCORERS if not name.startswith("ifeval")
    }


def test_examples_are_what_the_code_gives(page):
    rows = table(page, "Example of")
    for name, answer, reference, score in rows:
        (scorer,), (given,), (wanted,) = code(name), code(answer), code(reference)
        item = Item(suite="s", messages=(), references=(wanted,), choices=CHOICES)
        assert SCORERS[scorer](given, item) == pytest.approx(float(score), abs=5e-4), given
    assert all(f"`{choice}`" in page for choice in CHOICES)
    shown = {row[0].strip("`") for row in rows}
    assert shown == {row[0].strip("`") for row in table(page, "Scorer")}
