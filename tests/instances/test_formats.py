"""Rows of every format as records or counted failures: pytest tests/instances/test_formats.py."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.errors import DataError
from regimen.instances.format_columns import detect_format
from regimen.instances.formats import Record, read_source
from regimen.instances.readers import RawRow, RowFailure, read_rows
from regimen.instances.row_records import CONVERSIONS
from regimen.instances.turns import Unusable
from regimen.records import Instance, Lineage, Preference, Task, ToolCall

USER, BOT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


def read(path: Path, *rows: Any, **options: Any) -> list[Record]:
    path = path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(read_source(path, **options))


def turns(record: Record) -> list[tuple[str, str]]:
    assert isinstance(record, Instance), record
    return [(message.role, message.text) for message in record.messages]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [USER, BOT]}, [("user", "q"), ("assistant", "a")]),
        ([USER, BOT], [("user", "q"), ("assistant", "a")]),
        (
            {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]},
            [("user", "q"), ("assistant", "a")],
        ),
        (
            {
                "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
                "system": "s",
            },
            [("system", "s"), ("user", "q"), ("assistant", "a")],
        ),
        (
            {"instruction": "i", "input": "x", "output": "o", "history": [["q", "a"]]},
            [("user", "q"), ("assistant", "a"), ("user", "i\n\nx"), ("assistant", "o")],
        ),
        ({"instruction": "i", "input": "", "output": 5}, [("user", "i"), ("assistant", "5")]),
        ({"prompt": "q", "completion": "a"}, [("user", "q"), ("assistant", "a")]),
        ({"prompt": [USER], "completion": [BOT]}, [("user", "q"), ("assistant", "a")]),
    ],
)
def test_formats_become_conversations(
    tmp_path: Path, row: Any, expected: list[tuple[str, str]]
) -> None:
    assert turns(read(tmp_path, row)[0]) == expected


def test_lineage_comes_from_the_source_and_the_row(tmp_path: Path) -> None:
    rows = [
        {"prompt": "q", "completion": "a"},
        {"prompt": "q", "completion": "a", "lang": "fr", "license": "MIT", "category": "qa"},
    ]
    first, second = read(tmp_path, *rows, name="mine", licence="CC0-1.0", language="en", weight=2.0)
    assert isinstance(first, Instance)
    assert isinstance(second, Instance)
    assert first.lineage == Lineage(source="mine", row=1, licence="CC0-1.0", language="en")
    assert second.lineage == Lineage(
        source="mine", row=2, licence="MIT", language="fr", category="qa"
    )
    assert first.weight == 2.0
    assert first.content_id == second.content_id
    assert first.instance_id != second.instance_id


def test_calls_of_tools_and_reasoning_are_typed(tmp_path: Path) -> None:
    call = {"name": "add", "arguments": {"a": 1}}
    typed = ToolCall(name="add", arguments='{"a": 1}')
    spoken = {"from": "human", "value": "q"}
    sharegpt = [
        spoken,
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "a"},
    ]
    outer = {"id": "c1", "type": "function", "function": {**call, "arguments": '{"a": 1}'}}
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [outer], "reasoning_content": "hm"},
        {"role": "tool", "content": {"sum": 2}},
        {"role": "assistant", "content": [{"type": "reasoning", "value": "so"}, "a"], "weight": 0},
    ]
    first = read(tmp_path, {"conversations": sharegpt, "tools": '[{"name": "add"}]'})[0]
    second = read(tmp_path, {"messages": messages})[0]
    assert isinstance(first, Instance)
    assert isinstance(second, Instance)
    assert [m.role for m in first.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert first.messages[0].text == 'Tools:\n[{"name": "add"}]'
    assert first.messages[2].tool_calls == (typed,)
    made = second.messages
    assert made[1].tool_calls == (ToolCall(name="add", arguments='{"a": 1}', id="c1"),)
    assert (made[1].reasoning, made[3].reasoning, made[3].text) == ("hm", "so", "a")
    assert (made[2].text, made[3].weight) == ('{"sum": 2}', 0.0)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "yes", "rejected": "no"},
        {"prompt": [USER | {"content": "q"}], "chosen": "yes", "rejected": "no"},
        {"instruction": "q", "input": "", "chosen": "yes", "rejected": "no"},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "yes"},
            "rejected": {"from": "gpt", "value": "no"},
        },
        {
            "prompt": "q",
            "chosen": [USER, BOT | {"content": "yes"}],
            "rejected": [USER, BOT | {"content": "no"}],
        },
        {
            "prompt": "System: be kind\nUser: Q",  # as a template wrote it
            "chosen": [USER, BOT | {"content": "yes"}],
            "rejected": [USER, BOT | {"content": "no"}],
        },
        {"chosen": [USER, BOT | {"content": "yes"}], "rejected": [USER, BOT | {"content": "no"}]},
        {"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: no"},
    ],
)
def test_preferences_in_every_spelling_are_the_same(tmp_path: Path, row: Any) -> None:
    found = read(tmp_path, row)[0]
    assert isinstance(found, Preference), found
    parts = (found.prompt, found.chosen, found.rejected)
    assert [[(m.role, m.text) for m in part] for part in parts] == [
        [("user", "q")],
        [("assistant", "yes")],
        [("assistant", "no")],
    ]


def test_the_implicit_prompt_ends_before_an_answer(tmp_path: Path) -> None:
    start = [USER, BOT, USER | {"content": "more"}]
    call = BOT | {"content": "", "tool_calls": [{"name": "add", "arguments": "{}"}]}
    used = [call, {"role": "tool", "content": "3"}, BOT]
    row = {"chosen": [*start, *used], "rejected": [*start, BOT | {"content": "other"}]}
    found = read(tmp_path, row)[0]
    assert isinstance(found, Preference)
    assert [len(part) for part in (found.prompt, found.chosen, found.rejected)] == [3, 3, 1]


@pytest.mark.parametrize(
    ("row", "slug"),
    [
        ({"messages": [USER]}, "no_answer"),
        ({"messages": [BOT]}, "no_question"),
        ({"messages": []}, "no_turns"),
        ({"messages": None}, "not_turns"),
        ({"messages": "no json"}, "not_turns"),
        ({"messages": [USER, "a"]}, "not_turns"),
        ({"messages": [USER, {"role": "oracle", "content": "a"}]}, "unknown_role"),
        ({"messages": [USER, {"content": "a"}]}, "unknown_role"),
        ({"messages": [USER, BOT | {"content": {"a": 1}}]}, "content_not_text"),
        ({"messages": [USER, BOT | {"content": [{"type": "image", "url": "x"}]}]},
         "unsupported_part"),
        ({"messages": [USER, BOT | {"tool_calls": [{"arguments": "{}"}]}]}, "bad_tool_call"),
        ({"messages": [USER, BOT | {"weight": -1}]}, "bad_weight"),
        ({"messages": [USER, BOT], "label": False}, "undesirable_answer"),
        ({"messages": [USER, BOT, {"role": "system", "content": "s"}, USER, BOT]},
         "system_not_first"),
        ({"instruction": "i"}, "no_answer"),
        ({"instruction": "i", "output": " \n"}, "no_answer"),
        ({"instruction": "i", "output": ["a", "b"]}, "answer_not_text"),
        ({"instruction": " ", "output": "o"}, "no_question"),
        ({"instruction": {"a": 1}, "output": "o"}, "question_not_text"),
        ({"instruction": "i", "output": "o", "history": ["q"]}, "bad_history"),
        ({"chosen": "a", "rejected": "b"}, "no_prompt"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "equal_answers"),
        ({"prompt": "q", "chosen": "a", "rejected": ""}, "no_answer"),
        ({"chosen": [USER, BOT], "rejected": [USER]}, "no_answer"),
        ({"chosen": [USER, BOT], "rejected": [USER | {"content": "other"}, BOT]},
         "prompts_differ"),
        ({"chosen": [USER, BOT, USER, BOT],
          "rejected": [USER, BOT, USER | {"content": "other"}, BOT]}, "prompts_differ"),
        ({"chosen": [USER, BOT], "rejected": [USER, BOT, USER, BOT]}, "prompts_differ"),
        ({"prompt": "else", "chosen": [USER, BOT], "rejected": [USER, BOT | {"content": "b"}]},
         "prompts_differ"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "margin": -1}, "bad_margin"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, row: Any, slug: str) -> None:
    good = {"chosen": "y", "rejected": "n", "prompt": "q"} if "chosen" in row else {
        "instruction": "i", "output": "o", "messages": [USER, BOT],
    }  # fmt: skip
    name = "preference" if "chosen" in row else "alpaca" if "instruction" in row else "messages"
    found = read(tmp_path, good, row, format=name)
    assert len(found) == 2
    assert isinstance(found[1], RowFailure), found[1]
    assert (found[1].row, found[1].error) == (2, slug)
    assert found[1].got
    assert found[1].fix


def test_what_a_conversation_lost_is_in_its_verdicts(tmp_path: Path) -> None:
    found = read(tmp_path, {"messages": [USER, USER, BOT, BOT | {"content": ""}, USER]})[0]
    assert isinstance(found, Instance)
    assert found.lineage.verdicts == (
        "empty_turn_dropped:1",
        "trailing_user_dropped:1",
        "turns_merged:1",
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "a", "[]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "type", "tool_calls", "name"]),
            inner | st.sampled_from(["user", "assistant", "text"]),
            max_size=4,
        )
    ),
    max_leaves=8,
)


@examples(100)
@given(
    name=st.sampled_from(sorted(CONVERSIONS)),
    row=st.dictionaries(
        st.sampled_from(
            [
                *("messages", "conversations", "instruction", "input", "output", "history"),
                *("prompt", "completion", "chosen", "rejected", "system", "tools", "label"),
            ]
        ),
        json_values,
    ),
)
def test_no_row_whatever_its_values_ends_in_a_traceback(name: str, row: dict[str, Any]) -> None:
    found: tuple[str, str]
    try:
        found = ("record", CONVERSIONS[name](row, Lineage(), 1.0).content_id)
    except Unusable as problem:
        found = (problem.error, problem.fix)
    assert all(found)


def test_a_format_is_told_by_its_columns() -> None:
    assert detect_format({"messages": []}) == "messages"
    assert detect_format({"conversations": []}) == "sharegpt"
    assert detect_format({"instruction": "", "output": "", "prompt": ""}) == "alpaca"
    assert (
        detect_format({"prompt": "", "chosen": "", "rejected": "", "messages": []}) == "preference"
    )
    assert detect_format({"Definition": [], "Instances": []}) == "natural_instructions"
    assert (
        detect_format({"q": 1, "a": 1}, {"prompt": "q", "completion": "a"}) == "prompt_completion"
    )


@pytest.mark.parametrize(
    ("columns", "fix"),
    [
        (("question", "answer"), "{prompt: question, completion: answer}"),
        (("instruction", "Response"), "{output: Response}"),
        (("promt", "completions"), "{prompt: promt, completion: completions}"),
        (("chosen_messages", "rejected_messages"), "{chosen: chosen_messages, rejected: "),
        (("a", "b"), "Give `columns:`"),
        (("x" * 70, "b"), "column names before it"),
    ],
)
def test_unknown_columns_suggest_a_mapping(columns: tuple[str, ...], fix: str) -> None:
    with pytest.raises(DataError) as caught:
        detect_format(dict.fromkeys(columns, ""))
    assert caught.value.slug == "unknown-columns"
    assert fix in caught.value.fix
    assert columns[1] in caught.value.got
    assert "alpaca" in caught.value.expected


def test_columns_rename_and_are_checked(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "a", "prompt": "other"}
    found = read(tmp_path, row, columns={"prompt": "question", "completion": "answer"})
    assert turns(found[0]) == [("user", "q"), ("assistant", "a")]
    with pytest.raises(DataError, match="'question'"):
        read(tmp_path, row, columns={"prompt": "qestion", "completion": "answer"})
    with pytest.raises(DataError, match="'prompt'"):
        read(tmp_path, row, columns={"promp": "question"})
    with pytest.raises(DataError, match=r"needs\.[\s\S]*\{prompt: question"):
        read(tmp_path, {"question": "q", "completion": "a"}, format="prompt_completion")
    with pytest.raises(DataError, match="'alpaca'"):
        read(tmp_path, row, format="alpacca")


def test_limit_counts_failures_too(tmp_path: Path) -> None:
    good = {"prompt": "q", "completion": "a"}
    rows = [good, {"prompt": "q"}, good]
    assert [isinstance(r, RowFailure) for r in read(tmp_path, *rows, limit=2)] == [False, True]
    with pytest.raises(DataError, match="no-usable-rows"):
        read(tmp_path, {"prompt": "", "completion": "a"})


def test_a_directory_of_several_formats(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "q", "completion": "a"}))
    (tmp_path / "b.yaml").write_text("name: t\ninstances:\n  - {input: x, output: y}\n")
    (tmp_path / "c.csv").write_text("x,y\n1,2\n")
    (tmp_path / "d.yml").write_text("name: [\n")
    first, second, third, fourth = read_source(tmp_path, name="mine")
    assert isinstance(first, Instance)
    assert first.lineage.source == "mine/a.jsonl"
    assert isinstance(second, Task)
    assert isinstance(third, RowFailure)
    assert isinstance(fourth, RowFailure)
    assert (third.source, third.row, third.error) == ("c.csv", 0, "unknown_columns")
    assert (fourth.source, fourth.row, fourth.error) == ("d.yml", 0, "task_file")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "kind", "failed"),
    [
        ("stanford-alpaca/alpaca_5000.json.zst", Instance, {"no_answer": 2}),
        ("alpaca-cleaned-1000/alpaca_data_cleaned_1000.json.zst", Instance, {}),
        ("lima/lima.json.zst", Instance, {}),
        ("llama-factory-demos/alpaca_zh_demo.json.zst", Instance, {}),
        ("llama-factory-demos/dpo_en_demo.json.zst", Preference, {}),
        ("llama-factory-demos/glaive_toolcall_en_demo.json.zst", Instance, {}),
        ("llama-factory-demos/reason_tool_use_demo_50.jsonl.zst", Instance, {}),
        ("llama-factory-demos/kto_en_demo.json.zst", Instance, {"undesirable_answer": 150}),
        ("hh-rlhf/harmless-base__test.jsonl.gz", Preference, {"no_answer": 4}),
        ("open-instruct-prefs/preference_sample.jsonl.zst", Preference, {}),
        ("rasbt-instructions/instruction-data-with-preference.json.zst", Preference,
         {"equal_answers": 6}),
        ("nanochat-safety/safety_sft_conversations.jsonl.zst", Instance, {}),
    ],
)  # fmt: skip
def test_real_rows_are_records_or_counted_failures(
    shared_data: Path, file: str, kind: type, failed: dict[str, int]
) -> None:
    rows = list(read_rows(shared_data / file))
    found = list(read_source(shared_data / file))
    assert all(isinstance(row, RawRow) for row in rows)
    assert len(found) == len(rows)
    assert Counter(r.error for r in found if isinstance(r, RowFailure)) == failed
    assert {type(r) for r in found} == {kind, *([RowFailure] if failed else [])}


@pytest.mark.realdata
def test_real_calls_of_tools_are_kept(shared_data: Path) -> None:
    path = shared_data / "llama-factory-demos" / "glaive_toolcall_en_demo.json.zst"
    written = sum(
        turn["from"] == "function_call"
        for row in read_rows(path)
        if isinstance(row, RawRow)
        for turn in row.values["conversations"]
    )
    found = [record for record in read_source(path) if isinstance(record, Instance)]
    assert sum(len(m.tool_calls) for one in found for m in one.messages) == written > 0
