"""Suites that no rule scores, in the report. pytest tests/reports/test_conversations.py"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from regimen.evaluation.answers import answers_to_table
from regimen.evaluation.metrics import UNSCORED, metrics_named
from regimen.evaluation.runner import evaluate
from regimen.evaluation.suites import ask_chat
from regimen.evaluation.systems import GeneratedSystem
from regimen.protocols import Completion, Request
from regimen.records import Item, Lineage, Message
from regimen.reports.findings import limits, verdict
from regimen.reports.rundata import RunData, read_run
from regimen.reports.sections.answers import answers
from regimen.reports.sections.overview import overview
from regimen.reports.sections.systems import systems
from regimen.runs import Run
from regimen.tables import write_table


class Script:
    name = "script"

    def __init__(self, voice: str) -> None:
        self.voice = voice

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        for request in requests:
            said = f"{self.voice} answer to <{request.messages[-1].text}>"
            yield request.id, Completion(text=said)


def item(suite: str, number: int) -> Item:
    return Item(
        suite=suite,
        messages=(Message(role="user", content=f"Question {number}"),),
        references=("right",),
        follow_ups=(f"And {number}?",) if suite == "dialogue" else (),
        lineage=Lineage(task=f"t{number}", source="file", row=number),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    root = tmp_path_factory.mktemp("run")
    items = [item(suite, n) for suite in ("dialogue", "facts") for n in range(12)]
    result = evaluate(
        items,
        {name: GeneratedSystem(Script(name), ask_chat) for name in ("base", "tuned")},
        metrics_named("f1", right_at=0.5),
        suite_metrics={"dialogue": UNSCORED},
    )
    stage = Run.start(root / "evaluate", stage="evaluate", key={"a": "b"}, settings={})
    stage.write_json("evaluation.json", result.to_json())
    write_table(stage.path("answers.parquet"), answers_to_table(result.rows))
    stage.finish()
    return read_run(root)


def test_every_turn_of_some_items_is_shown(run: RunData) -> None:
    section = answers(run)
    assert section is not None
    assert "Dialogue: answers to 6 items of 12" in section.body
    assert section.body.count("tuned answer to &lt;And ") == 6
    assert section.body.count("base answer to &lt;And ") == 6
    assert section.body.count("tuned answer to &lt;Question ") >= 6


def test_scored_suites_come_first_and_the_limits_say_what_is_not_scored(run: RunData) -> None:
    assert run.evaluation is not None
    assert [suite.name for suite in run.evaluation.suites] == ["facts", "dialogue"]
    assert verdict(run).headline.startswith("Tuned scores 0% (Token F1) on 12 facts")
    told = " ".join(limits(run))
    assert "How good the answers to dialogue are" in told
    assert "exact match counts it as wrong" not in told
    assert "Dialogue" in overview(run)
    page = systems(run)
    assert page is not None
    assert "Dialogue: answered, and scored by a judge only." in page.body
