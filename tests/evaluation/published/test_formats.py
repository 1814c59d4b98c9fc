"""Suites in their published formats, made up. pytest tests/evaluation/published/test_formats.py"""

import gzip
import json
from dataclasses import replace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.evaluation.published.bbh import options_in
from regimen.evaluation.published.choosing import chosen, resampled, task_list
from regimen.evaluation.published.formats import (
    FORMATS,
    format_named,
    read_suite,
    suite_inputs,
)
from regimen.evaluation.published.reading import SuiteSpec
from regimen.judging.scorers import scorer_named
from regimen.records import Constraint, Example, Item, Lineage, Message
from regimen.tables import items_to_table, write_table


def lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def read(form, path, **spec):
    return read_suite(SuiteSpec(name="s", path=path, **spec), FORMATS[form])


def sums(count):
    return [
        {"question": f"A hen lays {n} eggs a day. How many in 2 days?",
         "answer": f"In 2 days it is {n} * 2 = <<{n}*2={2 * n}>>{2 * n} eggs.\n#### {2 * n}"}
        for n in range(1, count + 1)
    ]  # fmt: skip


def test_gsm8k_takes_the_number_behind_the_mark(tmp_path):
    lines(tmp_path / "test.jsonl", sums(5))
    lines(tmp_path / "train.jsonl", sums(12)[5:])
    found = read("gsm8k", tmp_path, chain_of_thought=True, shots=1)
    assert [item.references for item in found.items] == [("2",), ("4",), ("6",), ("8",), ("10",)]
    first = found.items[0]
    assert first.demonstrations[0].output == "In 2 days it is 6 * 2 = 12 eggs.\n#### 12"
    assert len(first.demonstrations) == 7
    assert first.messages[0].text.startswith("Solve the problem step by step.")
    assert first.messages[0].text.endswith(f"Question: {first.input}\nAnswer:")
    assert first.messages[0].text.count("Answer:") == 2
    assert (first.lineage.source, first.lineage.row) == ("test.jsonl", 1)
    assert len({item.cluster for item in found.items}) == 5
    plain = read("gsm8k", tmp_path / "test.jsonl")
    assert plain.items[0].messages[0].text == (
        f"Solve the problem. Answer with a number only.\n{first.input}"
    )
    assert plain.items[0].demonstrations[0].output == "12"
    assert suite_inputs(tmp_path / "test.jsonl", FORMATS["gsm8k"])[1].name == "train.jsonl"
    # Training questions are never their own worked examples.
    assert read("gsm8k", tmp_path / "train.jsonl").items[0].demonstrations == ()


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_files_are_read_as_they_are(tmp_path, ending):
    text = "".join(json.dumps(row) + "\n" for row in sums(3)).encode()
    packed = gzip.compress(text) if ending == ".gz" else zstandard.compress(text)
    (tmp_path / f"test.jsonl{ending}").write_bytes(packed)
    assert len(read("gsm8k", tmp_path).items) == 3


def test_rows_that_cannot_be_used_are_counted(tmp_path):
    rows = [*sums(2), {"question": "Why?", "answer": "because"}, {"question": "x"}, 7]
    path = lines(tmp_path / "test.jsonl", rows)
    path.write_text(path.read_text() + '{"question": \n')
    found = read("gsm8k", path)
    assert len(found.items) == 2
    assert found.failed["no_number"] == found.failed["columns_missing"] == 1
    assert found.rows == len(found.items) + sum(found.failed.values()) == 6
    assert found.failures[0].row == 3
    assert found.to_json() == {"rows": 6, "asked": 2, "failed": dict(found.failed)}


LAMPS = {
    "canary": "none",
    "examples": [
        {"input": "Is the lamp on?\nOptions:\n- Yes\n- No", "target": "Yes"},
        {"input": "Which?\nOptions:\n(A) a lamp\n(B) a cup", "target": "(B)"},
        {"input": "Close: ( [", "target": "] )"},
        {"input": "", "target": "x"},
    ],
}
LAMPS_PROMPT = """canary line
-----
Say what the lamp does.

It is a lamp.

Q: Is it lit?
A: Let's think step by step.
It shines. So the answer is Yes.

Q: Close: [ (
A: Let's think step by step.
First the round one.

Then the other. So the answer is ) ].
"""


def test_bbh_has_description_options_and_worked_examples(tmp_path):
    (tmp_path / "lamps.json").write_text(json.dumps(LAMPS))
    (tmp_path / "lamps.txt").write_text(LAMPS_PROMPT)
    (tmp_path / "cups.json").write_text(json.dumps({"examples": LAMPS["examples"][:1]}))
    found = read("bbh", tmp_path)
    assert [item.lineage.task for item in found.items] == ["cups", *["lamps"] * 3]
    assert found.failed == {"no_text": 1}
    first, second, third = found.items[1:]
    assert first.definition == "Say what the lamp does.\n\nIt is a lamp."
    assert [shot.output for shot in first.demonstrations] == ["Yes", ") ]"]
    assert (first.choices, second.choices) == (("Yes", "No"), ("(A)", "(B)"))
    assert third.choices == ()
    assert {item.cluster for item in found.items} == {"cups", "lamps"}
    # A task without its prompt file has neither.
    assert (found.items[0].definition, found.items[0].demonstrations) == ("", ())


def test_bbh_with_steps_is_scored_by_its_final_answer(tmp_path):
    (tmp_path / "lamps.json").write_text(json.dumps(LAMPS))
    (tmp_path / "cot-prompts").mkdir()
    (tmp_path / "cot-prompts" / "lamps.txt").write_text(LAMPS_PROMPT)
    item = read("bbh", tmp_path / "lamps.json", chain_of_thought=True, shots=2).items[2]
    assert item.definition.endswith("the answer and a full stop.")
    steps = item.demonstrations[1].output
    assert steps == "First the round one.\n\nThen the other. So the answer is ) ]."
    assert steps in item.messages[0].text
    score = scorer_named(FORMATS["bbh"].metric)
    assert score("Think. So the answer is ] ).", item) == 1
    assert score("] )", item) == 1
    assert score("So the answer is ) ].", item) == 0


@pytest.mark.parametrize(
    ("text", "target", "found"),
    [
        ("Options:\n(A) x\n(B) y\n(C) z", "(C)", ("(A)", "(B)", "(C)")),
        ("Options:\n- valid\n- invalid ", "invalid", ("valid", "invalid")),
        ("Options:\n(A) x\n(B) y", "(D)", ()),
        ("Options:\n- a\n- a", "a", ()),
        ("(A) x", "(A)", ()),
    ],
)
def test_options_are_those_that_are_listed(text, target, found):
    assert options_in(text, target) == found


def test_ifeval_keeps_constraints_and_languages(tmp_path):
    write = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num": None}]}
    lines(tmp_path / "en_input_data.jsonl", [{"key": 1, "prompt": "Write.", **write}])
    french = {
        "instruction_id_list": ["fr:length:words", "fr:case:upper"],
        "kwargs": [{"n": 3, "m": None}, {}],
    }
    broken = {"instruction_id_list": ["a:b"], "kwargs": []}
    rows = [{"key": 2, "prompt": "Écris.", **french}, {"key": 3, "prompt": "Écris.", **broken}]
    lines(tmp_path / "fr_input_data.jsonl", rows)
    found = read("ifeval", tmp_path)
    assert [item.lineage.language for item in found.items] == ["en", "fr"]
    english, own = found.items
    assert english.constraints == (Constraint(kind="punctuation:no_comma"),)
    assert own.constraints[0] == Constraint(kind="fr:length:words", arguments={"n": 3})
    assert (own.references, own.messages[0].text) == ((), "Écris.")
    assert (own.lineage.category, found.failed) == ("length", {"constraints": 1})
    assert [item.input for item in read("ifeval", tmp_path, languages=("fr",)).items] == ["Écris."]
    with pytest.raises(DataError) as caught:
        read("ifeval", tmp_path, languages=("de",))
    assert (caught.value.slug, caught.value.expected) == ("suite-empty", "en, fr")


def test_mt_bench_turns_and_references(tmp_path):
    rows = [
        {"question_id": 1, "category": "math", "turns": ["1 + 1?", "And 3?"],
         "reference": ["2", "5"]},
        {"question_id": 2, "category": "writing", "turns": ["Write."]},
        {"question_id": 3, "category": "writing", "turns": []},
    ]  # fmt: skip
    lines(tmp_path / "question.jsonl", rows)
    found = read("mt_bench", tmp_path)
    first, second = found.items
    assert (first.input, first.follow_ups, first.references) == ("1 + 1?", ("And 3?",), ("2", "5"))
    assert (second.follow_ups, second.references) == ((), ())
    assert (first.lineage.category, found.failed) == ("math", {"no_turns": 1})
    assert first.cluster != second.cluster
    lines(tmp_path / "other_question.jsonl", rows)
    with pytest.raises(DataError, match="several sets"):
        read("mt_bench", tmp_path)


NATURAL = {
    "Definition": ["Say the opposite."],
    "Categories": ["Words"],
    "Input_language": ["English"],
    "Output_language": ["English"],
    "Instance License": ["MIT"],
    "Positive Examples": [
        {"input": f"in {n}", "output": f"out {n}", "explanation": "."} for n in range(3)
    ],
    "Negative Examples": [],
    "Instances": [{"id": str(n), "input": f"up {n}", "output": ["down", "low"]} for n in range(8)],
}


def test_super_ni_is_asked_as_published(tmp_path):
    for name in ("task1_a", "task2_b", "task3_c"):
        (tmp_path / f"{name}.json").write_text(json.dumps(NATURAL))
    (tmp_path / "test_tasks.list").write_text("task2_b\ntask1_a\ntask1_a\n\n")
    names = task_list(tmp_path / "test_tasks.list")
    found = read("super_ni", tmp_path, shots=2, per_task=3, tasks=names)
    assert [item.lineage.task for item in found.items] == [*["task1_a"] * 3, *["task2_b"] * 3]
    first = found.items[0]
    assert first.messages[0].text == (
        "Definition: Say the opposite.\n\n"
        " Positive Example 1 -\nInput: in 0.\n Output: out 0.\n\n"
        " Positive Example 2 -\nInput: in 1.\n Output: out 1.\n\n"
        "Now complete the following example -\nInput: up 0.\nOutput: "
    )
    assert (first.references, first.lineage.licence) == (("down", "low"), "MIT")
    assert [item.lineage.row for item in found.items[:3]] == [0, 1, 2]
    assert (first.lineage.category, first.cluster) == ("Words", "task1_a")
    drawn = read("super_ni", tmp_path, per_task=3, seed=5, encoding="definition")
    assert len(drawn.items) == 9
    assert {item.lineage.row for item in drawn.items} != {0, 1, 2}
    assert drawn.items[0].messages[0].text.startswith("Say the opposite.\nup ")
    again = read("super_ni", tmp_path, per_task=3, seed=5, encoding="definition")
    assert again.items == drawn.items


def test_an_empty_or_missing_list_of_tasks(tmp_path):
    (tmp_path / "empty.txt").write_text("\n# none\n")
    for name, slug in (("empty.txt", "task-list-empty"), ("emtpy.txt", "file-missing")):
        with pytest.raises(DataError) as caught:
            task_list(tmp_path / name)
        assert caught.value.slug == slug


def test_own_items_in_lines_and_tables(tmp_path):
    rows = [
        {"prompt": "¿Qué día es?", "references": "lunes", "task": "días", "language": "es"},
        {"prompt": "今天星期几？", "references": ["星期一", "周一"], "task": "天",
         "language": "zh"},
        {"definition": "Double it.", "input": "ab", "references": ["abab"], "task": "double",
         "choices": ["abab", "ab"], "demonstrations": [{"input": "c", "output": "cc"}],
         "follow_ups": ["And again?"], "constraints": [{"kind": "k", "arguments": {"n": 1}}]},
        {"messages": [{"role": "system", "content": "Be brief."},
                      {"role": "user", "content": "Hi"}],
         "references": "Hello", "cluster": "greeting", "licence": "MIT"},
        {"prompt": "broken", "references": [{"a": 1}]},
        {"references": ["nothing is asked"]},
        {"messages": [{"role": "robot", "content": "x"}], "references": "y"},
    ]  # fmt: skip
    found = read("items", lines(tmp_path / "mine.jsonl", rows), shots=1)
    spanish, chinese, double, chat = found.items
    assert (spanish.messages[0].text, spanish.lineage.language) == ("¿Qué día es?", "es")
    assert chinese.references == ("星期一", "周一")
    assert double.messages[0].text == "Double it.\nInput: c\nOutput: cc\nInput: ab\nOutput:"
    assert (double.choices, double.follow_ups) == (("abab", "ab"), ("And again?",))
    assert double.constraints[0].arguments == {"n": 1}
    assert [message.role for message in chat.messages] == ["system", "user"]
    assert (chat.cluster, chat.lineage.licence) == ("greeting", "MIT")
    assert found.failed == {"item": 2, "nothing_asked": 1}
    kept = [replace(item, suite="old") for item in found.items]
    apart = replace(spanish, suite="validation")
    write_table(tmp_path / "items.parquet", items_to_table([*kept, apart]))
    assert read("items", tmp_path / "items.parquet").items == found.items


WRONG = [
    ("gsm8k", [{"prompt": "x", "references": ["y"]}], "format: items"),
    ("bbh", sums(1), "format: gsm8k"),
    ("ifeval", [{"question_id": 1, "turns": ["x"]}], "format: mt_bench"),
    ("mt_bench", [{"prompt": "x", "instruction_id_list": [], "kwargs": []}], "format: ifeval"),
    ("super_ni", [{"input": "x", "target": "y"}], "format: bbh"),
    ("items", [{"text": "x"}], "another file"),
]


@pytest.mark.parametrize(("form", "rows", "fix"), WRONG, ids=[one[0] for one in WRONG])
def test_a_file_of_another_format_says_what_was_expected(tmp_path, form, rows, fix):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError) as caught:
        read(form, path)
    assert caught.value.slug == "suite-format"
    assert caught.value.expected
    assert fix in caught.value.fix


def test_missing_empty_and_unusable_files(tmp_path):
    for name, text, slug in (
        ("test.jsonl", "", "file-empty"),
        ("bad.jsonl", json.dumps({"question": "x", "answer": "y"}), "suite-empty"),
        ("test.txt", "text", "file-format"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError) as caught:
            read("gsm8k", tmp_path / name)
        assert caught.value.slug == slug, name
    with pytest.raises(DataError) as caught:
        read("gsm8k", tmp_path / "tset.jsonl")
    assert "test.jsonl" in caught.value.fix
    (tmp_path / "folder").mkdir()
    lines(tmp_path / "folder" / "other.jsonl", sums(1))
    with pytest.raises(DataError) as caught:
        read("gsm8k", tmp_path / "folder")
    assert (caught.value.slug, caught.value.got) == ("suite-files", "other.jsonl")
    with pytest.raises(DataError) as caught:
        format_named("gsm9k")
    assert "gsm8k" in caught.value.fix


def item(task, row):
    return Item(
        suite="s",
        messages=(Message(role="user", content=f"{task} {row}"),),
        references=("x",),
        demonstrations=(Example(input="a", output="b"),),
        lineage=Lineage(task=task, row=row, source="f"),
    )


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 20),
    st.none() | st.integers(0, 9),
)
def test_no_more_than_wanted_in_the_order_of_the_file(sizes, per_task, limit, seed):
    items = [item(f"t{task}", row) for task, size in enumerate(sizes) for row in range(size)]
    spec = SuiteSpec(name="s", path=None, per_task=per_task, limit=limit, seed=seed)
    found = chosen(items, spec)
    most = sum(min(size, per_task or size) for size in sizes)
    assert len(found) == min(most, limit or most)
    places = [items.index(replace(one, cluster="")) for one in found]
    assert places == sorted(set(places))
    assert chosen(items, spec) == found
    tasks = {one.lineage.task for one in found}
    assert {one.cluster for one in found} == (
        tasks if len(tasks) > 1 else {f"f:{one.lineage.row}" for one in found}
    )


def test_clusters_that_are_there_stay():
    kept = replace(item("a", 1), cluster="topic")
    assert [one.cluster for one in resampled([kept, item("b", 2)])] == ["topic", "b"]


def test_the_page_has_the_defaults_of_every_format(repo_root):
    page = (repo_root / "docs" / "evaluation.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| `") and line.count("|") == 8
    ]
    written = {cells[0].strip("`"): cells[2:] for cells in rows}
    assert written == {
        name: [
            f"`{form.metric}`" if form.metric else "a judge's",
            ", ".join(f"`{metric}`" for metric in form.metrics),
            str(form.shots),
            str(form.base_shots),
            str(form.max_new_tokens),
        ]
        for name, form in FORMATS.items()
    }
