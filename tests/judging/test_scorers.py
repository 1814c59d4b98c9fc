"""The table of scorers: pytest tests/judging/test_scorers.py"""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError
from regimen.judging.scorers import CHOICES, CONSTRAINTS, NOTHING, RULES, SCORERS, scorer_named
from regimen.protocols import Scorer
from regimen.records import Constraint, Item

# What equals published scripts keeps their treatment of other scripts and of normal forms.
OFFICIAL = {"f1_squad", "exact_sni", "rouge_l_sni"}
WORDS = [
    "the",
    "cat",
    "café",
    "٤٢",
    "४२",
    "４２",
    "42",
    "北京",
    "(A)",
    "answer:",
    "שלום",
    "Ünal",
    "ﬁn",
]
CAFE = Constraint(kind="keywords:existence", arguments={"keywords": ["café"]})
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join) | st.text(max_size=20)


def item(*references: str, choices: tuple[str, ...] = ("yes", "no")) -> Item:
    return Item(suite="s", messages=(), references=references, choices=choices, constraints=(CAFE,))


@given(st.sampled_from(sorted(SCORERS)), TEXTS, st.lists(TEXTS, max_size=3))
def test_every_score_is_between_0_and_1(name: str, answer: str, references: list[str]) -> None:
    score = SCORERS[name](answer, item(*references))
    assert isinstance(score, float)
    assert 0 <= score <= 1


@given(st.sampled_from(sorted(RULES)), TEXTS, TEXTS, TEXTS)
def test_more_references_never_lower_a_score(name: str, answer: str, a: str, b: str) -> None:
    rule = RULES[name]
    assert rule(answer, [a, b]) == max(rule(answer, [a]), rule(answer, [b]))


@pytest.mark.parametrize("name", sorted(n for n, s in SCORERS.items() if "references" in s.needs))
def test_without_references_nothing_is_right(name: str) -> None:
    assert SCORERS[name]("1 (A) yes", item()) == 0.0


@given(st.sampled_from(sorted(set(SCORERS) - OFFICIAL)), TEXTS, TEXTS)
def test_normal_forms_are_one_text(name: str, answer: str, reference: str) -> None:
    if name in ("exact", "json_valid"):
        return
    scorer = SCORERS[name]
    forms = [unicodedata.normalize(form, answer) for form in ("NFC", "NFD")]
    assert scorer(forms[0], item(reference)) == scorer(forms[1], item(reference))


@pytest.mark.parametrize("name", sorted({*RULES, "bleu", "chrf"} - {"numeric", "final_numeric"}))
@pytest.mark.parametrize("text", ["a cat", "القطة جلست", "बिल्ली ४२", "猫坐着"])
def test_a_text_of_any_script_equals_itself(name: str, text: str) -> None:
    expected = 0.0 if name == "rouge_l_sni" and not text.isascii() else 1.0
    assert SCORERS[name](text, item(text)) == pytest.approx(expected)


def test_what_each_scorer_needs() -> None:
    assert SCORERS["choice"].needs == CHOICES
    assert {n for n, s in SCORERS.items() if s.needs == CONSTRAINTS} == {
        *("ifeval_strict", "ifeval_loose"),
        *("ifeval_instructions", "ifeval_instructions_loose"),
    }
    assert SCORERS["json_valid"].needs == SCORERS["refuses"].needs == NOTHING
    assert all(SCORERS[name].needs == {"references"} for name in [*RULES, "bleu", "chrf"])
    assert all(isinstance(scorer, Scorer) for scorer in SCORERS.values())


def test_refuses() -> None:
    assert SCORERS["refuses"]("I can't help with that.", item()) == 1.0
    assert SCORERS["refuses"]("Boil it for ten minutes.", item()) == 0.0


def test_scorers_are_found_by_name_and_unknown_names_get_a_hint() -> None:
    assert scorer_named("exact") is SCORERS["exact"]
    with pytest.raises(EvaluationError) as caught:
        scorer_named("rougel")
    assert caught.value.slug == "unknown-scorer"
    assert "rouge_l" in caught.value.fix
