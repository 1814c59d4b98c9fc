"""Licences of an instance and its parents: pytest tests/instances/test_lineage.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.evaluation_items import task_items
from regimen.instances.formatting import FormattingSpec, task_instances
from regimen.instances.licences import restriction, strictest
from regimen.instances.lineage import task_lineage
from regimen.records import Instance, Task, Template

KNOWN = (
    "CC0-1.0",
    "MIT",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC-BY-ND-4.0",
    "CC-BY-NC-4.0",
    "house rules",
)


def licence(task: str = "", template: str = "", *rows: Any) -> str:
    template_of = Template(name="x", input="x", tags={"licence": template})
    first, *parents = [{"licence": row} for row in rows or ("",)]
    return task_lineage(
        Task(name="t", licence=task), 0, first, 0, template=template_of, parents=parents
    ).licence


@pytest.mark.parametrize(
    ("task", "template", "rows", "expected"),
    [
        ("MIT", "", [""], "MIT"),
        ("MIT", "", ["CC-BY-NC-4.0"], "CC-BY-NC-4.0"),
        ("CC-BY-NC-4.0", "MIT", ["CC0-1.0"], "CC-BY-NC-4.0"),
        ("", "MIT", [""], ""),
        ("", "MIT", ["CC0-1.0"], "MIT"),
        ("", "", ["MIT", ""], ""),
        ("MIT", "", ["", "GPL-3.0"], "GPL-3.0"),
        ("MIT", "", [["CC0-1.0", "CC-BY-NC-4.0"]], "CC-BY-NC-4.0"),
        ("", "", [float("nan")], ""),
        ("MIT", "", [None], "MIT"),
        ("", "", ["  "], ""),
        ("MIT", "house rules", [""], "house rules"),
    ],
)  # fmt: skip
def test_the_strictest_parent(task: str, template: str, rows: list[Any], expected: str) -> None:
    assert licence(task, template, *rows) == expected


@given(st.lists(st.sampled_from(["", *KNOWN]), min_size=1, max_size=5), st.sampled_from(KNOWN))
def test_no_parent_is_stricter_than_the_whole(rows: list[str], task: str) -> None:
    whole = licence(task, "", *rows)
    assert all(restriction(one) <= restriction(whole) for one in [*rows, task] if one)
    assert whole in [*rows, task]


@pytest.mark.parametrize(
    ("said", "rank"),
    [
        ("MIT AND CC-BY-NC-4.0", 4),
        ("MIT and CC-BY-NC-4.0", 4),
        ("CC BY 4.0; CC BY-NC 4.0", 4),
        ("(MIT AND GPL-3.0)", 2),
        ("MIT; see the authors", 5),
        ("CC BY-SA 4.0", 2),
        ("Apache License 2.0", 1),
        ("", 5),
    ],
)
def test_of_several_licences_the_strictest_counts(said: str, rank: int) -> None:
    assert restriction(said) == rank


def test_the_order_of_the_parents_does_not_matter() -> None:
    assert strictest(KNOWN) == strictest(reversed(KNOWN)) == "house rules"
    assert strictest(["MIT", "BSD-3-Clause"]) == "BSD-3-Clause"


def test_rows_that_are_shown_are_parents_of_instances_and_items() -> None:
    free, bound = {"licence": "MIT"}, {"licence": "CC-BY-NC-4.0"}
    task = Task(
        name="t",
        definition="d",
        licence="CC0-1.0",
        instances=(
            {"input": "a", "output": "x", **free},
            {"input": "b", "output": "y", **bound},
        ),
    )
    spec = FormattingSpec(positive=1, demonstrations="rows")
    found = list(task_instances([task], spec, 9, 0, lambda jobs: []))
    assert [one.lineage.licence for one in found if isinstance(one, Instance)] == [
        "CC-BY-NC-4.0"
    ] * 2
    (item,) = task_items(task, "s", 1, 0, spec)
    assert item.lineage.demonstrations
    assert item.lineage.licence == "CC-BY-NC-4.0"
    alone = list(task_instances([task], FormattingSpec(), 9, 0, lambda jobs: []))
    assert [one.lineage.licence for one in alone if isinstance(one, Instance)] == [
        "MIT",
        "CC-BY-NC-4.0",
    ]
