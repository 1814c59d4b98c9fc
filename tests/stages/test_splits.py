"""pytest tests/stages/test_splits.py"""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.curation.ledger import Ledger
from regimen.errors import SettingsError
from regimen.records import Task
from regimen.settings.build import BuildSettings
from regimen.stages.build_items import build_items
from regimen.stages.splits import split_tasks

TASKS = [
    Task(
        name=f"{family}.{op}/{obj}/{form}/{language}",
        family=family,
        language=language,
        tags={"operation": f"{family}.{op}", "object": obj, "format": form},
    )
    for family in ("pick", "count", "order")
    for op in ("a", "b")
    for obj in ("animals", "tools")
    for form in ("plain", "quoted", "label")
    for language in ("en", "es")
]
ROWS = tuple({"input": f"row {n}", "output": str(n)} for n in range(30))


def section(**held_out):
    tasks = held_out.pop("tasks_limit", None)
    return BuildSettings(sources=[{"starter": "tasks"}], held_out=held_out, tasks=tasks)


def names(tasks):
    return {task.name for task in tasks}


@given(st.floats(0.0, 0.4), st.integers(0, 5))
def test_every_task_is_trained_held_out_or_in_the_ledger(tmp_path_factory, share, seed):
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    split = split_tasks(
        TASKS, section(families=["order"], languages=["es"], share=share, max_tasks=5), seed, ledger
    )
    groups = [split.train, *split.suites.values()]
    everything = [task.name for group in groups for task in group]
    assert len(everything) == len(set(everything))
    assert all(task.language == "es" for task in split.suites["unseen_languages"])
    assert all(task.family == "order" for task in split.suites["unseen_families"])
    assert not any(task.language == "es" or task.family == "order" for task in split.train)
    summary = ledger.write()["split"]
    assert summary["in"] == len(TASKS)
    assert summary["kept"] == len(split.train)
    assert all(len(tasks) <= 5 for tasks in split.suites.values())
    train = [set(task.tags.values()) for task in split.train]
    for task in split.suites.get("unseen_compositions", ()):
        for part in task.tags.values():
            assert any(part in parts for parts in train), (task.name, part)


def test_a_limit_on_training_tasks_is_spread_over_families(tmp_path):
    split = split_tasks(TASKS, section(tasks_limit=9), 0, Ledger(tmp_path))
    counts = [sum(t.family == f for t in split.train) for f in ("pick", "count", "order")]
    assert counts == [3, 3, 3]


def test_a_family_that_no_source_has_is_named_with_the_near_one(tmp_path):
    with pytest.raises(SettingsError, match="Did you mean 'order'"):
        split_tasks(TASKS, section(families=["ordr"]), 0, Ledger(tmp_path))


@pytest.mark.parametrize("seed", [0, 1])
def test_fewer_training_tasks_are_among_those_of_more(tmp_path, seed):
    drawn = [
        names(split_tasks(TASKS, section(tasks_limit=n), seed, Ledger(tmp_path / str(n))).train)
        for n in (1, 2, 9, 16, 64)
    ]
    assert [len(some) for some in drawn] == [1, 2, 9, 16, 64]
    assert all(few < many for few, many in pairwise(drawn))


def test_what_is_held_out_keeps_its_own_seed_when_the_builds_changes(tmp_path):
    held = {"families": ["order"], "languages": ["es"], "share": 0.2, "max_tasks": 3}
    tasks = [replace(task, instances=ROWS) for task in TASKS]

    def found(of_build, **of_held_out):
        chosen = section(tasks_limit=4, **held, **of_held_out)
        ledger = Ledger(tmp_path / f"{of_build} {of_held_out}")
        split = split_tasks(tasks, chosen, of_build, ledger)
        items = build_items(
            chosen, split, {task.name: 2 for task in tasks}, of_build, lambda _: "", ledger
        )
        return names(split.train), [one for one in items if one.suite != "validation"]

    (train, items), (other_train, others) = found(1, seed=5), found(2, seed=5)
    assert items == others
    assert {one.suite.removeprefix("unseen_") for one in items} == {
        "compositions", "families", "languages",
    }  # fmt: skip
    assert train != other_train
    assert found(5) == found(5, seed=5)
    assert found(1)[1] != items
