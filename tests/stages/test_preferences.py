"""Preferences of a build, end to end: pytest tests/stages/test_preferences.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.built import build_section, card, instances, pairs, steps, write
from regimen.cli import main
from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.instances.scripted import ScriptedGenerator
from regimen.judging.answer_scores import RuleScores
from regimen.protocols import Completion, Request
from regimen.records import Item, Message, Preference
from regimen.settings.preferences import OnPolicySettings
from regimen.stages.on_policy import on_policy_pairs
from regimen.tables import read_table

CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("chats.jsonl", CHAT)
    return tmp_path


def build(*sources: Any, **section: Any) -> int:
    return build_section({**section, "sources": [{"path": "chats.jsonl"}, *sources]})


RANKED = (
    {"prompt": "one", "answers": ["best", "middle", "worst"]},
    {"prompt": "two", "answers": ["same", "same"]},
    {"prompt": "three", "answers": ["alone", " "]},
    {"prompt": "four", "answers": "none"},
)


def test_ranked_answers_become_pairs_and_everything_is_accounted_for(here: Path) -> None:
    source = {"path": write("ranked.jsonl", *RANKED), "name": "ranked", "weight": 2.0}
    assert build(source) == 0
    said = [(p.prompt[0].text, p.chosen[0].text, p.rejected[0].text) for p in pairs()]
    assert said == [
        ("one", "best", "middle"),
        ("one", "best", "worst"),
        ("one", "middle", "worst"),
    ]
    assert {p.weight for p in pairs()} == {2.0}
    found = steps()
    assert found["read-ranked"]["failed"] == {"not_answers": 1}
    step = found["pairs-ranked"]
    assert (step["in"], step["kept"]) == (5, 3)
    assert step["removed"] == {"equal_answers": 1, "no_comparison": 1}
    assert step["changed"] == {"empty_answer_left_out": 1}
    assert card()["pairs"]["pairs"] == 3
    assert "## Preference pairs" in Path("run/build/data_card.md").read_text()


def test_best_answers_become_demonstrations(here: Path) -> None:
    path = write("ranked.jsonl", *RANKED)
    source = {"path": path, "name": "ranked", "preferences_as": "demonstrations"}
    assert build(source) == 0
    assert pairs() == []
    shown = [m.text for one in instances() for m in one.messages]
    assert shown == ["hi", "hello", "one", "best"]
    step = steps()["demonstrations-ranked"]
    assert (step["in"], step["kept"]) == (3, 1)
    assert step["removed"] == {"not_the_best": 1, "shown_already": 1}
    assert build({**source, "preferences_as": "both"}) == 0
    assert (len(pairs()), len(instances())) == (3, 2)


def test_margins_are_kept_and_close_pairs_are_ties(here: Path) -> None:
    rows = [
        {"prompt": f"q{n}", "chosen": "a", "rejected": "b", "score_chosen": n, "score_rejected": 0}
        for n in range(4)
    ]
    source = {"path": write("pairs.jsonl", *rows), "name": "p", "pairs": {"min_margin": 2}}
    assert build(source) == 0
    assert [p.margin for p in pairs()] == [2.0, 3.0]
    assert steps()["read-p"]["removed"] == {"tie": 2}
    assert card()["pairs"]["ties"] == 2


@pytest.mark.parametrize(
    ("rows", "pair"),
    [
        ([{"prompt": "q", "answers": ["a", "b"], "scores": [1, 1]}], {}),
        ([{"prompt": "q", "answers": ["a", "b"], "scores": [1, 2]}], {"min_margin": 2}),
        ([{"prompt": "q", "a": "x", "b": "y", "labels": ["a", "b"]}], {}),
        ([{"prompt": "q", "chosen": "a", "rejected": "b", "margin": 1}], {"min_margin": 2}),
        (
            [
                {
                    "prompt": "q",
                    "chosen": "a",
                    "rejected": "b",
                    "score_chosen": 3,
                    "score_rejected": 3,
                }
            ],
            {},
        ),
    ],
)
def test_all_ties_are_an_error(
    here: Path, capsys: pytest.CaptureFixture[str], rows: Any, pair: Any
) -> None:
    assert build({"path": write("pairs.jsonl", *rows), "pairs": pair}) == 1
    assert "[all-ties]" in capsys.readouterr().err


def test_labels_without_a_second_answer_say_what_is_missing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"q{n}", "completion": "a", "label": bool(n % 2)} for n in range(4)]
    assert build({"path": write("labelled.jsonl", *rows), "format": "labelled"}) == 1
    assert "no_comparison 4" in capsys.readouterr().err


def test_pairs_are_curated_as_instances_are(here: Path) -> None:
    asked = "name the capital of the country that lies west of Germany and north of Spain"
    held = [
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": "P"}]},
        *({"messages": [{"role": "user", "content": f"number {n} of many"},
                        {"role": "assistant", "content": "x"}]} for n in range(9)),
    ]  # fmt: skip
    rows = [
        *({"prompt": one["messages"][0]["content"], "chosen": "P", "rejected": "R"}
          for one in held),
        {"prompt": "fine", "chosen": "a", "rejected": "b"},
        {"prompt": "fine", "chosen": "a", "rejected": "b"},
        {"prompt": "both", "chosen": "a", "rejected": "b"},
        {"prompt": "both", "chosen": "b", "rejected": "a"},
        {"prompt": "long", "chosen": "a" * 99, "rejected": "b"},
    ]  # fmt: skip
    sources = [{"path": write("held.jsonl", *held)}, {"path": write("pairs.jsonl", *rows)}]
    curation = {"max_characters": 99}
    assert build(*sources, held_out={"share": 0.5}, curation=curation, seed=3) == 0
    items = read_table(Path("run/build/items.parquet")).num_rows
    assert items > 0
    found = steps()
    assert found["preferences-leaks"]["removed"] == {"leak_exact": items} or (
        sum(found["preferences-leaks"]["removed"].values()) == items
    )
    assert found["preferences-length"]["removed"] == {"too_long": 1}
    assert found["preferences-contradictory"]["removed"] == {"contradictory": 2}
    assert found["preferences"]["removed"] == {"exact_duplicate": 1}
    assert len(pairs()) == len(held) - items + 1


def test_annotators_agreement_is_in_the_card(here: Path) -> None:
    rows = [
        {"prompt": f"q{n}", "a": "x", "b": "y", "p": 1, "r": 2 if n % 3 == 0 else 1, "s": 1}
        for n in range(12)
    ]
    source = {
        "path": write("votes.jsonl", *rows),
        "name": "votes",
        "format": "compared",
        "pairs": {"annotators": ["p", "r", "s"]},
    }
    assert build(source) == 0
    found = card()["pairs"]["agreement"]["votes"]
    assert found["raters"] == 3
    assert found["unanimous"] == pytest.approx(8 / 12)
    assert "votes: alpha of 3 annotators" in Path("run/build/data_card.md").read_text()


def test_a_source_of_pairs_is_shown_side_by_side(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"path": write("ranked.jsonl", *RANKED), "format": "ranked"}
    assert build(source) == 0
    Path("pairs.yaml").write_text(yaml.safe_dump({"build": {"sources": [source]}}))
    for shown in ("ranked.jsonl", "run/build/preferences.parquet", "pairs.yaml"):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["show", shown, "-n", "1"])
        assert stopped.value.code == 0
        out = capsys.readouterr().out
        assert "│ rejected" in out
        assert "assistant: best" in out
        assert "3 pairs" in out


PROMPTS = (
    {"prompt": "1+1", "references": "2"},
    {"prompt": "2+2", "references": ["4", "four"]},
    {"prompt": "no reference"},
)
ANSWERS = {"0#1": "3", "0#2": "2", "0#3": "", "1#.": "5"}


def on_policy(**more: Any) -> dict[str, Any]:
    return {
        "generator": {"scripted": "answers.json"},
        "prompts": "prompts.jsonl",
        "samples": 3,
        "score": {"scorer": "exact"},
        **more,
    }


def test_own_samples_become_pairs(here: Path) -> None:
    write("prompts.jsonl", *PROMPTS)
    write("answers.json", ANSWERS)
    assert build(preferences={"on_policy": on_policy()}) == 0
    (pair,) = pairs()
    assert [m[0].text for m in (pair.prompt, pair.chosen, pair.rejected)] == ["1+1", "2", "3"]
    assert (pair.margin, pair.lineage.generator) == (1.0, "answers.json")
    assert pair.lineage.verdicts == ("scored_by:exact",)
    found = steps()
    assert found["on-policy-prompts"]["removed"] == {"without_references": 1}
    assert found["on-policy-samples"]["removed"] == {"empty_answer": 1}
    assert found["on-policy-scores"]["in"] == found["on-policy-scores"]["kept"] == 5
    assert found["pairs-on-policy"]["removed"] == {"equal_answers": 1}
    # a change of the prompts makes the build stale
    write("prompts.jsonl", *PROMPTS[1:])
    assert build(preferences={"on_policy": on_policy()}) == 1


def test_a_judge_of_ones_own_scores_samples(here: Path) -> None:
    write("prompts.jsonl", *PROMPTS)
    write("answers.json", {".#1": "short", ".#2": "the longest", ".#3": "middling"})
    Path("judge.py").write_text(
        "def longer(prompt, a, b):\n    return float((len(a) > len(b)) - (len(a) < len(b)))\n"
        "def length(answer, item):\n    return len(answer)\n"
    )
    judged = {"judge": {"function": {"file": "judge.py", "function": "longer"}}}
    rule = {"function": {"file": "judge.py", "function": "length"}}
    for score, margin in ((judged, 2.0), (rule, 6.0)):
        assert build(preferences={"on_policy": on_policy(score=score)}) == 0
        assert [p.chosen[0].text for p in pairs()] == ["the longest"] * 3
        assert {p.rejected[0].text for p in pairs()} == {"short"}
        assert {p.margin for p in pairs()} == {margin}


RULES = """
import time


def rule(answer, item):
    if answer == "raise":
        raise LookupError("no such word")
    if answer == "own":
        class Own(Exception):
            pass
        raise Own("an error of one's own")
    if answer == "hang":
        time.sleep(60)
    if answer == "end":
        raise SystemExit(3)
    if answer == "nan":
        return float("nan")
    if answer == "text":
        return "very good"
    if answer == "nothing":
        return None
    return len(answer)


def same(answer, item):
    return 1.0
"""
BAD = ("raise", "own", "nan", "text", "nothing")


def ruled(function: str = "rule") -> dict[str, Any]:
    return {"function": {"file": "rules.py", "function": function}}


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (BAD, 60.0),
        pytest.param((*BAD, "hang", "end"), 5.0, marks=pytest.mark.slow),
    ],
)
def test_a_rule_that_raises_hangs_or_says_nonsense_is_counted(
    here: Path, said: Sequence[str], limit: float
) -> None:
    """Wherever answers are scored: pairs of own samples, and the best of them (RAFT's rounds)."""
    Path("rules.py").write_text(RULES)
    write("prompts.jsonl", {"prompt": "q"})
    write("answers.json", {f"0#{n}": text for n, text in enumerate(("a", *said, "bb"), start=1)})
    samples = {"samples": len(said) + 2, "score": ruled() | {"time_limit": limit}}
    assert build(preferences={"on_policy": on_policy(**samples)}) == 0
    assert [(p.chosen[0].text, p.rejected[0].text) for p in pairs()] == [("bb", "a")]
    assert steps()["on-policy-scores"]["failed"] == {"not_scored": len(said)}
    (lost,) = Path("run/build/ledger").glob("*on-policy-scores.failed.jsonl")
    told = lost.read_text()
    parts = ["no such word", "an error of one's own", "the score is nan", "very good", "NoneType"]
    parts += ["within 5 seconds", "ended its process"] if "hang" in said else []
    assert [part for part in parts if part not in told] == []
    best = {"kind": "best_of_n", **on_policy(**samples)}
    if "hang" not in said:  # the slow case looks at both
        return
    assert build_section({"feedback": [best]}) == 0
    assert [one.messages[-1].text for one in instances()] == ["bb"]
    assert steps()["best-of-n-scores"]["failed"] == {"not_scored": len(said)}


@pytest.mark.parametrize(
    ("answers", "function", "slug"),
    [
        pytest.param({"0#.": "raise"}, "rule", "no-samples", marks=pytest.mark.slow),
        ({"0#1": "a", "0#2": "b", "0#3": "c"}, "same", "all-ties"),
    ],
)
def test_a_rule_that_never_scores_or_tells_nothing_apart_is_an_error(
    here: Path, capsys: pytest.CaptureFixture[str], answers: Any, function: str, slug: str
) -> None:
    Path("rules.py").write_text(RULES)
    write("prompts.jsonl", {"prompt": "q"})
    write("answers.json", answers)
    best = {"kind": "best_of_n", **on_policy(score=ruled(function))}
    assert build_section({"feedback": [best]}) == 1
    assert f"[{slug}]" in capsys.readouterr().err
    if slug == "all-ties":  # where they are good enough, one is as good as another
        assert build_section({"feedback": [{**best, "min_score": 1.0}]}) == 0


@pytest.mark.parametrize(
    ("answers", "more", "slug"),
    [
        ({".#.": "9"}, {}, "all-ties"),
        ({".#1": "9", ".#2": "8", ".#3": "7"}, {}, "all-ties"),
        ({"0#1": "2", ".#.": "9"}, {"min_margin": 2}, "all-ties"),
        ({"nothing": ""}, {}, "no-samples"),
        ({".#.": " "}, {}, "no-samples"),
        ({".#.": "1"}, {"score": {"scorer": "choice"}}, "no-prompts"),
    ],
)
def test_samples_without_a_preference_are_an_error(
    here: Path, capsys: pytest.CaptureFixture[str], answers: Any, more: Any, slug: str
) -> None:
    write("prompts.jsonl", *PROMPTS)
    write("answers.json", answers)
    assert build(preferences={"on_policy": on_policy(**more)}) == 1
    assert f"[{slug}]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"generator": {"model": "m", "temperature": 0.0}}, "all samples of a prompt are the same"),
        ({"generator": {"scripted": "starter"}}, "instructions"),
        ({"score": {}}, "has none of"),
        ({"score": {"scorer": "exact", "time_limit": 1.0}}, "is for a rule of your own"),
        ({"score": {"scorer": "exact", "judge": {"function": {"file": "a", "function": "b"}}}},
         "exclude each other"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_told(change: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OnPolicySettings.model_validate(on_policy(**change))


def sampled(
    folder: Path,
    answers: Callable[[Request], Any],
    scores: Callable[[str, Item], float],
    **more: Any,
) -> tuple[list[Preference], dict[str, Any]]:
    asked = [
        Item(suite="s", messages=(Message(role="user", content=f"q{n}"),), references=())
        for n in range(3)
    ]
    ledger = Ledger(folder)
    section = OnPolicySettings.model_validate(on_policy(**more))
    try:
        found = on_policy_pairs(
            section, asked, 0, ledger, ScriptedGenerator(answers), RuleScores(scores, "rule")
        )
    finally:
        summary = ledger.write()
    return found, summary


def test_answers_that_were_cut_are_kept_where_that_is_wanted(tmp_path: Path) -> None:
    def answer(request: Request) -> Completion:
        cut = request.id.endswith("1")
        return Completion(
            text="long" if cut else request.id[-1], finish="length" if cut else "stop"
        )

    def score(answer: str, item: Item) -> float:
        return len(answer) + ord(answer[0]) / 1000

    first, summary = sampled(tmp_path / "a", answer, score)
    assert summary["on-policy-samples"]["removed"] == {"cut_at_longest": 3}
    assert {p.chosen[0].text for p in first} == {"3"}
    second, _ = sampled(tmp_path / "b", answer, score, keep_cut=True)
    assert {p.chosen[0].text for p in second} == {"long"}


def test_samples_of_a_prompt_have_seeds_of_their_own(tmp_path: Path) -> None:
    seeds: list[int] = []

    def answer(request: Request) -> str:
        seeds.append(request.seed)
        return request.id

    sampled(tmp_path, answer, lambda text, item: float(text[-1]))
    assert len(set(seeds)) == 9
    again, seeds = seeds, []
    sampled(tmp_path, answer, lambda text, item: float(text[-1]))
    assert seeds == again


@given(st.lists(st.sampled_from(["", "a", "bb", "ccc", "x"]), min_size=9, max_size=9))
def test_every_sample_and_comparison_is_accounted_for(
    tmp_path_factory: Any, texts: Sequence[str]
) -> None:
    given = iter(texts)

    def score(answer: str, item: Item) -> float:
        if answer == "x":
            raise ValueError("no score")
        return len(answer)

    folder = tmp_path_factory.mktemp("ledger")
    with suppress(DataError):
        found, _ = sampled(folder, lambda request: next(given), score)
    summary = json.loads((folder / "summary.json").read_text())
    if not summary.get("pairs-on-policy", {}).get("kept"):
        return
    assert summary["on-policy-samples"]["in"] == 9
    assert summary["on-policy-samples"]["kept"] == summary["on-policy-scores"]["in"]
    assert summary["pairs-on-policy"]["in"] == 3
    assert summary["pairs-on-policy"]["kept"] == len(found) > 0
    for pair in found:
        place = int(pair.prompt[0].text[1])
        own = [len(text) for text in texts[3 * place : 3 * place + 3] if text not in ("", "x")]
        assert len(pair.chosen[0].text) == max(own)
        assert len(pair.rejected[0].text) == min(own)


def test_samples_of_a_local_model_are_stored(
    text_project: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write("chats.jsonl", CHAT)
    write("prompts.jsonl", {"prompt": "the a dog"}, {"prompt": "the b cat"})
    Path("score.py").write_text(
        "def longer(answer, item):\n    return len(answer)\n"
        "def shorter(answer, item):\n    return -len(answer)\n"
    )

    def made(function: str) -> list[Preference]:
        section = on_policy(
            generator={"model": "base", "max_new_tokens": 6, "temperature": 1.5},
            samples=4,
            keep_cut=True,
            score={"function": {"file": "score.py", "function": function}},
        )
        assert build(preferences={"on_policy": section}) == 0, capsys.readouterr().err
        return pairs()

    first = made("longer")
    stored = {one: one.stat().st_mtime_ns for one in Path(".cache/samples").rglob("*.json")}
    assert len(stored) == 8
    assert first
    assert {pair.lineage.generator for pair in first} == {"base"}
    second = made("shorter")
    assert {one: one.stat().st_mtime_ns for one in Path(".cache/samples").rglob("*.json")} == stored
    longest = [len(pair.chosen[0].text) for pair in first]
    assert [len(pair.rejected[0].text) for pair in second] == longest


@pytest.mark.realdata
def test_real_preferences_are_built_and_accounted_for(here: Path, shared_data: Path) -> None:
    annotators = ["annotator1", "annotator2", "annotator3"]
    sources: list[dict[str, Any]] = [
        {"path": str(shared_data / "hh-rlhf/harmless-base__test.jsonl.gz"), "name": "hh"},
        {"path": str(shared_data / "oasst-samples/en_100_tree.jsonl.zst"), "name": "oasst"},
        {
            "path": str(shared_data / "pandalm/testset-v1.json.zst"),
            "name": "pandalm",
            "format": "compared",
            "columns": {"a": "response1", "b": "response2"},
            "pairs": {"annotators": annotators},
        },
        {
            "path": str(shared_data / "llama-factory-demos/oaast_rm_zh.json.zst"),
            "name": "ranked",
            "format": "ranked",
            "columns": {"answers": "output"},
            "pairs": {"choose": "best_worst"},
            "preferences_as": "both",
        },
    ]
    assert build(*sources) == 0
    found = steps()
    read = {name: found[f"read-{name}"]["kept"] for name in ("hh", "oasst", "pandalm", "ranked")}
    assert read == {"hh": 2308, "oasst": 254, "pandalm": 993, "ranked": 775}
    assert found["pairs-pandalm"]["removed"] == {"no_comparison": 54, "tie": 103}
    assert found["pairs-ranked"]["in"] == 775
    assert found["demonstrations-ranked"]["kept"] == found["pairs-ranked"]["kept"]
    said = card()["pairs"]
    assert said["pairs"] == len(pairs()) == sum(said["by_source"].values())
    assert said["margin"]["given"] == said["by_source"]["pandalm"]
    # people prefer longer answers, and shorter ones where a refusal is what is right
    assert 0.4 < said["length"]["longer_chosen"]["value"] < 0.7
