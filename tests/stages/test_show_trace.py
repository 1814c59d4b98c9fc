"""pytest tests/stages/test_show_trace.py"""

import json

import pyarrow as pa
import pytest

from regimen.cli import main
from regimen.curation.ledger import Ledger
from regimen.errors import RunError, SettingsError
from regimen.evaluation.answers import answer_row, answers_to_table
from regimen.evaluation.systems import Answer
from regimen.evaluation.traces import nearest_to_table, overlaps_to_table, trace
from regimen.records import Instance, Item, Lineage, Message, Preference
from regimen.stages.show_trace import show_trace
from regimen.tables import instances_to_table, items_to_table, preferences_to_table, write_table


def instance(question, answer, row):
    messages = (
        Message(role="user", content=question),
        Message(role="assistant", content=answer),
    )
    lineage = Lineage(source="own.jsonl", row=row, task="t", template="plain", verdicts=("ok",))
    return Instance(messages=messages, lineage=lineage)


SEEN = "how many legs has the spider that sits in the corner of the attic"
INSTANCES = [instance(SEEN, "eight", 0), instance("name a colour of the sky", "blue", 1)]
REMOVED = instance("spam spam spam", "spam", 2)
ITEMS = [
    Item(
        suite="own",
        messages=(Message(role="user", content=text),),
        references=(reference,),
        lineage=Lineage(task="legs", language="en"),
    )
    for text, reference in ((SEEN, "eight"), ("name the colour of the sea", "blue"))
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    build, evaluate = run / "build", run / "evaluate"
    instances = write_table(build / "instances.parquet", instances_to_table(INSTANCES))
    write_table(build / "items.parquet", items_to_table(ITEMS))
    pair = Preference(
        prompt=INSTANCES[0].messages[:1],
        chosen=(Message(role="assistant", content="eight"),),
        rejected=(Message(role="assistant", content="six"),),
    )
    write_table(build / "preferences.parquet", preferences_to_table([pair]))
    for stage, name, removed, reason in (
        ("build", "quality", REMOVED, "spam"),
        ("tune", "rendering", INSTANCES[1], "longer_than_max_length"),
    ):
        ledger = Ledger(run / stage / "ledger")
        with ledger.step(name, 3) as step:
            step.remove(removed, reason, "score 0.1")
            step.keep(2)
        ledger.write()
    traces = trace(ITEMS, {"build/instances.parquet": instances}, 2)
    write_table(evaluate / "nearest.parquet", nearest_to_table(traces.nearest))
    write_table(evaluate / "contamination.parquet", overlaps_to_table(traces))
    rows = [
        answer_row(item, system, Answer(text=text), metric="exact", score=score, metrics={})
        for item in ITEMS
        for system, text, score in (("base", "eh\nwhat", 0.0), ("tuned", "eight", 1.0))
    ]
    write_table(evaluate / "answers.parquet", answers_to_table(rows, traces.contaminated))
    said = {"subject": f"{ITEMS[0].item_id}:tuned-base", "judge": "rule", "dimension": "style"}
    judged = pa.Table.from_pylist([{**said, "value": 1.0, "reason": "short"}])
    write_table(evaluate / "judgements.parquet", judged)
    against = {"against": {"files": ["build/instances.parquet"]}}
    text = json.dumps({"suites": {"own": {"contamination": against}}})
    (evaluate / "evaluation.json").write_text(text)
    return run


def shown(run, key, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["show", str(run), "--trace", key, "--json"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    return json.loads(out.splitlines()[-1]), out


def test_an_item_with_answers_and_nearest_rows(run, capsys):
    found, text = shown(run, ITEMS[0].item_id[:9], capsys)
    assert (found["kind"], found["id"], found["suite"]) == ("item", ITEMS[0].item_id, "own")
    assert found["prompt"] == [["user", SEEN]]
    assert [(one["system"], one["score"]) for one in found["answers"]] == [
        ("base", 0.0),
        ("tuned", 1.0),
    ]
    first = found["nearest"][0]
    assert (first["instance_id"], first["row"]) == (INSTANCES[0].instance_id, 0)
    assert found["contamination"]["contaminated"] is True
    assert found["judgements"][0]["reason"] == "short"
    assert "contaminated: 100%" in text
    assert "own.jsonl:0" in text
    assert max(map(len, text.splitlines()[:-1])) <= 100


def test_a_training_row_with_its_items(run, capsys):
    found, text = shown(run, INSTANCES[1].instance_id, capsys)
    assert found["kind"] == "instance"
    assert found["lineage"]["source"] == "own.jsonl"
    assert found["lineage"]["verdicts"] == ["ok"]
    assert {(one["item_id"], one["side"]) for one in found["nearest_to"]} >= {
        (ITEMS[1].item_id, "prompt"),
        (ITEMS[1].item_id, "answer"),
    }
    assert [(one["stage"], one["verdict"], one["step"]) for one in found["ledger"]] == [
        ("build", "kept", "quality"),
        ("tune", "removed", "rendering"),
    ]
    assert "tune: removed by rendering (longer_than_max_length score 0.1)" in text


def test_both_ways_agree(run):
    there = {
        (item.item_id, one["instance_id"], one["side"], one["rank"])
        for item in ITEMS
        for one in show_trace(run, item.item_id)["nearest"]
    }
    back = {
        (one["item_id"], row.instance_id, one["side"], one["rank"])
        for row in INSTANCES
        for one in show_trace(run, row.instance_id)["nearest_to"]
    }
    assert there == back != set()


def test_a_removed_record_and_a_preference(run, capsys):
    found, text = shown(run, REMOVED.instance_id, capsys)
    assert (found["kind"], found["ledger"][0]["reason"]) == ("removed", "spam")
    assert found["messages"][0] == ["user", "spam spam spam"]
    assert "build: removed by quality (spam score 0.1)" in text
    preference = pa.parquet.read_table(run / "build/preferences.parquet").to_pylist()[0]
    pair, text = shown(run, preference["instance_id"], capsys)
    assert [role for role, _ in pair["messages"]] == ["user", "chosen", "rejected"]
    assert "[rejected] six" in text


def test_what_a_judge_judged(run):
    assert show_trace(run, f"{ITEMS[0].item_id}:tuned-base")["id"] == ITEMS[0].item_id


def test_ids_that_are_unknown_or_several(run, tmp_path):
    key = ITEMS[0].item_id
    with pytest.raises(SettingsError, match="trace-unknown") as unknown:
        show_trace(run, key[:-1] + ("0" if key[-1] != "0" else "1"))
    assert key in unknown.value.fix
    with pytest.raises(SettingsError, match="trace-unknown"):
        show_trace(run, ":")
    with pytest.raises(RunError, match="trace-nothing"):
        show_trace(tmp_path, key)


def test_a_beginning_that_several_ids_share(tmp_path):
    rows = [instance(f"question {n}", "yes", n) for n in range(17)]
    write_table(tmp_path / "build/instances.parquet", instances_to_table(rows))
    letters = [row.instance_id[0] for row in rows]
    shared = next(letter for letter in letters if letters.count(letter) > 1)
    with pytest.raises(SettingsError, match="trace-ambiguous") as several:
        show_trace(tmp_path, shared)
    assert rows[letters.index(shared)].instance_id in several.value.fix
