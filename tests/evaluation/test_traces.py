"""pytest tests/evaluation/test_traces.py"""

import pytest

from regimen.errors import DataError
from regimen.evaluation.traces import nearest_to_table, overlaps_to_table, trace
from regimen.evaluation.training_rows import read_numbered, read_turns
from regimen.records import Instance, Item, Lineage, Message, Part, Preference
from regimen.tables import instances_to_table, preferences_to_table, write_table


def instance(question, answer, row=0, **more):
    return Instance(
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        ),
        lineage=Lineage(source="own.jsonl", row=row, task="t", template="plain", **more),
    )


def item(question, *references):
    return Item(
        suite="own", messages=(Message(role="user", content=question),), references=references
    )


@pytest.fixture
def files(tmp_path):
    one = [
        instance(f"how many legs has animal {n} in the zoo of town {n}", str(n), n) for n in (1, 2)
    ]
    two = [instance("name the capital of france please", "paris", 9)]
    return {
        name: write_table(tmp_path / name, instances_to_table(rows))
        for name, rows in (("one.parquet", one), ("two.parquet", two))
    }


def test_both_sides_with_lineage_over_several_files(files):
    asked = item("what is the capital of france", "paris", "Paris")
    leak = item("how many legs has animal 2 in the zoo of town 2", "four")
    ticks = []
    found = trace([asked, leak], files, 2, ticks.append)
    first = found.nearest[0]
    assert (first.item_id, first.side, first.rank) == (asked.item_id, "prompt", 1)
    assert (first.row, first.source, first.task, first.template) == (9, "own.jsonl", "t", "plain")
    assert first.text == "name the capital of france please"
    answers = [row for row in found.nearest if row.side == "answer"]
    assert [(row.item_id, row.text, row.similarity) for row in answers] == [
        (asked.item_id, "paris", pytest.approx(1.0))
    ]
    assert found.contaminated(asked.item_id) is False
    assert found.contaminated(leak.item_id) is True
    given_away = instance("how many legs has animal 2 in the zoo of town 2", "2", 2)
    assert found.shared == {leak.item_id: given_away.instance_id}
    assert overlaps_to_table(found).to_pylist() == [
        {"item_id": asked.item_id, "share": 0.0, "contaminated": False, "instance_id": ""},
        {
            "item_id": leak.item_id,
            "share": 1.0,
            "contaminated": True,
            "instance_id": given_away.instance_id,
        },
    ]
    assert found.against == {"files": ["one.parquet", "two.parquet"], "rows": 3}
    assert sum(ticks) == 6
    table = nearest_to_table(found.nearest)
    assert table.num_rows == len(found.nearest)
    assert table.schema.metadata[b"schema_version"] == b"1"


def test_nothing_is_known_without_files_and_nothing_kept_with_k_of_0(files):
    asked = item("what is the capital of france", "paris")
    unknown = trace([asked], {}, 3)
    assert unknown.contaminated(asked.item_id) is None
    assert overlaps_to_table(unknown).num_rows == 0
    kept = trace([asked], files, 0)
    assert kept.nearest == ()
    assert kept.contaminated(asked.item_id) is False
    assert nearest_to_table(()).num_rows == 0


def test_items_without_words_or_references(files):
    found = trace([item("", ""), item("?")], files, 3)
    assert found.nearest == ()
    assert [overlap.contaminated for overlap in found.overlaps.values()] == [False, False]


def test_turns_of_parts_and_rows_by_number(tmp_path):
    parted = Instance(
        messages=(
            Message(role="user", content=(Part(text="one "), Part(text="two"))),
            Message(role="assistant", content="a"),
            Message(role="user", content="three"),
            Message(role="assistant", content="b"),
        )
    )
    rows = [instance(f"q{n}", f"a{n}", n) for n in range(5)]
    path = write_table(tmp_path / "rows.parquet", instances_to_table([*rows, parted]))
    (turns,) = read_turns([path])
    assert turns.users[-1] == ["one two", "three"]
    assert turns.answer_texts[-1] == "a\nb"
    found = read_numbered([path, path], [11, 1, 7])
    assert {number: row["prompt"] for number, row in found.items()} == {
        1: "q1",
        7: "q1",
        11: "one two\nthree",
    }
    assert found[1]["instance_id"] == rows[1].instance_id


def test_a_file_that_is_missing_or_of_another_kind(tmp_path, files):
    with pytest.raises(DataError, match="records-missing"):
        trace([item("a", "b")], {"x": tmp_path / "x.parquet"}, 1)
    other = write_table(tmp_path / "near.parquet", nearest_to_table(()))
    with pytest.raises(DataError, match="records-kind"):
        trace([item("a", "b")], {"near": other}, 1)


def test_pairs_are_training_rows_with_both_answers(files, tmp_path):
    pair = Preference(
        prompt=(
            Message(role="user", content="hello there"),
            Message(role="assistant", content="hi"),
            Message(role="user", content="how many moons has the fourth planet of this system"),
        ),
        chosen=(Message(role="assistant", content="two small ones"),),
        rejected=(Message(role="assistant", content="none at all"),),
        lineage=Lineage(source="pairs.jsonl", row=4),
    )
    files["pairs"] = write_table(tmp_path / "pairs.parquet", preferences_to_table([pair]))
    turns = list(read_turns([files["pairs"]]))
    assert turns[0].users == [[m.text for m in pair.prompt if m.role == "user"]]
    assert turns[0].answers == [["hi", "two small ones", "none at all"]]
    leak = item("how many moons has the fourth planet of this system", "none at all")
    found = trace([leak], files, 1)
    assert found.contaminated(leak.item_id) is True
    assert found.shared == {leak.item_id: pair.instance_id}
    assert found.against == {"files": list(files), "rows": 4}
    assert {(row.side, row.source, row.row) for row in found.nearest} == {
        ("prompt", "pairs.jsonl", 4),
        ("answer", "pairs.jsonl", 4),
    }
