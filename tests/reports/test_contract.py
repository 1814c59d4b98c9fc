"""The report reads what the other parts really write. pytest tests/reports/test_contract.py"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regimen.curation.balance import PositionBalance
from regimen.curation.card import data_card
from regimen.curation.ledger import Ledger
from regimen.evaluation.answers import answers_to_table
from regimen.evaluation.changes import Change
from regimen.evaluation.metrics import metrics_named
from regimen.evaluation.pairs import pair_statistics
from regimen.evaluation.retention import retention
from regimen.evaluation.runner import evaluate
from regimen.evaluation.safety import safety
from regimen.evaluation.systems import Answer, ComputedSystem
from regimen.records import Instance, Item, Lineage, Message, Preference
from regimen.reports import write_report
from regimen.reports.rundata import read_run
from regimen.runs import Run
from regimen.tables import instances_to_table, write_table


def item(i: int) -> Item:
    lineage = Lineage(task=f"t{i % 12}", family=f"f{i % 3}", language="en")
    turns = (Message(role="user", content=f"Say {i}"),)
    return Item(suite="unseen_compositions", messages=turns, references=(str(i),), lineage=lineage)


def evaluated() -> tuple[dict[str, Any], Any]:
    right = ComputedSystem(lambda one: one.references[0])
    wrong = ComputedSystem(lambda one: one.messages[0].text)
    result = evaluate(
        [item(i) for i in range(48)],
        {"base": wrong, "tuned": right, "copy_input": wrong},
        metrics_named("exact", "rouge_l"),
        change=Change(adapter_tensors=12, mean_abs_delta_logp=0.4),
    )
    models = {"base": lambda texts: [60.0] * len(texts), "tuned": lambda texts: [66.0] * len(texts)}
    kept = retention([f"plain text {i}" for i in range(12)], models)
    return result.to_json(retention=kept), answers_to_table(result.rows)


def refusals() -> dict[str, Any]:
    def prompts(kind: str) -> list[Item]:
        return [
            Item(suite=kind, messages=(Message(role="user", content=f"{kind} {i}"),),
                 references=("",), cluster=f"c{i % 10}")
            for i in range(40)
        ]  # fmt: skip

    harmful, harmless = prompts("harmful"), prompts("harmless")
    answers: Mapping[str, Mapping[str, Answer]] = {
        name: {one.item_id: Answer(text=text) for one in (*harmful, *harmless)}
        for name, text in (("base", "Sure."), ("tuned", "I cannot help with that."))
    }
    return safety(harmful, harmless, answers, lambda text: "cannot" in text, minimum=1)


def write_run(root: Path) -> None:
    turns = (Message(role="user", content="Say 1"), Message(role="assistant", content="1"))
    instances = [
        Instance(messages=turns, lineage=Lineage(source="s", row=i, task="t", family="f"))
        for i in range(5)
    ]
    build = Run.start(root / "build", stage="build", key={"a": "b"}, settings={})
    ledger = Ledger(build.path("ledger"))
    with ledger.step("duplicates", entered=6) as step:
        step.keep(5)
        step.remove(instances[0], "exact_duplicate", "as row 0")
    summary = ledger.write()
    write_table(build.path("instances.parquet"), instances_to_table(instances))
    card = data_card(instances, ledger=summary)
    positions = PositionBalance()
    positions.add(["t"] * 60, [[f"answer_at:{n % 2 + 1}/3"] for n in range(60)])
    card["option_positions"] = positions.report()
    card["lints"] = {"tasks": 1, "findings": {"warning": {"repeated_inputs": 1}}}
    pair = Preference(
        prompt=instances[0].messages[:1],
        chosen=instances[0].messages[1:],
        rejected=instances[1].messages[1:],
        margin=1.0,
    )
    card["pairs"] = {**pair_statistics([pair], {"v": [("q", (1, -1)), ("p", (1, 1))]}), "ties": 4}
    build.write_json("data_card.json", card)
    build.finish()
    block, table = evaluated()
    run = Run.start(root / "evaluate", stage="evaluate", key={"a": "b"}, settings={})
    run.write_json("evaluation.json", block)
    run.write_json("safety.json", refusals())
    write_table(run.path("answers.parquet"), table)
    run.finish()


def test_what_the_stages_write_is_what_the_report_reads(tmp_path: Path) -> None:
    write_run(tmp_path)
    run = read_run(tmp_path)
    assert run.card is not None
    assert (run.card.instances, run.card.tasks, dict(run.card.facets["family"])) == (5, 1, {"f": 5})
    assert run.card.lengths[0].median == len("Say 1")
    assert run.ledger[0].samples["exact_duplicate"][0].text.endswith("assistant: 1")
    (positions,) = run.card.positions
    assert (positions.options, positions.counts) == (3, (30, 30, 0))
    assert positions.p is not None
    assert positions.p < 1e-4
    assert run.card.lints == (("warning", "repeated_inputs", 1),)
    said = dict(run.card.pairs)
    assert (said["pairs"], said["ties, which gave no pair"]) == ("1", "4")
    assert said["v: alpha of 2 annotators"]
    found = run.evaluation
    assert found is not None
    (suite,) = found.suites
    pair = suite.pair("tuned", "base")
    assert pair is not None
    assert (pair.verdict, pair.clusters, pair.seeds) == ("better", 12, 1)
    assert pair.resolvable is not None
    assert suite.changes[0].counts["fixed"] == 48
    assert [group.name for group in suite.families] == ["f0", "f1", "f2"]
    assert suite.systems["tuned"].metrics["rouge_l"] == 1.0
    assert [rates.name for rates in found.safety] == ["compliance", "over_refusal"]
    assert found.safety[0].systems["tuned"].value == 0.0
    assert found.safety[1].systems["tuned"].value == 1.0
    assert found.retention is not None
    assert found.retention.systems["tuned"].value > found.retention.systems["base"].value
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Tuned answers 100% of 48 unseen compositions; its base answers 0%." in page
    assert "48 of 48 greedy answers" in page
    assert "Where the right option stands" in page
    assert "Doubtful in the tasks" in page
    assert "ties, which gave no pair" in page
    assert json.loads((tmp_path / "build/manifest.json").read_text())["volatile"]["versions"]
    assert "Versions and machine" in page
