"""pytest tests/stages/test_replay.py: align with conversations replayed beside preferences."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.pairs import COMMON, PAIRS, said
from regimen.models.forward import prepare
from regimen.models.loading import ModelSpec, load_model
from regimen.records import Instance, Lineage
from regimen.settings.loading import load_settings
from regimen.stages.evaluate_traces import training_files
from regimen.tables import instances_to_table, preferences_to_table, write_table
from regimen.tokens.store import load_token_rows
from regimen.training.measure import mean_nll

INSTANCES = [
    Instance(
        messages=(*said(f"which dog is {a}", "user"), *said(f"the cat {b} {a}")),
        lineage=Lineage(source="own", row=row),
    )
    for row, (a, b) in enumerate((a, b) for a in "abcdefgh" for b in "stuv")
]
LONG = Instance(messages=(*said("why", "user"), *said("the dog sees cats " * 40)))


@pytest.fixture
def project(text_project):
    data = text_project.folder / "data"
    write_table(data / "preferences.parquet", preferences_to_table(PAIRS))
    write_table(data / "instances.parquet", instances_to_table(INSTANCES))
    return text_project


def align(project, name="r", **changes):
    """Run; the exit status."""
    return project.run(written(project, name, **changes))


def written(project, name="r", **changes):
    section = {**COMMON, "model": {"path": "base"}, "data": "data", **changes}
    file = project.folder / f"{name}.yaml"
    file.write_text(json.dumps({"run": f"runs/{name}", "align": section}))  # JSON is YAML
    return file.name


def told(name="r", file="summary.json"):
    return json.loads(Path(f"runs/{name}/align/{file}").read_text())


def logged(name="r"):
    lines = Path(f"runs/{name}/align/metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_conversations_are_replayed_at_their_share(project, capfd):
    replay = {"data": "data", "share": 0.3, "weight": 2.0}
    long = {"max_steps": 20, "tokens_per_batch": 400}
    assert align(project, "without", **long) == 0
    assert align(project, replay=replay, **long) == 0
    about, rows = told()["replay"], load_token_rows(Path("runs/r/align/tokens.arrow"))
    alone = load_token_rows(Path("runs/without/align/tokens.arrow"))
    assert np.array_equal(rows.ids[: len(alone.ids)], alone.ids)
    assert len(rows) == len(alone) + about["rendering"]["rows"]
    assert about["tokens"] == len(rows.ids) - len(alone.ids)
    share = about["tokens"] / len(rows.ids)
    assert about["share"] == pytest.approx(share, abs=1e-4)
    assert 0.3 <= share < 0.3 + int(rows.lengths.max()) / len(rows.ids)
    counts = about["rendering"]
    assert counts["in"] == counts["kept"] == len(INSTANCES) - about["not_drawn"] > 0
    assert f"replays {counts['rows']} of {len(INSTANCES)} conversations" in capfd.readouterr().out
    for line in logged():
        parts = [line[part] for part in ("dpo", "replay") if part in line]
        assert line["loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert any({"dpo", "replay"} <= {*line} for line in logged())
    # pairs are learnt, and what is replayed becomes likelier
    assert [line for line in logged() if "dpo" in line][-1]["rewards/margins"] > 0
    replayed = rows.take(range(len(alone), len(rows)))
    loss = {
        place: mean_nll(
            prepare(load_model(ModelSpec(path=place))), replayed, tokens_per_batch=128, bf16=False
        )
        for place in ("base", "runs/r/align/final", "runs/without/align/final")
    }
    assert loss["runs/r/align/final"] < loss["base"]
    assert loss["runs/r/align/final"] < loss["runs/without/align/final"]


def test_which_are_drawn_is_of_the_seed_and_the_reference_of_the_pairs(project):
    replay = {"data": "data/instances.parquet", "share": 0.3}
    names = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert align(project, name, replay=replay, seed=seed, max_steps=1) == 0
        rows = load_token_rows(Path(f"runs/{name}/align/tokens.arrow"))
        names[name] = rows.names.to_pylist()[len(PAIRS) :]
    assert names["a"] == names["b"] != names["c"]
    assert len({*names["a"]}) == len(names["a"])
    # another training of the run on the same pairs finds their reference
    assert align(project, "a", seed=1, max_steps=1) == 0
    assert told("a")["reference"]["reused"]
    assert "replay" not in told("a")


def test_each_drawn_instance_is_in_the_ledger(project):
    bad = [LONG, Instance(messages=said("no answer", "user"))]
    write_table(project.folder / "data/instances.parquet", instances_to_table([*bad, *INSTANCES]))
    replay = {"data": "data", "share": 0.8}
    assert align(project, max_lost_share=0.9, replay=replay, method="sft") == 0
    ledger = told(file="ledger/summary.json")
    assert list(ledger) == ["rendering", "replay"]
    counts = ledger["replay"]
    assert counts["removed"] == {"longer_than_max_length": 1, "nothing_supervised": 1}
    assert counts["in"] == counts["kept"] + 2
    assert counts["in"] + told()["replay"]["not_drawn"] == len(INSTANCES) + 2


def test_sources_that_are_not_named_are_not_replayed(project, capfd):
    other = [
        Instance(messages=one.messages, lineage=Lineage(source="other", row=row))
        for row, one in enumerate(INSTANCES[:20])
    ]
    write_table(project.folder / "data/instances.parquet", instances_to_table([*other, *INSTANCES]))
    replay = {"data": "data", "share": 0.3, "sources": ["own"]}
    assert align(project, replay=replay, max_steps=1) == 0
    names = load_token_rows(Path("runs/r/align/tokens.arrow")).names.to_pylist()[len(PAIRS) :]
    assert names
    assert {name.split(":")[0] for name in names} == {"own"}
    about = told()["replay"]
    assert about["rendering"]["in"] + about["not_drawn"] == len(INSTANCES) + 20
    replay["sources"] = ["own", "nobody"]
    assert align(project, replay=replay) == 1
    error = capfd.readouterr().err
    assert "replay-source" in error
    assert "nobody" in error
    assert "other, own" in error


def test_too_little_or_nothing_to_replay_is_an_error(project, capfd):
    assert align(project, replay={"data": "data", "share": 0.95}) == 1
    error = capfd.readouterr().err
    assert "replay-too-short" in error
    assert "of 32 conversations" in error
    assert align(project, replay={"share": 0.1}) == 1
    assert "no-replay" in capfd.readouterr().err
    assert align(project, replay={"data": "text.txt"}) == 1
    assert "not-instances" in capfd.readouterr().err


@pytest.mark.parametrize(
    "method", [{"method": "quark"}, {"method": "reward"}, {"method": "chain_of_hindsight"}]
)
def test_replay_stands_beside_a_loss_over_answers(project, capfd, method):
    assert align(project, replay={"data": "data", "share": 1.5}, **method) == 1
    error = capfd.readouterr().err
    assert "align.replay.share" in error
    assert align(project, replay={"data": "data"}, **method) == 1
    assert "stands beside a loss over answers" in capfd.readouterr().err


def test_what_is_replayed_is_among_the_rows_that_items_are_compared_with(project):
    settings = load_settings(project.folder / written(project, replay={"data": "data"}))
    files = training_files(settings, project.folder / "runs/r")
    assert {Path(file).name for file in files} == {"preferences.parquet", "instances.parquet"}
    settings = load_settings(project.folder / written(project))
    assert len(training_files(settings, project.folder / "runs/r")) == 1
