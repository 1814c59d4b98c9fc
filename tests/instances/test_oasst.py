"""Trees of messages: pytest tests/instances/test_oasst.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regimen.instances.answer_sets import AnswerSet, PairRule, pairs_of
from regimen.instances.formats import Record, read_source
from regimen.instances.readers import RawRow, RowFailure, read_rows


def message(name: str, role: str, text: str, *replies: Any, **more: Any) -> dict[str, Any]:
    return {"message_id": name, "role": role, "text": text, "replies": list(replies), **more}


def tree() -> dict[str, Any]:
    follow = message(
        *("f", "prompter", "and then?"),
        message("f1", "assistant", "so", rank=0),
        message("f2", "assistant", "gone", rank=1, deleted=True),
    )
    return message(
        *("root", "prompter", "why?"),
        message("a", "assistant", "worse", rank=1),
        message("b", "assistant", "best", follow, rank=0, model_name="m"),
        message("c", "assistant", "nobody looked", rank=None),
        lang="en",
    )


def rows_of(root: dict[str, Any], parent: str | None = None) -> Iterator[dict[str, Any]]:
    yield {**{k: v for k, v in root.items() if k != "replies"}, "parent_id": parent}
    for one in root["replies"]:
        yield from rows_of(one, root["message_id"])


def read(folder: Path, *rows: Any, **options: Any) -> list[Record]:
    file = folder / "trees.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return list(read_source(file, **options))


def said(found: list[Record]) -> list[tuple[list[str], list[tuple[str, float | None]]]]:
    return [
        ([m.text for m in one.prompt], [(a.turns[0].text, a.score) for a in one.answers])
        for one in found
        if isinstance(one, AnswerSet)
    ]


EXPECTED = [
    (["why?"], [("worse", -1.0), ("best", 0.0), ("nobody looked", None)]),
    (["why?", "best", "and then?"], [("so", 0.0), ("gone", None)]),
]


def test_siblings_are_sets_in_every_spelling_of_a_tree(tmp_path: Path) -> None:
    exported = {"message_tree_id": "root", "tree_state": "ready", "prompt": tree()}
    for rows in ([exported], [{**tree(), "parent_id": None}], list(rows_of(tree()))):
        assert said(read(tmp_path, *rows)) == EXPECTED, rows
    renamed = [{"body": row.pop("text"), **row} for row in rows_of(tree())]
    found = read(tmp_path, *renamed, format="oasst", columns={"text": "body"})
    assert said(found) == EXPECTED


def test_the_better_rank_is_chosen(tmp_path: Path) -> None:
    first, second = read(tmp_path, {**tree(), "parent_id": None})
    assert isinstance(first, AnswerSet)
    assert isinstance(second, AnswerSet)
    (pair,) = pairs_of(first, PairRule()).kept
    assert (pair.chosen[0].text, pair.rejected[0].text, pair.margin) == ("best", "worse", None)
    assert (pair.lineage.generator, pair.lineage.language) == ("m", "en")
    assert pairs_of(second, PairRule()).dropped[0].reason == "no_comparison"


def test_messages_that_belong_to_no_tree_are_failures(tmp_path: Path) -> None:
    rows = [
        *rows_of(tree()),
        {"message_id": "x", "parent_id": "nowhere", "role": "assistant", "text": "x"},
        {"message_id": "y", "parent_id": "x", "role": "prompter", "text": "y"},
        {"message_id": "r1", "parent_id": "r2", "role": "prompter", "text": "r"},
        {"message_id": "r2", "parent_id": "r1", "role": "assistant", "text": "r"},
        {"message_id": "a", "parent_id": "root", "role": "assistant", "text": "again"},
    ]
    found = read(tmp_path, *rows)
    failed = {(one.row, one.error) for one in found if isinstance(one, RowFailure)}
    first = len(list(rows_of(tree())))
    assert failed == {
        *((first + n, "parent_missing") for n in range(1, 5)),
        (first + 5, "message_twice"),
    }
    assert said(found) == EXPECTED


@pytest.mark.parametrize(
    "broken",
    [
        message("r", "prompter", "q"),
        message("r", "prompter", "q", message("a", "prompter", "q")),
        message("r", "prompter", "q", message("a", "oracle", "a")),
        message("r", "prompter", "q", "a"),
        {**message("r", "prompter", "q"), "replies": "none"},
        message("r", "prompter", None, message("a", "assistant", "a")),  # type: ignore[arg-type]
    ],
)
def test_a_broken_tree_is_a_failure(tmp_path: Path, broken: dict[str, Any]) -> None:
    found = read(tmp_path, {**tree(), "parent_id": None}, broken)
    assert isinstance(found[-1], RowFailure)
    assert (found[-1].row, found[-1].error in {"bad_tree", "no_answer"}) == (2, True)
    assert len(found) == 3


@pytest.mark.realdata
def test_pairs_of_real_trees_follow_the_ranks(shared_data: Path) -> None:
    file = shared_data / "oasst-samples/en_100_tree.jsonl.zst"
    pairs = 0

    def walk(message: dict[str, Any]) -> int:
        ranks = [r["rank"] for r in message["replies"] if r.get("rank") is not None]
        own = len(ranks) * (len(ranks) - 1) // 2 if message["role"] == "prompter" else 0
        return own + sum(map(walk, message["replies"]))

    for row in read_rows(file):
        assert isinstance(row, RawRow)
        pairs += walk(row.values["prompt"])
    found = list(read_source(file))
    assert all(isinstance(one, AnswerSet) for one in found)
    made = [pairs_of(one, PairRule()) for one in found if isinstance(one, AnswerSet)]
    assert sum(len(one.kept) for one in made) == pairs > 700
    other = list(read_source(shared_data / "oasst-samples/en_100_message.jsonl.zst"))
    assert said(other) == said(found)
