"""AI feedback of a build, end to end: pytest tests/stages/test_feedback.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.built import build_section, card, instances, pairs, steps, write
from regimen.alignment.best_of import kl_of_best
from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.instances.encodings import FormattingSpec
from regimen.instances.scripted import ScriptedGenerator
from regimen.judging.judge import GeneratorJudge
from regimen.judging.votes import VotingJudge
from regimen.protocols import Request
from regimen.records import Instance
from regimen.settings.build import BuildSettings
from regimen.settings.feedback import AiLabelSettings
from regimen.stages.feedback_labels import ai_labels
from regimen.stages.principles import read_principles
from regimen.stages.sampled import Sources


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("prompts.jsonl", *PROMPTS)
    return tmp_path


PROMPTS = (
    {"prompt": "1+1", "references": "2"},
    {"prompt": "2+2", "references": ["4", "four"]},
    {"prompt": "3+3", "references": "6"},
)


def build(*feedback: dict[str, Any]) -> int:
    return build_section({"feedback": list(feedback)})


def feedback_card() -> dict[str, Any]:
    found: dict[str, Any] = card()["feedback"]
    return found


def answered(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "generator": {"scripted": "answers.json"},
        "prompts": "prompts.jsonl",
        **more,
    }


def said(found: list[Instance]) -> list[tuple[str, str]]:
    return [(one.messages[0].text, one.messages[-1].text) for one in found]


def test_the_best_of_several_answers_is_a_demonstration(here: Path) -> None:
    write("answers.json", {"0#1": "2", "0#2": "3", "1#.": "5", "2#1": "", "2#2": "6"})
    best = answered("best_of_n", samples=2, score={"scorer": "exact"}, min_score=1)
    assert build(best) == 0
    assert said(instances()) == [("1+1", "2"), ("3+3", "6")]
    lineage = instances()[0].lineage
    assert (lineage.variant, lineage.generator) == ("best_of_2", "answers.json")
    assert lineage.verdicts == ("scored_by:exact", "score:1")
    found = steps()
    assert found["best-of-n-samples"]["removed"] == {"empty_answer": 1}
    assert found["best-of-n-best"] == {
        "in": 3,
        "kept": 2,
        "removed": {"below_min_score": 1},
        "failed": {},
    }
    told = feedback_card()["best-of-n"]
    assert told["kl"] == kl_of_best(2)
    assert told["mean_score"] == pytest.approx(2 / 5)
    assert told["mean_best_score"] == 1.0
    # a change of the prompts makes the build stale
    write("prompts.jsonl", {"prompt": "9+9", "references": "18"})
    assert build(best) == 1


CRITICISED = {
    ".#1": "first",
    "critique-1-.": "too short",
    "revision-1-0": "Revised answer: a better one",
    "revision-1-1": " first ",
    "revision-1-2": "",
}


def test_answers_are_criticised_and_revised(here: Path) -> None:
    write("answers.json", CRITICISED)
    assert build(answered("constitutional", kinds=["honest"])) == 0
    (pair,) = pairs()
    assert [m[0].text for m in (pair.prompt, pair.chosen, pair.rejected)] == [
        *("1+1", "a better one", "first")
    ]
    assert said(instances()) == [("1+1", "a better one")]
    (drawn,) = pair.lineage.verdicts
    assert drawn.startswith("principle:honest-")
    assert pair.lineage.variant.startswith("constitutional")
    assert steps()["constitutional-revisions"]["removed"] == {"empty_revision": 1, "unchanged": 1}
    assert feedback_card()["constitutional"]["principles"] == {drawn.removeprefix("principle:"): 1}


def test_what_a_revision_is_for_can_be_chosen(here: Path) -> None:
    write("answers.json", CRITICISED)
    assert build(answered("constitutional", makes="demonstrations")) == 0
    assert (len(instances()), pairs()) == (1, [])
    assert build(answered("constitutional", makes="pairs")) == 0
    assert (instances(), len(pairs())) == ([], 1)


def test_a_critic_of_its_own_may_fail_and_is_counted(here: Path) -> None:
    write("answers.json", {".#1": "first"})
    write("critic.json", {"critique-.-.": "hm", "revision-1-.": "second", "revision-2-0": "third"})
    critic = {"scripted": "critic.json"}
    assert build(answered("constitutional", critic=critic, rounds=2)) == 0
    (pair,) = pairs()
    assert pair.chosen[0].text == "third"
    assert pair.lineage.generator == "critic.json"
    assert len(set(pair.lineage.verdicts)) == 2
    assert steps()["constitutional-revisions"]["failed"] == {"not_revised": 2}
    write("critic.json", {"nobody": "asks"})
    assert build(answered("constitutional", critic=critic)) == 1


def test_own_principles_are_read_and_wrong_ones_are_told(here: Path) -> None:
    Path("own.yaml").write_text(
        "principles:\n  - Be brief.\n  - {id: kind, text: Be kind., kind: harmless}\n"
        "demonstrations:\n  - {user: hi, assistant: hello}\n"
    )
    own = read_principles("own.yaml")
    assert [one.id for one in own.principles] == ["1", "kind"]
    assert "Be brief." in own.principles[0].critique_request
    assert own.demonstrations == (("hi", "hello"),)
    assert len(read_principles("own.yaml", ["harmless"]).principles) == 1
    for wrong, expected in (
        ("principles: []", "no list"),
        ("principles: [{id: a}]", "has no text"),
        ("principles: [{text: a, critic: b}]", "Did you mean"),
        ("principles: [a]\ndemonstrations: [{user: hi}]", "no assistant"),
    ):
        Path("own.yaml").write_text(wrong)
        with pytest.raises(DataError, match="cannot be used") as raised:
            read_principles("own.yaml")
        assert expected in raised.value.render()
    with pytest.raises(DataError, match="cannot be used"):
        read_principles("missing.yaml")


def test_the_shipped_principles_are_whole() -> None:
    own = read_principles(None)
    assert {one.kind for one in own.principles} == {"helpful", "honest", "harmless"}
    assert len({one.id for one in own.principles}) == len(own.principles) >= 12
    assert all(one.text and one.critique and one.revision for one in own.principles)
    assert len(own.demonstrations) >= 3


def test_answers_under_principles_are_learnt_without_them(here: Path) -> None:
    write("answers.json", {"0#1": "two", "1#1": "", "2#1": "six"})
    assert build(answered("self_align", demonstrations=1, kinds=["helpful"])) == 0
    found = instances()
    assert said(found) == [("1+1", "two"), ("3+3", "six")]
    assert [len(one.messages) for one in found] == [2, 2]
    assert found[0].lineage.verdicts[0] == "principle:helpful-task"
    assert feedback_card()["self-align"]["demonstrations"] == 1


JUDGE = """
import time


def judge(prompt, a, b):
    if "raise" in prompt:
        raise RuntimeError("cannot judge this")
    if "hang" in prompt:
        time.sleep(60)
    if "end" in prompt:
        raise SystemExit(3)
    if "nonsense" in prompt:
        return 17.0
    if "first" in prompt:
        return 1.0
    return float((len(a) > len(b)) - (len(a) < len(b)))


def broken(prompt, a, b):
    raise KeyError(prompt)
"""


def judged(function: str = "judge", **more: Any) -> dict[str, Any]:
    own = {"function": {"file": "judge.py", "function": function}, "time_limit": 5.0, **more}
    return {"kind": "rlaif", "pairs": "pairs.jsonl", "judge": own}


@pytest.mark.slow
def test_a_judge_that_raises_hangs_or_says_nonsense_is_counted(here: Path) -> None:
    Path("judge.py").write_text(JUDGE)
    asked = ("raise", "hang", "end", "nonsense", "first wins", "longer", "longer again", "equal")
    rows = [
        {"prompt": prompt, "a": "aa", "b": "b" if prompt != "equal" else "aa", "labels": ["a", "b"]}
        for prompt in asked
    ]
    del rows[5]["labels"]
    rows[6]["labels"] = ["a", "a"]
    write("pairs.jsonl", *rows, {"prompt": "no answer"})
    assert build(judged()) == 0
    assert [p.prompt[0].text for p in pairs()] == ["longer", "longer again"]
    assert all(p.chosen[0].text == "aa" and p.margin == 1.0 for p in pairs())
    assert pairs()[0].lineage.verdicts == ("judged_by:judge",)
    found = steps()
    assert found["rlaif-pairs"]["failed"] == {"people-labels": 1}
    assert found["rlaif-labels"] == {
        "in": 8,
        "kept": 2,
        "removed": {"equal_answers": 1, "orders_disagree": 1},
        "failed": {"not_judged": 4},
    }
    reasons = Path("run/build/ledger").glob("*rlaif-labels.failed.jsonl")
    told = "".join(path.read_text() for path in reasons)
    for part in ("cannot judge this", "within 5 seconds", "ended its process", "17.0"):
        assert part in told
    about = feedback_card()["rlaif"]
    assert about["position_consistency"] == pytest.approx(2 / 3)
    assert about["people"]["pairs"] == 7
    assert about["people"]["failed"] == 4
    majority = about["people"]["majority"]
    assert majority["agreement"]["value"] == 1.0, majority


def test_a_judge_that_never_judges_is_an_error(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("judge.py").write_text(JUDGE)
    write("pairs.jsonl", {"prompt": "p", "a": "aa", "b": "b"})
    assert build(judged("broken")) == 1
    assert "[no-labels]" in capsys.readouterr().err
    write("pairs.jsonl", {"prompt": "first", "a": "aa", "b": "b"})
    assert build(judged()) == 1
    assert "[all-ties]" in capsys.readouterr().err


def test_votes_of_a_model_make_soft_labels(here: Path) -> None:
    section = AiLabelSettings.model_validate(
        {
            "kind": "rlaif",
            "sampled": {
                "generator": {"scripted": "answers.json"},
                "prompts": "prompts.jsonl",
                "samples": 3,
            },
            "judge": {"generator": {"scripted": "judge.json", "temperature": 0.5}, "votes": 4},
            "min_margin": 0.6,
        }
    )
    texts = {"1": "gold", "2": "silver", "3": "tin"}

    def verdict(request: Request) -> str:
        """Prefers the better answer; one vote in four is for the one shown first."""
        shown = request.messages[-1].text
        worth = {text: number for number, text in enumerate(("tin", "silver", "gold"))}
        first, second = sorted(worth, key=shown.find)[-2:]
        if request.seed == 3 or worth[first] > worth[second]:
            return "[[A]]"
        return "[[B]]"

    judges = tuple(
        GeneratorJudge(generator=ScriptedGenerator(verdict), temperature=0.5, sample=n)
        for n in range(4)
    )
    ledger = Ledger(here / "ledger")
    made = ai_labels(
        section,
        "rlaif",
        Sources(tasks=(), spec=FormattingSpec(), seed=0),
        ledger,
        ScriptedGenerator(lambda request: texts[request.id[-1]], name="answers"),
        VotingJudge(judges=judges),
    )
    summary = ledger.write()
    assert summary["rlaif-samples"]["kept"] == 9
    assert summary["rlaif-labels"]["in"] == summary["rlaif-labels"]["kept"] == 9
    found = [(p.chosen[0].text, p.rejected[0].text) for p in made.pairs]
    assert found == 3 * [("gold", "silver"), ("gold", "tin"), ("silver", "tin")]
    assert {p.margin for p in made.pairs[:3]} == {0.75}  # (1 + 0.5) / 2
    assert {p.lineage.generator for p in made.pairs} == {"answers"}


@pytest.mark.slow
def test_a_local_model_gives_every_kind_of_feedback(
    text_project: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write("prompts.jsonl", {"prompt": "the a dog"}, {"prompt": "the b cat"})
    write("pairs.jsonl", {"prompt": "the a dog", "a": "sees cats", "b": "the the the"})
    Path("own.yaml").write_text("principles: [cats]")
    Path("score.py").write_text("def longer(answer, item):\n    return len(answer)\n")
    model = {"model": "base", "max_new_tokens": 5, "temperature": 1.0}
    shared = {
        "generator": model,
        "prompts": "prompts.jsonl",
        "keep_cut": True,
    }
    own = {"principles": "own.yaml", "demonstrations": 0}
    score = {"function": {"file": "score.py", "function": "longer"}}
    assert (
        build(
            {"kind": "best_of_n", **shared, "samples": 3, "score": score},
            {"kind": "self_align", **shared, **own},
        )
        == 0
    ), capsys.readouterr().err
    assert {one.lineage.generator for one in instances()} == {"base"}
    judge = {"generator": {"model": "base"}, "probabilities": True, "criteria": ["cats"]}
    labels = {"kind": "rlaif", "pairs": "pairs.jsonl", "judge": judge}
    code = build(labels)
    error = capsys.readouterr().err
    # an untrained model may favour a place; a prompt beyond its context is a failure
    assert code == 0 or "[all-ties]" in error or "[no-labels]" in error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "rlaif", "judge": {"function": {"file": "f", "function": "g"}}}, "has none of"),
        (
            {
                "kind": "rlaif",
                "pairs": "p",
                "judge": {"function": {"file": "f", "function": "g"}, "kind": "pointwise"},
            },
            "rates each answer alone",
        ),
        (
            {"kind": "rlaif", "pairs": "p", "judge": {"generator": {"model": "m"}, "votes": 3}},
            "all votes are the same",
        ),
        (
            {
                "kind": "rlaif",
                "pairs": "p",
                "constitution": True,
                "judge": {"generator": {"model": "m"}, "criteria": ["a"]},
            },
            "has its own",
        ),
        (
            {
                "kind": "best_of_n",
                "generator": {"model": "m", "temperature": 0.0},
                "score": {"scorer": "exact"},
            },
            "all samples of a prompt are the same",
        ),
        ({"kind": "constitutional", "generator": {"scripted": "starter"}}, "instructions"),
    ],
)
def test_settings_that_cannot_work_are_told(change: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BuildSettings.model_validate({"feedback": [change]})


def test_a_build_needs_something_to_build_from() -> None:
    with pytest.raises(ValueError, match="names no raw material"):
        BuildSettings.model_validate({})
