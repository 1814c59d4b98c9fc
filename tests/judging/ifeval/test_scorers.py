"""Strict and loose verdicts, scorers, accuracies: pytest tests/judging/ifeval/test_scorers.py"""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError, MissingExtraError
from regimen.evaluation.metrics import Metrics, require_fields
from regimen.evaluation.runner import evaluate
from regimen.evaluation.systems import ComputedSystem
from regimen.judging.ifeval.scorers import (
    accuracy,
    ifeval_instructions,
    ifeval_instructions_loose,
    ifeval_loose,
    ifeval_strict,
    require_libraries,
    variants,
    verdicts,
)
from regimen.judging.scorers import CONSTRAINTS, SCORERS
from regimen.records import Constraint, Item, Message

NO_COMMA = Constraint(kind="punctuation:no_comma")
QUOTED = Constraint(kind="startend:quotation")
TWO_WORDS = Constraint(
    kind="length_constraints:number_words", arguments={"num_words": 2, "relation": "at least"}
)
METRICS = Metrics(
    primary="ifeval_strict",
    scorers={name: one.score for name, one in SCORERS.items() if one.needs == CONSTRAINTS},
    needs=CONSTRAINTS,
)
REPEAT = Constraint(kind="combination:repeat_prompt")


def item(*constraints: Constraint, said: str = "Say it.") -> Item:
    message = Message(role="user", content=said)
    return Item(suite="ifeval", messages=(message,), references=(), constraints=constraints)


def test_verdicts_are_in_the_order_of_the_constraints() -> None:
    asked = item(NO_COMMA, QUOTED, TWO_WORDS)
    assert verdicts(asked, "a, b") == (False, False, True)
    assert ifeval_strict("a, b", asked) == 0.0
    assert ifeval_instructions("a, b", asked) == pytest.approx(1 / 3)
    assert ifeval_strict('"a b"', asked) == ifeval_instructions('"a b"', asked) == 1.0


def test_loose_forgives_an_opening_an_ending_and_asterisks() -> None:
    asked = item(NO_COMMA, QUOTED)
    for answer in (
        'Sure, here it is:\n"A bee."',
        '"A bee."\nDone, I hope.',
        'Sure, here:\n**"A bee."**\nDone, I hope.',
        '*"A bee."*',
    ):
        assert verdicts(asked, answer) != (True, True)
        assert verdicts(asked, answer, loose=True) == (True, True)
        assert ifeval_strict(answer, asked) == 0.0
        assert ifeval_loose(answer, asked) == ifeval_instructions_loose(answer, asked) == 1.0


def test_there_are_eight_variants() -> None:
    assert variants("a\n*b*\nc") == (
        *("a\n*b*\nc", "*b*\nc", "a\n*b*", "*b*"),
        *("a\nb\nc", "b\nc", "a\nb", "b"),
    )


def test_blank_variants_satisfy_nothing() -> None:
    assert verdicts(item(NO_COMMA), "a, b\nc, d", loose=True) == (False,)
    assert ifeval_loose("", item(NO_COMMA)) == ifeval_instructions("", item(NO_COMMA)) == 0.0


def test_the_last_message_of_the_user_is_what_is_repeated() -> None:
    assert verdicts(item(REPEAT, said="Name a bee."), "name a bee. Maja.") == (True,)


@given(st.text(alphabet='aB ,."*\n', max_size=40))
def test_strict_implies_loose_and_all_implies_each(answer: str) -> None:
    asked = item(NO_COMMA, QUOTED, TWO_WORDS)
    strict, loose = verdicts(asked, answer), verdicts(asked, answer, loose=True)
    assert all(b or not a for a, b in zip(strict, loose, strict=True))
    assert ifeval_strict(answer, asked) <= ifeval_loose(answer, asked)
    assert ifeval_strict(answer, asked) <= ifeval_instructions(answer, asked)
    assert ifeval_instructions(answer, asked) <= ifeval_instructions_loose(answer, asked)


def test_accuracy_of_prompts_and_of_instructions() -> None:
    found = accuracy([(True, True, False), (True,)])
    assert (found.prompt_level, found.instruction_level) == (0.5, 0.75)
    assert (found.prompts, found.instructions) == (2, 4)
    assert accuracy([]).prompt_level == accuracy([]).instruction_level == 0.0


def test_an_item_without_constraints_has_no_verdict() -> None:
    with pytest.raises(EvaluationError) as error:
        ifeval_strict("a", item())
    assert error.value.slug == "item-without-constraints"


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint(kind="fr:change_case:french_capital"),
        Constraint(kind="language:response_language", arguments={"language": "fr"}),
    ],
)
def test_a_missing_library_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, constraint: Constraint
) -> None:
    asked = [item(NO_COMMA), item(NO_COMMA, constraint)]
    require_libraries(asked)
    monkeypatch.setitem(sys.modules, "py3langid", None)
    require_libraries([item(NO_COMMA), item(Constraint(kind="punctuation:no_coma"))])
    with pytest.raises(MissingExtraError):
        require_fields(asked, METRICS)


def test_the_runner_counts_what_cannot_be_checked() -> None:
    wrong = item(replace(TWO_WORDS, arguments={"num_words": 2, "relation": "about"}), said="2")
    result = evaluate(
        [item(NO_COMMA), item(TWO_WORDS, said="3"), wrong],
        {"echo": ComputedSystem(lambda asked: "two words")},
        METRICS,
    )
    block = result.suites["ifeval"]["systems"]["echo"]
    assert block["scorer_errors"] == len(METRICS.scorers) == 4
    (row,) = (row for row in result.rows if row.error)
    assert "bad-constraint" in row.error
    assert "about" in row.error
