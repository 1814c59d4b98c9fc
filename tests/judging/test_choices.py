"""Options named by writing: pytest tests/judging/test_choices.py"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.options import STYLES
from regimen.judging.choices import choice, chosen, right_choices, unparsed
from regimen.records import Item

CITIES = ("Paris", "London", "New York", "New York City")
LABELS = ("(A)", "(B)", "(C)")


def item(*references: str, choices: tuple[str, ...] = CITIES) -> Item:
    return Item(suite="s", messages=(), references=references, choices=choices)


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("(B)", 1),
        ("B", 1),
        ("b.", 1),
        ("B) London", 1),
        ("B: London", 1),
        ("london", 1),
        ("（Ｂ）", 1),
        ("(2)", 1),
        ("(ii)", 1),
        ("Option B", 1),
        ("It's B", 1),
        ("The answer is (B).", 1),
        ("The answer is B, because (A) is in France.", 1),
        ("The best answer is B: London", 1),
        ("(A) is wrong. So the answer is (C).", 2),
        ("The answer is clear.\nLondon", 1),
        ("I think it is London.", 1),
        ("New York City", 3),
        ("in New York of course", 2),
        ("Paris is in France.\n\nSo: London", 1),
        ("D\n\nParis would be too easy.", 3),
        ("答案是B。", 1),
        ("故选C", 2),
        ("정답은 B입니다", 1),
        ("الإجابة هي (B)", 1),
        ("A", 0),
        ("I say A.", 0),
        ("London or Paris", "several"),
        ("(A) is wrong. (B) is right.", "several"),
        ("A dog is nice", "none"),
        ("I don't know", "none"),
        ("", "none"),
        ("E", "none"),
    ],
)
def test_the_option_that_is_named(answer: str, place: int | str) -> None:
    assert chosen(answer, CITIES) == place
    assert unparsed(answer, item("A")) == isinstance(place, str)


@pytest.mark.parametrize(
    ("answer", "choices", "place"),
    [
        ("3", ("1", "2", "3", "4"), 2),
        ("(B)", ("10", "20"), 1),
        ("No, it is not.", ("Yes", "No"), 1),
        ("invalid", ("valid", "invalid"), 1),
        ("It is invalid.", ("valid", "invalid"), 1),
        ("So the answer is (B).", LABELS, 1),
        ("b)", LABELS, 1),
        ("(D)", LABELS, "none"),
        ("北京", ("上海", "北京"), 1),
        ("我想是北京", ("上海", "北京"), 1),
        ("القاهرة", ("بغداد", "القاهرة"), 1),
        ("cafe\u0301", ("thé", "café"), 1),
        ("same", ("same", "same"), "several"),
        ("anything", (), "none"),
    ],
)
def test_options_of_every_kind(answer: str, choices: tuple[str, ...], place: int | str) -> None:
    assert chosen(answer, choices) == place


@pytest.mark.parametrize("name", sorted(name for name, style in STYLES.items() if style.label))
def test_every_style_of_labels_is_read(name: str) -> None:
    style = STYLES[name]
    for place, city in enumerate(CITIES):
        assert chosen(style.label_at(place), CITIES) == place
        assert chosen(style.line(place, city), CITIES) == place
        assert chosen(f"So the answer is {style.label_at(place)}.", CITIES) == place


def test_references_are_labels_or_texts() -> None:
    assert right_choices(item("(B)", "Paris")) == {0, 1}
    assert choice("London", item("B")) == choice("B", item("London")) == 1
    assert choice("London or Paris", item("B")) == choice("Paris", item("B")) == 0
    assert choice("B", item("Rome")) == choice("B", item()) == 0


@given(st.text(), st.lists(st.text(max_size=5), max_size=5).map(tuple))
def test_every_answer_has_an_option_or_a_reason(answer: str, choices: tuple[str, ...]) -> None:
    found = chosen(answer, choices)
    assert found in ("none", "several") or 0 <= int(found) < len(choices)
    assert chosen(unicodedata.normalize("NFKC", answer), choices) == found


@given(st.lists(st.from_regex(r"[b-h]{3,6}", fullmatch=True), min_size=2, max_size=6, unique=True))
def test_an_option_names_itself(choices: list[str]) -> None:
    for place, text in enumerate(choices):
        assert chosen(f" {text.upper()}. ", choices) == place


@pytest.mark.realdata
@pytest.mark.parametrize("task", ["navigate", "date_understanding", "hyperbaton"])
def test_targets_of_big_bench_hard(shared_data: Path, task: str) -> None:
    rows = json.loads((shared_data / "bbh" / f"{task}.json").read_text(encoding="utf-8"))
    targets = tuple(sorted({row["target"] for row in rows["examples"]}))
    assert len(targets) >= 2
    for row in rows["examples"]:
        asked = item(row["target"], choices=targets)
        assert choice(f"Let us think. So the answer is {row['target']}.", asked) == 1
        assert choice(row["target"], asked) == 1
