"""Held-out tasks that are asked in several ways: pytest tests/stages/test_asked.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regimen.curation.ledger import Ledger
from regimen.errors import DataError, SettingsError
from regimen.instances.formatting import task_instances
from regimen.instances.templates import TemplateWorker
from regimen.records import Example, Instance, Item, Message, Task, Template
from regimen.settings.build import BuildSettings, CurationSettings, FormattingSettings
from regimen.stages.asked import formatting_spec
from regimen.stages.build_items import build_items
from regimen.stages.evaluate_items import AskedItems
from regimen.stages.producing import leak_filters
from regimen.stages.splits import hold_out_rows, split_tasks

SHOWN = Example(input="old", output="OLD", explanation="said loudly", reason="loud")
ROWS = tuple(
    {"input": f"word {n}", "output": [f"WORD {n}", f"W {n}"], "rationale": f"letters of {n}"}
    for n in range(12)
)


def task(name: str, **more: Any) -> Task:
    values: dict[str, Any] = {
        "definition": f"Shout ({name}).",
        "avoid": "Do not whisper.",
        "output_format": "Capitals.",
        "positive": (SHOWN,),
        "negative": (replace(SHOWN, output="old"),),
        "templates": (
            Template(name="ask", input="Loud: {{ input }}"),
            Template(name="say", input="{{ input }}?", output="I say {{ output }}."),
            Template(name="back", input="{{ output }}", output="{{ input }}", inverted=True),
        ),
        "instances": ROWS,
    }
    return Task(name=name, family="f", **{**values, **more})


BARE = Task(
    name="bare",
    family="f",
    templates=(Template(name="sum", input="{{ a }} + {{ b }}?", output="{{ a + b }}"),),
    instances=tuple({"a": n, "b": n * n} for n in range(9)),
)
ASKED: dict[str, Any] = {
    "plain": {},
    "shots": {"positive": 1, "explanations": True, "avoid": True, "order": "input_first"},
    "ni": {"encoding": "natural_instructions", "negative": 1},
    "all": {"encoding": "template", "templates": "all", "output_format": True},
    "steps": {"chain_of_thought": "before"},
    "template_steps": {"encoding": "template", "chain_of_thought": "after"},
}


def built(
    path: Path, asked: dict[str, Any], *tasks: Task, held: Any = ("t",), **formatting: Any
) -> tuple[list[Item], dict[str, Any]]:
    """The items of a build, and the ledger's account of the ways of asking."""
    section = BuildSettings(
        sources=[{"starter": "tasks"}],
        formatting=formatting,
        held_out={"tasks": list(held), "items_per_task": 3, "asked": asked},
    )
    ledger = Ledger(path / "ledger")
    split = split_tasks(tasks, section, 0, ledger)
    items = build_items(section, split, {one.name: 2 for one in tasks}, 0, lambda _: "", ledger)
    return items, ledger.write().get("asked", {})


def prompts(items: list[Item], name: str) -> dict[int, list[str]]:
    """The prompts of a way of asking, by row."""
    found: dict[int, list[str]] = {}
    for item in items:
        if item.suite == f"unseen_tasks@{name}":
            found.setdefault(item.lineage.row, []).append(item.messages[0].text)
    return found


def test_every_suite_exists_once_for_each_way_with_the_same_rows(tmp_path: Path) -> None:
    items, account = built(tmp_path, ASKED, task("t"), task("u"))
    suites = list(dict.fromkeys(item.suite for item in items))
    assert suites == [*(f"unseen_tasks@{name}" for name in ASKED), "validation"]
    rows = {name: prompts(items, name) for name in ASKED}
    (numbers,) = {tuple(sorted(found)) for found in rows.values()}
    assert len(numbers) == 3
    n = numbers[0]
    assert rows["plain"][n] == [f"Shout (t).\nword {n}"]
    assert rows["shots"][n] == [
        f"Input: old\nOutput: OLD\nExplanation: said loudly\nInput: word {n}\n"
        "Shout (t).\nDo not whisper.\nOutput:"
    ]
    assert rows["ni"][n][0].startswith("Definition: Shout (t).\n\n Negative Example 1 -\n")
    assert sorted(rows["all"][n]) == [f"Loud: word {n}\nCapitals.", f"word {n}?\nCapitals."]
    assert rows["steps"][n] == [f"Shout (t).\nword {n}\nThink step by step, then answer."]
    assert all(text.endswith("\nAnswer, then explain.") for text in rows["template_steps"][n])
    asked = [item for item in items if item.suite != "validation"]
    assert all(item.cluster == "t" for item in asked)
    assert account == {**account, "in": len(asked), "kept": len(asked), "removed": {}, "failed": {}}
    assert len(asked) == 3 * 7


def test_lineage_and_references_say_what_is_asked(tmp_path: Path) -> None:
    items, _ = built(tmp_path, ASKED, task("t"), task("u"))
    for item in items:
        name, n = item.suite.partition("@")[2], item.lineage.row
        accepted = (f"WORD {n}", f"W {n}")
        if item.suite == "validation":
            assert item.lineage.variant == ""
            continue
        if item.lineage.template == "say":
            accepted = (f"I say WORD {n}.", f"I say W {n}.")
        assert item.references == accepted
        assert item.lineage.variant.split("+")[0] == f"asked_{name}"
        assert ("rationale" in item.lineage.variant) == name.endswith("steps")
        by_template = ASKED[name].get("encoding") == "template"
        named = {"say", "ask"} if by_template else {"definition", "natural_instructions"}
        assert item.lineage.template in named
        assert item.demonstrations == (SHOWN,)
        assert (item.input, item.definition) == (f"word {n}", "Shout (t).")


def test_ways_that_ask_for_steps_are_scored_without_them(tmp_path: Path) -> None:
    items, _ = built(tmp_path, ASKED, task("t"), task("u"))
    metrics = AskedItems(items=tuple(items)).metrics
    assert list(metrics) == ["unseen_tasks@steps", "unseen_tasks@template_steps"]
    assert {one.primary for one in metrics.values()} == {"steps_exact"}


def test_without_ways_the_items_are_as_ever(tmp_path: Path) -> None:
    plain, account = built(tmp_path / "plain", {}, task("t"), task("u"))
    named, _ = built(tmp_path / "named", {"x": {}}, task("t"), task("u"))
    assert account == {}
    assert {item.suite for item in plain} == {"unseen_tasks", "validation"}
    back = [
        replace(
            item,
            suite=item.suite.removesuffix("@x"),
            lineage=replace(item.lineage, variant=item.lineage.variant.removesuffix("asked_x")),
        )
        for item in named
    ]
    assert back == plain


def test_a_task_of_templates_alone_can_be_held_out(tmp_path: Path) -> None:
    items, _ = built(
        tmp_path, {"t": {"encoding": "template"}}, BARE, task("u"), held=["bare"]
    )  # fmt: skip
    tested = [item for item in items if item.suite == "unseen_tasks@t"]
    assert len(tested) == 3
    for item in tested:
        n = item.lineage.row
        assert item.messages[0].text == f"{n} + {n * n}?"
        assert item.references == (str(n + n * n),)
    with pytest.raises(DataError, match="plain: bare, row"):
        built(tmp_path / "two", {"t": {"encoding": "template"}, "plain": {}}, BARE, held=["bare"])


def test_a_row_is_asked_in_every_way_or_in_none(tmp_path: Path) -> None:
    rows = ({**ROWS[0], "extra": "x"}, *ROWS[1:3])
    one = Template(name="needs", input="{{ input }} {{ extra }}")
    items, account = built(
        tmp_path,
        {"plain": {}, "t": {"encoding": "template"}},
        *(task("t", instances=rows, templates=(one,)), task("u")),
    )
    assert prompts(items, "plain") == {0: ["Shout (t).\nword 0"]}
    assert prompts(items, "t") == {0: ["word 0 x"]}
    assert account["in"] == 6
    assert account["kept"] == 2
    assert account["removed"] == {"not_in_every_way": 2}
    assert account["failed"] == {"template_missing_column": 2}


def test_a_pool_of_templates_is_that_of_the_training_for_rows_of_its_tasks(tmp_path: Path) -> None:
    many = tuple(Template(name=f"t{n}", input=f"{n} {{{{ input }}}}") for n in range(9))
    rows = task("t", templates=many, instances=ROWS[:6], held_out=ROWS[6:])
    ways = {"few": {"templates": "all"}, "every": {"templates": "all", "template_pool": None}}
    formatting = {"encoding": "template", "template_pool": 2}
    items, _ = built(tmp_path, ways, rows, held=[], **formatting)
    by_way = {
        name: {i.lineage.template for i in items if i.suite == f"unseen_rows@{name}"}
        for name in ways
    }
    assert by_way["every"] == {one.name for one in many}
    with TemplateWorker() as worker:
        spec = formatting_spec(FormattingSettings(**formatting))
        trained = list(task_instances([rows], spec, 6, 0, worker.render))
    assert by_way["few"] == {one.lineage.template for one in trained if isinstance(one, Instance)}
    assert len(by_way["few"]) == 2


def test_held_out_rows_are_asked_in_every_way_and_no_leak_of_their_task(tmp_path: Path) -> None:
    rows = task("t", instances=ROWS[:6], held_out=ROWS[6:])
    ways = {"plain": {}, "t": {"encoding": "template"}}
    items, _ = built(tmp_path, ways, rows, task("u"), held=["u"])
    found = [item for item in items if item.suite.startswith("unseen_rows@")]
    assert {item.suite for item in found} == {"unseen_rows@plain", "unseen_rows@t"}
    assert all(item.lineage.variant.startswith("held_out+asked_") for item in found)
    leaks = leak_filters(CurationSettings(), items)["leaks"]

    def training(name: str, prompt: str) -> Instance:
        turns = (Message(role="user", content=prompt), Message(role="assistant", content="A"))
        return Instance(messages=turns, lineage=replace(found[0].lineage, task=name))

    fine, held, asked = leaks(
        [training("t", "Shout (t).\nnew"), training("u", "x"),
         training("t", next(i for i in found if "@t" in i.suite).messages[0].text)]
    )  # fmt: skip
    assert fine is None
    assert str(held).startswith("leak_task")
    assert str(asked).startswith("leak_prompt")


def test_conversations_are_asked_in_one_way(tmp_path: Path) -> None:
    section = BuildSettings(
        sources=[{"starter": "chats"}], held_out={"share": 0.1, "asked": {"x": {}}}
    )
    with pytest.raises(SettingsError, match="for tasks"):
        hold_out_rows([], section, 0, Ledger(tmp_path))
