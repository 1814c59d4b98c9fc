"""The judge of ``evaluate`` on answers that are there.

pytest tests/stages/test_evaluate_judge.py
"""

import json
from pathlib import Path

import pytest

from regimen.errors import DataError, EvaluationError, SettingsError
from regimen.evaluation.judgements import table_to_judgements
from regimen.evaluation.published.formats import format_named, read_suite
from regimen.evaluation.published.reading import SuiteSpec
from regimen.evaluation.suites import ask_chat
from regimen.evaluation.systems import Answer, GeneratedSystem, answer_items
from regimen.instances.scripted import ScriptedGenerator
from regimen.protocols import Completion
from regimen.records import Item, Lineage, Message
from regimen.reports.judged import read_judged
from regimen.reports.sections.judged import UNMEASURED
from regimen.runs import Run
from regimen.settings.judge import JudgeSettings
from regimen.settings.loading import settings_from
from regimen.stages.evaluate_judge import judge_blocks, judge_inputs
from regimen.tables import read_table

RULES = """
def longer(prompt, a, b, unit=1):
    return max(-1, min(1, (len(a) - len(b)) / unit))

def stars(prompt, answer):
    return min(5, len(answer))
"""


def items(count=24, suite="chat", **more):
    return [
        Item(
            suite=suite,
            messages=(Message(role="user", content=f"{suite} question {n}"),),
            references=(),
            cluster=f"c{n % 12}",
            lineage=Lineage(category=f"k{n % 2}"),
            **more,
        )
        for n in range(count)
    ]


def answers(asked, **texts):
    return {name: [Answer(text=text(n)) for n in range(len(asked))] for name, text in texts.items()}


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rules.py").write_text(RULES)
    run = Run.start(tmp_path / "evaluate", stage="evaluate", key={})

    def judge(asked, given, **section):
        return judge_blocks(JudgeSettings.model_validate(section), run, asked, given)

    return judge


def verdicts(text):
    Path("verdicts.json").write_text(json.dumps({".*": text}))
    return {"scripted": "verdicts.json"}


FUNCTION = {"file": "rules.py", "function": "longer", "arguments": {"unit": 4}}
TWO = {"tuned": lambda n: "a longer answer", "base": lambda n: f"short {n % 3}"}


def test_nothing_is_judged_without_a_judge(tmp_path):
    assert judge_blocks(None, Run.start(tmp_path, stage="evaluate", key={}), [], {}) == {}
    assert judge_inputs(None) == {}


def test_a_function_judges_and_every_verdict_is_stored(blocks, tmp_path):
    asked = items()
    given = answers(asked, **TWO)
    given["base"][3] = Answer(finish="error", error="too long")
    body = blocks(asked, given, function=FUNCTION)
    block = body["judge"]["chat"]["tuned-base"]
    assert block["win_rate"] == 1
    assert block["verdict"] == "better"
    assert (block["unanswered"], block["failed"], block["position_consistency"]) == (1, 0, 1)
    assert set(block["by_category"]) == {"k0", "k1"}
    assert body["judged_by"]["people"] is None
    table = read_table(tmp_path / "evaluate" / "judgements.parquet")
    assert table.num_rows == 2 * 23 + 1
    found = list(table_to_judgements(table))
    assert len(found) == 46
    assert {one.value for one in found} == {1.0, -1.0}
    assert found[0].subject == f"{asked[0].item_id}:tuned-base"
    assert json.dumps(body, allow_nan=False)


def test_a_model_that_favours_the_first_place_makes_ties(blocks):
    asked = items()
    body = blocks(asked, answers(asked, **TWO), generator=verdicts("Fine. [[A]]"))
    block = body["judge"]["chat"]["tuned-base"]
    assert (block["win_rate"], block["ties"], block["first_position"]) == (0.5, 24, 1)
    assert block["verdict"] == "no difference shown"
    one_way = blocks(asked, answers(asked, **TWO), generator=verdicts("[[A]]"), swap=False)
    assert one_way["judge"]["chat"]["tuned-base"]["win_rate"] == 1
    assert one_way["judge"]["chat"]["tuned-base"]["position_consistency"] is None
    assert one_way["judged_by"]["swap"] is False


def test_a_judge_that_says_nothing_is_an_error_and_no_tie(blocks):
    asked = items()
    with pytest.raises(EvaluationError, match="nothing-judged"):
        blocks(asked, answers(asked, **TWO), generator=verdicts("Bananas."))


def test_ratings_are_compared_and_averaged(blocks, tmp_path):
    asked = items()
    body = blocks(
        asked,
        answers(asked, tuned=lambda n: "abcd", base=lambda n: "ab" if n % 4 else "abcd"),
        function={"file": "rules.py", "function": "stars"},
        kind="pointwise",
        scale=[1, 5],
    )
    block = body["judge"]["chat"]["tuned-base"]
    assert block["ratings"]["means"] == {"tuned": 4, "base": 2.5}
    assert block["ratings"]["paired"]["difference"] == pytest.approx(1.5 / 4)
    assert (block["wins"], block["ties"], block["identical"]) == (18, 6, 6)
    assert block["position_consistency"] is None
    rows = read_table(tmp_path / "evaluate" / "judgements.parquet").to_pylist()
    assert {row["dimension"] for row in rows} == {"rating"}
    assert len(rows) == 48


def test_suites_limits_and_names(blocks):
    asked = [*items(10, "one"), *items(30, "two")]
    given = answers(asked, **TWO)
    body = blocks(asked, given, function=FUNCTION, suites=["two"], limit=12)
    assert list(body["judge"]) == ["two"]
    assert body["judged_by"]["items"] == 12
    with pytest.raises(EvaluationError, match="judge-suite"):
        blocks(asked, given, function=FUNCTION, suites=["tow"])
    with pytest.raises(EvaluationError, match="judge-system"):
        blocks(asked, given, function=FUNCTION, pairs=[["tunned", "base"]])


def test_more_than_two_systems_get_strengths_and_difficulty(blocks):
    asked = items(36)
    given = answers(
        asked,
        tuned=lambda n: "x" * (3 + n % 7),
        aligned=lambda n: "x" * (3 + n % 5),
        other=lambda n: "x" * (1 + n % 4),
        base=lambda n: "x" * (2 + n % 3),
    )
    pairs = [["tuned", "base"], ["aligned", "base"], ["other", "base"]]
    body = blocks(asked, given, function=FUNCTION, pairs=pairs)
    assert set(body["judged_by"]["strengths"]["chat"]) == {"tuned", "aligned", "other", "base"}
    assert body["judge"]["chat"]["tuned-base"]["length_controlled"]["difficulty"] is True


QUESTIONS = [
    {
        "question_id": 80 + n,
        "category": "math" if n % 2 else "writing",
        "turns": [f"What is {n} plus {n}?", "Now double that."],
        **({"reference": [str(2 * n), str(4 * n)]} if n % 2 else {}),
    }
    for n in range(24)
]


class Respondent:
    """Answers the second turn rightly, or repeats the first."""

    def __init__(self, name, attentive):
        self.name, self.attentive = name, attentive

    def generate(self, requests):
        for request in requests:
            first = 2 * int(request.messages[0].text.split()[2])
            later = len(request.messages) > 1
            yield request.id, Completion(text=str(first * (1 + (later and self.attentive))))


def verdict_by_last_turn(request):
    """Reads both conversations as they are shown, and checks the second answer."""
    text = request.messages[-1].text
    n = int(text.split("What is ")[1].split()[0])
    said = [int(part.split()[0]) for part in text.split("Assistant: ")[1:]]
    a, b = said[1] == 4 * n, said[3] == 4 * n
    return "They differ. " + ("[[C]]" if a == b else "[[A]]" if a else "[[B]]")


def judged_questions(blocks, monkeypatch, path, respond, judge):
    """Questions from a file, asked of two systems turn by turn, and judged."""
    asked = read_suite(SuiteSpec(name="mt_bench", path=path), format_named("mt_bench")).items
    given = {
        name: answer_items(GeneratedSystem(respond(name), ask_chat), asked)
        for name in ("tuned", "base")
    }
    script = ScriptedGenerator(judge)
    monkeypatch.setattr("regimen.stages.evaluate_judge.make_generator", lambda *_: script)
    return asked, blocks(asked, given, generator={"scripted": "unused.json"})


def test_questions_of_two_turns_end_to_end(blocks, monkeypatch, tmp_path):
    path = tmp_path / "question.jsonl"
    path.write_text("\n".join(map(json.dumps, QUESTIONS)))
    asked, body = judged_questions(
        blocks,
        monkeypatch,
        path,
        lambda name: Respondent(name, name == "tuned"),
        verdict_by_last_turn,
    )
    block = body["judge"]["mt_bench"]["tuned-base"]
    # question 0 doubles 0: both say the same, so they are identical and tie
    assert (block["wins"], block["ties"], block["identical"], block["failed"]) == (23, 1, 1, 0)
    assert (block["verdict"], block["position_consistency"]) == ("better", 1)
    assert set(block["by_category"]) == {"math", "writing"}
    rows = read_table(tmp_path / "evaluate" / "judgements.parquet").to_pylist()
    assert len(rows) == 2 * 23 + 1
    assert {row["item_id"] for row in rows} == {item.item_id for item in asked}


@pytest.mark.realdata
def test_the_published_questions_of_two_turns(blocks, monkeypatch, shared_data):
    name = "fastchat__llm_judge__data__mt_bench__question.jsonl"
    shown = []

    class Counts:
        def __init__(self, name):
            self.name = name

        def generate(self, requests):
            for request in requests:
                yield request.id, Completion(text=f"{self.name} {len(request.messages)}")

    def judge(request):
        shown.append(request.messages[-1].text)
        return "[[A]]" if shown[-1].index("tuned") < shown[-1].index("base 1") else "[[B]]"

    asked, body = judged_questions(
        blocks, monkeypatch, shared_data / "mt-bench" / name, Counts, judge
    )
    block = body["judge"]["mt_bench"]["tuned-base"]
    assert (len(asked), block["n"], block["failed"]) == (80, 80, 0)
    assert len(block["by_category"]) == 8
    assert sum("Turn 2: " in text for text in shown) == 2 * sum(
        len(i.references) == 2 for i in asked
    )
    assert all("tuned 1" in text and "tuned 3" in text and "base 3" in text for text in shown)


def test_agreement_with_people_is_measured_where_they_are_named(blocks):
    asked = items()
    people = [
        {
            "prompt": f"p{n // 2}",
            "a": "x" * (2 + 5 * (n % 2)),
            "b": "xxxx",
            "labels": [["b", "a"][n % 2]] * 2 + [["b", "a", "tie"][n % 3]],
        }
        for n in range(48)
    ]
    Path("people.jsonl").write_text("\n".join(map(json.dumps, people)) + '\n{"prompt": "p"}')
    body = blocks(asked, answers(asked, **TWO), function=FUNCTION, people="people.jsonl")
    found = body["judged_by"]["people"]
    assert found["majority"]["agreement"]["value"] == 1
    assert found["people"]["one_against_others"]["agreement"]["value"] < 1
    assert (found["pairs"], found["unusable_rows"], found["failed"]) == (48, 1, 0)
    assert read_judged(body).people.ceiling is not None
    Path("people.jsonl").write_text("{}")
    with pytest.raises(DataError, match="people-labels"):
        blocks(asked, answers(asked, **TWO), function=FUNCTION, people="people.jsonl")


def test_what_the_judge_reads_makes_the_stage_stale(blocks):
    section = JudgeSettings.model_validate({"function": FUNCTION})
    before = judge_inputs(section)
    Path("rules.py").write_text(RULES + "\n# changed")
    assert judge_inputs(section) != before


def test_a_report_says_when_people_were_not_asked(blocks):
    asked = items()
    body = blocks(asked, answers(asked, **TWO), function=FUNCTION)
    assert read_judged(body).people is None
    assert "not measured" in UNMEASURED


BAD = [
    ({}, "none of"),
    ({"function": FUNCTION, "generator": {"model": "m"}}, "exclude each other"),
    ({"generator": {"scripted": "starter"}}, "no verdicts"),
    ({"function": FUNCTION, "pairs": [["tuned", "tuned"]]}, "with itself"),
    ({"function": FUNCTION, "pairs": [["tuned", "base"], ["tuned", "base"]]}, "a pair twice"),
    ({"function": FUNCTION, "probabilities": True}, "needs a local model"),
    ({"function": FUNCTION, "scale": [5, 5]}, "does not grow"),
    ({"function": FUNCTION, "pairs": [["tuned", "bse"]]}, "Did you mean 'base'"),
]


@pytest.mark.parametrize(("judge", "said"), BAD)
def test_settings_that_no_judge_can_follow(judge, said):
    line = {"tune": {"model": {"path": "m"}, "data": "d"}, "evaluate": {"judge": judge}}
    with pytest.raises(SettingsError) as found:
        settings_from(line)
    assert said in str(found.value)
