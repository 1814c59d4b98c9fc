"""String rewriting rules: pytest tests/studies/test_rewrites.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.study_cells import items, outcomes, question, verdicts
from regimen.settings.study import RewritesStudy as Section
from regimen.studies.cells import Cell
from regimen.studies.rewrites import (
    ARROW,
    BAR,
    COPIED,
    END,
    EQUALS,
    FORMS,
    LETTERS,
    SEEN,
    UNSEEN,
    Example,
    Form,
    RewritesStudy,
    asked_of,
    copies_of,
    crossing,
    encoded,
    examples,
    form_of,
    rewrite,
    rules,
)

STUDY = RewritesStudy()
FORM = Form(letters=6, unseen=8)
WORDS = st.lists(st.integers(0, 3), max_size=12).map(tuple)


def text(ids: tuple[int, ...]) -> str:
    return "".join(chr(ord("a") + number) for number in ids)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple), WORDS, WORDS)
def test_the_oracle_is_pythons_replacement_of_the_first(
    x: tuple[int, ...], y: tuple[int, ...], string: tuple[int, ...]
) -> None:
    assert text(rewrite((x, y), string)) == text(string).replace(text(x), text(y), 1)


@given(st.integers(0, 2**30), st.integers(1, 28))
def test_unseen_rules_share_no_pattern_with_trained_ones(seed: int, count: int) -> None:
    trained, unseen = rules(FORM, count, FORM.unseen, seed)
    assert (len(trained), len(unseen)) == (count, FORM.unseen)
    patterns = [x for x, _ in [*trained, *unseen]]
    assert len(set(patterns)) == len(patterns)
    for x, y in [*trained, *unseen]:
        assert x != y
        assert (len(x), len(y)) == (FORM.pattern, FORM.replacement)
        assert all(LETTERS <= letter < LETTERS + FORM.letters for letter in (*x, *y))


def test_what_is_asked_is_the_same_for_every_seed_and_number_of_rules() -> None:
    found = [rules(FORM, count, FORM.unseen, seed) for count in (3, 20) for seed in (2, 3)]
    assert len({str(unseen) for _, unseen in found}) == 1
    assert len({str(trained) for trained, _ in found}) == 4
    asked = [examples(unseen, FORM, 40, -1) for _, unseen in found]
    assert all(one == asked[0] for one in asked)
    assert examples(found[0][0], FORM, 40, 2) != examples(found[0][0], FORM, 40, 3)


def test_more_rules_than_patterns_are_refused() -> None:
    rules(FORM, 28, 8, 1)
    with pytest.raises(ValueError, match=r"29 \+ 8 rules"):
        rules(FORM, 29, 8, 1)


def test_examples_have_the_pattern_as_often_as_the_form_says() -> None:
    trained, _ = rules(FORM, 10, 8, 5)
    form = replace(FORM, copied=0.5, letters=6, occurrences=1)
    found = examples(trained, form, 2000, 5)
    assert [one.rule for one in found[:20]] == [*trained, *trained]
    for one in found:
        assert form.shortest <= len(one.string) <= form.longest
        assert one.result == rewrite(one.rule, one.string)
    copied = np.mean([one.result == one.string for one in found])
    # a string that was to be copied may hold the pattern by chance: 7 places of 36 patterns
    assert 0.5 * (1 - 7 / 36) - 0.04 < copied < 0.5 + 0.03


def test_examples_are_flat_arrays_that_learn_the_result_and_its_end() -> None:
    rows = [
        Example(rule=((4, 5), (6, 7)), string=(4, 5, 8), result=(6, 7, 8)),
        Example(rule=((4,), (5,)), string=(9,), result=(9,)),
    ]
    flat = encoded(rows)
    assert flat["ids"].tolist() == [
        *(4, 5, ARROW, 6, 7, BAR, 4, 5, 8, EQUALS, 6, 7, 8, END),
        *(4, ARROW, 5, BAR, 9, EQUALS, 9, END),
    ]
    assert flat["offsets"].tolist() == [0, 14, 22]
    assert flat["weights"].tolist() == [0] * 10 + [1] * 4 + [0] * 6 + [1] * 2
    assert (flat["ids"].dtype, flat["weights"].dtype) == (np.int32, np.float32)


def test_a_model_that_only_copies_follows_no_rule() -> None:
    trained, unseen = rules(FORM, 10, 8, 5)
    for some in (trained, unseen):
        asked, copies = asked_of(some, FORM, 200, 3), copies_of(some, FORM, 200, 3)
        assert len(asked) == 200
        assert all(one.string != one.result for one in asked)
        assert 100 < len(copies) <= 200
        assert all(one.string == one.result for one in copies)


@pytest.mark.parametrize(
    ("y", "at"),
    [
        ([0.0, 0.25, 0.75, 1.0], 40.0),
        ([0.0, 0.5, 0.6, 0.7], 20.0),
        ([0.0, 1.0, 0.0, 1.0], 10 * 2**0.5),
        ([0.0, 0.1, 0.2, 0.3], None),
        ([0.6, 0.7, 0.8, 0.9], None),
    ],
)
def test_where_the_line_first_rises_through_one_half(y: list[float], at: float | None) -> None:
    x = np.asarray([10.0, 20.0, 80.0, 160.0])
    found = crossing(x, np.asarray(y))
    assert found == (None if at is None else pytest.approx(at))


def asked_about(**options: Any) -> Any:
    return question(Section(**options).model_dump(mode="json"))


def test_cells_train_equally_long_whatever_the_rules() -> None:
    asked = asked_about(rules=[400, 50], steps=7, examples=90)
    form = form_of(asked)
    assert form == replace(FORMS["small"], steps=7, examples=90)
    cells = STUDY.cells(asked)
    assert [cell.factors["rules"] for cell in cells] == [50, 400] * 3
    assert {cell.tokens for cell in cells} == {7 * form.tokens_per_batch}
    assert len({cell.name for cell in cells}) == 6
    assert form_of(asked_about(form="full")) == FORMS["full"]


ASKED = [item for suite in (UNSEEN, SEEN, COPIED) for item in items(15, 1, suite)]


def steep(cell: Cell, item: Mapping[str, Any]) -> float:
    """Seen rules are followed, unseen ones from 200 rules on; strings are always copied."""
    if item["suite"] != UNSEEN:
        return 0.97
    return {50: 0.02, 100: 0.25, 200: 0.75, 400: 0.97}[cell.factors["rules"]]


def test_a_steep_rise_reproduces_what_was_published(tmp_path: Path) -> None:
    asked = asked_about(rules=[50, 100, 200, 400])
    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, ASKED, steep))
    assert verdicts(found) == {
        "few rules are not enough": "reproduced",
        "many rules are": "reproduced",
        "more rules help": "reproduced",
    }
    half = found.more["half"]
    assert half["at"] == pytest.approx(100 * 2**0.5, rel=0.05)
    assert half["low"] < half["at"] < half["high"]
    assert found.figures[0]["mark"] == half
    assert "half of the unseen rules are followed from 14" in found.verdict
    assert [row[0] for row in found.tables[0]["rows"]] == [50, 100, 200, 400]
    assert found.tables[0]["rows"][0][-2:] == pytest.approx([0.97, 0.97], abs=0.02)


def test_without_a_rise_no_half_is_named(tmp_path: Path) -> None:
    asked = asked_about(rules=[50, 100])
    made = outcomes(STUDY.cells(asked), tmp_path, ASKED, lambda cell, item: 0.2)
    found = STUDY.findings(asked, made)
    assert found.more == {"half": None}
    assert verdicts(found)["few rules are not enough"] == "the opposite"
    assert "never passes through one half (at most 20%)" in found.verdict


def test_one_level_that_is_left_is_compared_with_nothing(tmp_path: Path) -> None:
    asked = asked_about(rules=[50, 100])

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        return None if cell.factors["rules"] == 100 else steep(cell, item)

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, ASKED, score))
    assert "more rules help" not in verdicts(found)
    assert found.verdict.startswith("Only 50 rules have a result")
