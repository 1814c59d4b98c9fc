"""Harmful compliance and over-refusal. Run: pytest tests/evaluation/test_safety.py"""

import json

import pytest

from regimen.errors import EvaluationError
from regimen.evaluation.safety import MINIMUM_PROMPTS, safety, safety_rows
from regimen.evaluation.systems import Answer
from regimen.records import Item, Lineage, Message


def prompts(kind, count=48, topics=12):
    return [
        Item(
            suite=kind,
            messages=(Message(role="user", content=f"{kind} {n}"),),
            references=(),
            cluster=f"topic-{n % topics}",
            lineage=Lineage(category=f"{kind}-{n % 2}"),
        )
        for n in range(count)
    ]


def refuses(answer):
    assert answer.strip(), "an answer without text is not a refusal to judge"
    return answer.startswith("No")


HARMFUL, HARMLESS = prompts("harmful"), prompts("harmless")


def replies(harmful, harmless):
    """Answers by item id; each function gets the number of the prompt."""
    return {
        **{item.item_id: Answer(text=harmful(n)) for n, item in enumerate(HARMFUL)},
        **{item.item_id: Answer(text=harmless(n)) for n, item in enumerate(HARMLESS)},
    }


def measure(answers, **changes):
    return safety(HARMFUL, HARMLESS, answers, refuses, **{"minimum": 40, **changes})


def test_rates_of_both_kinds_and_what_changed():
    answers = {
        "base": replies(lambda n: "Sure" if n % 4 else "No.", lambda n: "Sure"),
        "tuned": replies(lambda n: "No.", lambda n: "Sure" if n % 4 else "No."),
    }
    found = json.loads(json.dumps(measure(answers, seeds=3), allow_nan=False))
    assert list(found) == ["harmful", "harmless", "paired"]
    harmful = found["harmful"]
    assert (harmful["n"], harmful["clusters"], harmful["duplicates"]) == (48, 12, 0)
    base = harmful["systems"]["base"]
    assert base["compliance"]["score"] == pytest.approx(0.75)
    assert base["compliance"]["low"] < 0.75 < base["compliance"]["high"]
    assert (base["refused"], base["empty"], base["failed"]) == (0.25, 0, 0)
    # No tuned answer complies; 12 topics cannot say that none ever would.
    tuned = harmful["systems"]["tuned"]["compliance"]
    assert (tuned["score"], tuned["low"]) == (0, 0)
    assert 0.2 < tuned["high"] < 0.3
    assert found["harmless"]["systems"]["tuned"]["over_refusal"]["score"] == 0.25
    less = found["paired"]["harmful"]["tuned-base"]
    assert less["difference"] == pytest.approx(-0.75)
    assert (less["verdict"], less["seeds"]) == ("better", 3)
    more = found["paired"]["harmless"]["tuned-base"]
    assert more["difference"] == pytest.approx(0.25)
    assert more["verdict"] in ("worse", "no difference shown")


def test_categories_are_given_apart():
    answers = {"base": replies(lambda n: "Sure" if n % 2 else "No.", lambda n: "Sure")}
    cells = measure(answers)["harmful"]["by_category"]
    assert list(cells) == ["harmful-0", "harmful-1"]
    rates = [cell["systems"]["base"]["compliance"]["score"] for cell in cells.values()]
    assert rates == [0.0, 1.0]
    assert [cell["n"] for cell in cells.values()] == [24, 24]


def test_silence_is_neither_refusal_nor_help():
    answers = {"base": replies(lambda n: " \n" if n < 12 else "Sure", lambda n: "")}
    found = measure(answers)
    base = found["harmful"]["systems"]["base"]
    assert base["compliance"]["score"] == pytest.approx(0.75)
    assert (base["refused"], base["empty"]) == (0, 0.25)
    silent = found["harmless"]["systems"]["base"]
    assert (silent["over_refusal"]["score"], silent["empty"]) == (0, 1.0)


def test_failed_and_missing_answers_are_counted_apart():
    given = replies(lambda n: "Sure", lambda n: "Sure")
    given[HARMFUL[0].item_id] = Answer(finish="error", error="time-out")
    del given[HARMFUL[1].item_id]
    base = measure({"base": given})["harmful"]["systems"]["base"]
    assert base["failed"] == pytest.approx(2 / 48)
    assert base["compliance"]["score"] == pytest.approx(46 / 48)
    rows = safety_rows("harmful", HARMFUL, {"base": given}, refuses)
    assert len(rows) == 48
    assert [row.error for row in rows[:3]] == ["time-out", "no answer came back", ""]
    with pytest.raises(EvaluationError) as caught:
        measure({"base": {}})
    assert caught.value.slug == "nothing-answered"


def test_rows_score_what_each_kind_asks_for():
    given = {"base": replies(lambda n: "No." if n % 2 else "Sure", lambda n: "No." * (n % 2))}
    harmful = safety_rows("harmful", HARMFUL, given, refuses)
    assert [row.score for row in harmful[:2]] == [0, 1]
    assert harmful[1].metrics == {"refused": 1.0, "empty": 0.0}
    harmless = safety_rows("harmless", HARMLESS, given, refuses)
    assert [row.score for row in harmless[:2]] == [0, 0]
    assert harmless[0].metrics == {"refused": 0.0, "empty": 1.0}
    assert harmless[0].category == "harmless-0"


def test_too_few_prompts_are_an_error():
    answers = {"base": replies(lambda n: "No.", lambda n: "Sure")}
    with pytest.raises(EvaluationError) as caught:
        safety(HARMFUL, HARMLESS, answers, refuses)
    assert caught.value.slug == "too-few-safety-prompts"
    assert str(MINIMUM_PROMPTS) in caught.value.expected
    assert MINIMUM_PROMPTS == 400
    with pytest.raises(EvaluationError) as caught:
        safety(HARMFUL, [], answers, refuses, minimum=0)
    assert "harmless" in caught.value.what
    # Repeats do not make up the number.
    with pytest.raises(EvaluationError):
        safety(HARMFUL * 9, HARMLESS * 9, answers, refuses)
    assert (
        safety(HARMFUL * 2, HARMLESS, answers, refuses, minimum=48)["harmful"]["duplicates"] == 48
    )
