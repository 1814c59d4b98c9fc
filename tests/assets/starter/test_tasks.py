"""The task grammar as a whole: counts, oracles, examples, determinism."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.assets.starter import tasks as starter_tasks
from regimen.assets.starter.lexicon import LANGUAGES, categories, lexicon, triples
from regimen.assets.starter.tasks import catalogue, families
from regimen.assets.starter.tasks.formats import FORMATS, write_answer
from regimen.assets.starter.tasks.operations import OPERATIONS, operations
from regimen.assets.starter.tasks.scenes import Scene
from regimen.assets.starter.tasks.solver import solve
from regimen.records import Task

FINGERPRINT = """
import hashlib, json, sys
from regimen.assets.starter.tasks import catalogue
digest = hashlib.sha256()
for task in catalogue()[::7]:
    parts = [task.name, task.definition, [e.output for e in task.negative]]
    digest.update(json.dumps([*parts, task.generator(3, 2)]).encode())
sys.stdout.write(digest.hexdigest())
"""
"""Digest of definitions, examples and some rows of every seventh task."""
TASKS = st.deferred(lambda: st.sampled_from(catalogue()))
"""Not made where no test asks: the catalogue takes a second."""


def agree(task: Task, seed: int, n: int) -> None:
    """Rows, oracle and second solver say the same."""
    for row in task.generator(seed, n):
        assert list(task.oracle({"input": row["input"]})) == row["output"]
        assert solve(task.tags, task.language, row["input"]) == row["output"][0], task.name


def test_enough_distinct_tasks() -> None:
    tasks = catalogue()
    cells = {(t.tags["operation"], t.tags["object"], t.tags["format"], t.language) for t in tasks}
    assert len(tasks) == len(cells) == len({t.name for t in tasks})
    assert len({(t.tags["operation"], t.tags["object"], t.tags["format"]) for t in tasks}) >= 3000
    by_language = Counter(t.language for t in tasks)
    assert by_language["en"] >= 3000
    assert by_language["fr"] >= 250
    assert by_language["es"] >= 250


def test_families_operations_objects_and_formats() -> None:
    assert 18 <= len(families("en")) <= 22
    assert len(families("fr")) >= 15
    assert len(families("es")) >= 15
    assert len(operations("en")) >= 60
    assert len({t.category for t in catalogue()}) >= 10
    for op in operations("en"):
        forms = {t.tags["format"] for t in catalogue() if t.tags["operation"] == op.name}
        assert len(forms) >= 8, op.name
        assert len(op.objects["en"]) >= 2, op.name


def test_every_task_is_complete() -> None:
    for task in catalogue():
        assert task.licence == "Apache-2.0"
        assert task.source == "starter"
        assert task.instruction_language == task.language
        assert set(task.tags) == {"operation", "object", "format"}
        assert task.tags["format"] in FORMATS
        assert len(task.templates) >= 2
        assert all("{{ input }}" in template.input for template in task.templates)
        assert all(template.language == task.language for template in task.templates)
        assert len({template.input for template in task.templates}) == len(task.templates)
        assert len(task.positive) >= 2
        assert len(task.negative) >= 2
        assert task.avoid.count(".") == 2
        assert all(e.explanation for e in (*task.positive, *task.negative))


def test_every_oracle_agrees_with_the_second_solver() -> None:
    for task in catalogue():
        agree(task, seed=0, n=2)


@pytest.mark.slow
def test_every_oracle_agrees_with_the_second_solver_on_many_rows() -> None:
    for task in catalogue():
        agree(task, seed=1, n=40)


def test_positive_examples_are_right_and_negative_ones_wrong() -> None:
    for task in catalogue():
        for example in task.positive:
            assert task.oracle({"input": example.input}) == (example.output,), task.name
        for example in task.negative:
            assert example.output not in task.oracle({"input": example.input}), task.name
            assert example.output


def test_inputs_and_outputs_are_short_and_varied() -> None:
    for task in catalogue()[::7]:
        rows = task.generator(5, 12)
        assert all(row["output"][0].strip() for row in rows)
        assert max(len(row["input"].split()) for row in rows) <= 25, task.name
        assert max(len(re.findall(r"\w+", row["output"][0])) for row in rows) <= 11, task.name
        assert len({row["input"] for row in rows}) >= 6, task.name


@pytest.mark.parametrize("name", ["first", "repeated", "longest", "value_of", "reverse"])
def test_item_counts_and_answer_positions_vary(name: str) -> None:
    task = next(t for t in catalogue() if t.tags["operation"] == name)
    rows = task.generator(0, 40)
    sizes = {len(re.split(r", |\n", row["input"])) for row in rows}
    assert len(sizes) >= 2
    where = {row["input"].find(row["output"][0]) for row in rows}
    assert name in ("first", "reverse") or len(where) >= 5


def test_third_exists_and_extremes_are_unique() -> None:
    for name in ("third", "longest", "shortest", "largest", "repeated", "only_once"):
        op = OPERATIONS[name]
        for task in (t for t in catalogue() if t.tags["operation"] == name):
            for row in task.generator(2, 4):
                parts = row["input"].split(", ")
                assert len(parts) >= 3
                answer = op.solve(row["input"], Scene(task.language, task.tags["object"]))
                if name in ("longest", "shortest"):
                    assert [len(p) for p in parts].count(len(answer)) == 1


@examples(40)
@given(TASKS, st.integers(0, 2**32))
def test_any_seed_gives_rows_that_both_solvers_agree_on(task: Task, seed: int) -> None:
    agree(task, seed, 2)


@examples(30)
@given(TASKS, st.integers(0, 1000), st.integers(0, 10))
def test_rows_depend_on_the_seed_alone(task: Task, seed: int, n: int) -> None:
    rows = task.generator(seed, n)
    assert rows == task.generator(seed, n)
    assert rows == pickle.loads(pickle.dumps(task)).generator(seed, n)
    assert len(rows) == n


@pytest.mark.slow
def test_another_process_with_another_hash_seed_gives_the_same_tasks() -> None:
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", FINGERPRINT],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    scope: dict[str, str] = {}
    with contextlib.redirect_stdout(io.StringIO()) as here:
        exec(FINGERPRINT, scope)
    assert len(here.getvalue()) == 64
    assert done.stdout == here.getvalue()


def test_formats_refuse_the_other_kind_of_answer() -> None:
    assert write_answer(("a", "b", "c"), "and", "es") == "a, b y c"
    assert write_answer("été", "capitals", "fr") == "ÉTÉ"
    with pytest.raises(ValueError, match="does not take"):
        write_answer("a", "commas", "en")
    with pytest.raises(ValueError, match="does not take"):
        write_answer(("a",), "plain", "en")


def test_formats_of_one_operation_and_object_differ_in_every_answer() -> None:
    """Two formats that gave the same text would be one task under two names."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for task in catalogue():
        key = (task.tags["operation"], task.tags["object"], task.language)
        text = task.positive[0].input
        first = rows.setdefault(key, [text])[0]
        rows[key].append(task.oracle({"input": first})[0])
    assert all(len(set(outputs)) == len(outputs) for _, *outputs in rows.values())


def test_lexicon_sizes_and_disjoint_categories() -> None:
    english = [word for words in categories("en").values() for word in words]
    assert len(categories("en")) >= 16
    assert len(english) == len(set(english)) >= 1200
    assert not any(" " in word for word in english)
    for language in LANGUAGES:
        words = [word for word_list in categories(language).values() for word in word_list]
        assert len(words) == len(set(words)) >= 150
    for column in range(3):
        nouns = [row[column] for rows in triples().values() for row in rows]
        assert len(nouns) == len(set(nouns)) >= 150


def test_spanish_lists_need_no_other_conjunction() -> None:
    """``y`` becomes ``e`` before an i sound; no word that can end a list begins with one."""
    words = [w for ws in categories("es").values() for w in ws]
    words += lexicon("es")["months"] + lexicon("es")["weekdays"]
    assert not [w for w in words if re.match(r"(?i)i|í|y(?![aeou])|hi(?!e)|hí", w)]


def test_readme_counts_match_the_catalogue() -> None:
    text = files(starter_tasks.__package__.rsplit(".", 1)[0]).joinpath("README.md").read_text()
    counts = Counter((t.family, t.language) for t in catalogue())
    assert f"gives {len(catalogue()):,} tasks" in text
    assert f"an operation ({len(OPERATIONS)})" in text
    assert f"format ({len(FORMATS)}:" in text
    assert f"{sum(map(len, categories('en').values())):,} English words" in text
    for family in families("en"):
        row = " | ".join([family, *(str(counts[family, language]) for language in LANGUAGES)])
        assert f"| {row} |" in text
    totals = Counter(t.language for t in catalogue())
    assert f"| total | {' | '.join(str(totals[language]) for language in LANGUAGES)} |" in text


def test_catalogue_is_ordered_by_language_and_family() -> None:
    keys = [
        (LANGUAGES.index(t.language), families(t.language).index(t.family)) for t in catalogue()
    ]
    assert all(a <= b for a, b in pairwise(keys))
    assert catalogue() is catalogue()
