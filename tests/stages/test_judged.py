"""Labels, lists and steps of a build: pytest tests/stages/test_judged.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.built import build_section, card, steps, write
from regimen.evaluation.training_rows import read_numbered, read_turns
from regimen.settings.align import AlignSettings
from regimen.stages.align_rows import learnt_from, left_aside
from regimen.stages.show_trace import show_trace
from regimen.tables import read_table, table_to_labelled, table_to_ranked, table_to_stepwise

LABELLED = (
    {"prompt": "one", "completion": "good", "label": True},
    {"prompt": "one", "completion": "bad", "label": False},
    {"prompt": "two", "completion": "good", "label": True},
    {"prompt": "two", "completion": "good", "label": False},
    {"prompt": "three", "completion": "", "label": True},
    {"prompt": "four", "completion": "fine", "label": True},
    {"prompt": "four", "completion": "fine", "label": True},
    {"prompt": "five", "completion": "what", "label": None},
)
RANKED = (
    {"prompt": "one", "answers": ["best", "middle", "worst"]},
    {"prompt": "two", "answers": ["alone", ""]},
    {"prompt": "three", "answers": ["", " "]},
)
STEPWISE = (
    {"prompt": "1 + 1?", "steps": ["1 + 1 = 2", "So 2."], "labels": [True, True]},
    {"prompt": "1 + 2?", "steps": ["1 + 2 = 4"], "labels": [True, False]},
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A build with records of every kind, in the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("judged"))
        sources = [
            source("labelled", *LABELLED, weight=2.0),
            source("ranked", *RANKED),
            source("stepwise", *STEPWISE, preferences_as="pairs"),
            {"path": write("pairs.jsonl", {"prompt": "q", "chosen": "a", "rejected": "b"})},
        ]
        assert build_section({"sources": sources}) == 0
        for name, step in steps().items():
            lost = sum(step["removed"].values()) + sum(step["failed"].values())
            assert step["in"] == step["kept"] + lost, name
        yield Path("run/build").resolve()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def there(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(built.parents[1])
    return built


def source(kind: str, *rows: Any, **more: Any) -> dict[str, Any]:
    path = write(f"{kind}.jsonl", *rows)
    return {"path": path, "name": kind, "format": kind, "preferences_as": kind} | more


def test_labelled_answers_are_kept_one_by_one(there: Path) -> None:
    found = steps()
    assert found["read-labelled"]["failed"] == {"no_label": 1}
    assert found["answers-labelled"]["removed"] == {"empty_answer": 1}
    assert found["labelled-contradictory"]["removed"] == {"contradictory": 2}
    assert found["labelled"]["removed"] == {"exact_duplicate": 1}
    kept = list(table_to_labelled(read_table(there / "labelled.parquet")))
    assert [(one.prompt[0].text, one.answer[0].text, one.desirable) for one in kept] == [
        ("one", "good", True),
        ("one", "bad", False),
        ("four", "fine", True),
    ]
    assert {one.weight for one in kept} == {2.0}
    assert card()["labelled"] == {"answers": 3, "desirable": 2}
    assert "| labelled | 3 answers, 2 desirable |" in (there / "data_card.md").read_text()


def test_lists_and_steps_are_kept_whole(there: Path) -> None:
    found = steps()
    assert found["answers-ranked"]["removed"] == {"empty_answer": 1}
    assert found["answers-ranked"]["changed"] == {"empty_answer_left_out": 3}
    assert found["read-stepwise"]["failed"] == {"steps_without_labels": 1}
    lists = list(table_to_ranked(read_table(there / "ranked.parquet")))
    assert [one.scores for one in lists] == [(0.0, -1.0, -2.0), (0.0,)]
    (one,) = table_to_stepwise(read_table(there / "stepwise.parquet"))
    assert one.steps == ("1 + 1 = 2", "So 2.")
    assert card()["ranked"] == {"lists": 2, "answers": 4}
    assert card()["stepwise"] == {"answers": 1, "steps": 2}


def test_one_file_is_learnt_from_and_the_others_are_told(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = AlignSettings(method="kto")
    place = learnt_from(section, there)
    assert place == there / "labelled.parquet"
    assert left_aside(section, place) == {"preferences.parquet": 1}
    assert "preferences_as" in capsys.readouterr().out
    assert left_aside(AlignSettings(method="dpo"), there / "preferences.parquet") == {}
    assert left_aside(AlignSettings(method="kto", data=str(place)), place) == {}


def test_the_evaluation_reads_what_was_said_in_each_of_them(there: Path) -> None:
    files = [there / f"{name}.parquet" for name in ("labelled", "ranked", "stepwise")]
    found = [(one.prompt_texts, one.answer_texts) for one in read_turns(files)]
    assert found == [
        (["one", "one", "four"], ["good", "bad", "fine"]),
        (["one", "two"], ["best\nmiddle\nworst", "alone"]),
        (["1 + 1?"], ["1 + 1 = 2\nSo 2."]),
    ]
    assert read_numbered(files, [3])[3]["answer"] == "best\nmiddle\nworst"


def test_ratings_need_to_know_what_is_good(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": "q", "completion": text, "score": n} for n, text in enumerate("abc")]
    assert build_section({"sources": [source("labelled", *rows)]}) == 1
    assert "desirable_from" in capsys.readouterr().err
    section = source("labelled", *rows, pairs={"desirable_from": 1})
    assert build_section({"sources": [section]}) == 0
    kept = table_to_labelled(read_table(Path("run/build") / "labelled.parquet"))
    assert [one.desirable for one in kept] == [False, True, True]
    assert build_section({"sources": [{**section, "preferences_as": "pairs"}]}) == 1
    assert "no answer is labelled" in capsys.readouterr().err


def test_functions_may_yield_judged_records(here: Path) -> None:
    Path("mine.py").write_text(
        "from regimen.records import *\n"
        "ask, said = Message(role='user', content='q'), Message(role='assistant', content='a')\n"
        "def rows():\n"
        "    yield Labelled(prompt=(ask,), answer=(said,), desirable=True)\n"
        "    yield Stepwise(prompt=(ask,), steps=('a',), labels=(1.0,))\n"
        "    yield Ranked(prompt=(ask,), answers=((said,),), scores=(1.0,))\n"
    )
    source = {"function": {"file": "mine.py", "function": "rows"}, "weight": 3.0}
    assert build_section({"sources": [source]}) == 0
    for name in ("labelled", "stepwise", "ranked"):
        assert read_table(Path("run/build") / f"{name}.parquet")["weight"].to_pylist() == [3.0]


def test_what_is_evaluated_leaks_through_any_of_them(here: Path) -> None:
    asked = "name the capital of the country that lies west of Germany and north of Spain"
    write("chats.jsonl", *({"prompt": f"{asked} {n}", "completion": f"{n}"} for n in range(10)))
    leaks = [{"prompt": f"{asked} {n}", "completion": "no", "label": False} for n in range(10)]
    sources = [{"path": "chats.jsonl"}, source("labelled", *leaks)]
    assert build_section({"sources": sources, "held_out": {"share": 0.3}}) == 0
    removed = steps()["labelled-leaks"]["removed"]
    assert sum(removed.values()) > 0
    assert all(reason.startswith("leak") for reason in removed)


@pytest.mark.parametrize(
    ("file", "kind", "roles"),
    [
        ("labelled", "labelled answer", ["user", "assistant"]),
        ("ranked", "ranked list", ["user", *(f"assistant ({n})" for n in ("0", "-1", "-2"))]),
        ("stepwise", "answer in steps", ["user", "step (1)", "step (1)"]),
    ],
)
def test_each_of_them_can_be_traced(there: Path, file: str, kind: str, roles: list[str]) -> None:
    key = read_table(there / f"{file}.parquet")["instance_id"].to_pylist()[0]
    found = show_trace(there.parent, key)
    assert found["kind"] == kind
    assert [role for role, _ in found["messages"]] == roles
    assert found["ledger"][0]["verdict"] == "kept"
