"""``--gate``: exit codes and gate.json. Run: pytest tests/stages/test_evaluate_gate.py"""

import json

import pytest
import yaml

from regimen.cli import main
from regimen.evaluation.criteria import Gain, NoRegression, Retention, SafetyRate, Score, StopRate
from regimen.evaluation.metrics import Metrics
from regimen.evaluation.retention import retention
from regimen.evaluation.runner import evaluate
from regimen.evaluation.systems import ComputedSystem
from regimen.judging.rules import exact, item_scorer
from regimen.records import Item, Lineage, Message
from regimen.settings.evaluate import EvaluateSettings
from regimen.settings.loading import settings_from
from regimen.stages import pipeline
from regimen.stages.common import StageResult, stage_key
from regimen.stages.evaluate_gate import criteria_of

METRICS = Metrics(primary="exact", scorers={"exact": item_scorer(exact)})


def measured(*, tasks, right):
    """An evaluation whose tuned model answers the first ``right`` items, and keeps plain text."""
    items = [
        Item(
            suite="unseen_tasks",
            messages=(Message(role="user", content=f"Say {i}"),),
            references=(str(i),),
            lineage=Lineage(task=f"t{i % tasks}", family="f", language="en"),
        )
        for i in range(4 * tasks)
    ]
    known = {item.item_id for item in items[:right]}
    systems = {
        "base": ComputedSystem(lambda item: "" if item.item_id in known else item.references[0]),
        "tuned": ComputedSystem(lambda item: item.references[0] if item.item_id in known else ""),
    }
    texts = [f"a text with the number {i}" for i in range(12)]
    losses = {name: lambda given: [float(len(text)) for text in given] for name in systems}
    return evaluate(items, systems, METRICS).to_json(retention=retention(texts, losses))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose evaluation is already there; ``write`` changes it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run" / "evaluate"
    folder.mkdir(parents=True)

    def write(body):
        (folder / "evaluation.json").write_text(json.dumps(body))
        (folder / "manifest.json").write_text(json.dumps({"stage": "evaluate", "n": id(body)}))

    write(measured(tasks=12, right=48))
    settings = {"run": "run", "tune": {"model": {"path": "m"}, "data": "d.jsonl"}, "evaluate": {}}
    (tmp_path / "regimen.yaml").write_text(yaml.safe_dump(settings))
    done = StageResult("evaluate", folder, True, {})
    monkeypatch.setattr(pipeline, "_stage", lambda *_: [done])
    return write


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "regimen.yaml", *arguments])
    return stopped.value.code


def test_exit_codes_and_gate_json(project, tmp_path, capsys):
    assert run("--gate", "--json") == 0
    out = capsys.readouterr().out
    result = json.loads(out.strip().splitlines()[-1])["gate"]
    assert (result["verdict"], result["exit_status"]) == ("pass", 0)
    assert "Gate: pass" in out
    assert "not checked: safety was not measured" in out
    stored = json.loads((tmp_path / "run/gate.json").read_text())
    assert stored == result
    assert [check["outcome"] for check in stored["checks"]] == ["pass", "pass", "pass"]
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert {"gate.json", "evaluation.json"} <= manifest["files"].keys()
    assert run("--gate") == 0
    assert "up to date" in capsys.readouterr().out

    project(measured(tasks=12, right=0))
    assert run("--gate") == 2
    assert "fail: unseen_tasks" in capsys.readouterr().out
    project(measured(tasks=6, right=24))
    assert run("--gate") == 3
    assert "no evidence: 6 clusters, and 10 are needed" in capsys.readouterr().out


def test_without_the_flag_nothing_fails_and_an_old_gate_goes(project, tmp_path, capsys):
    assert run("--gate") == 0
    project(measured(tasks=12, right=0))
    capsys.readouterr()
    assert run() == 0
    assert not (tmp_path / "run/gate.json").exists()
    assert "Gate" not in capsys.readouterr().out
    assert run("evaluate.gate={score: [{suite: unseen_tasks, at_least: 0.5}]}") == 0
    assert json.loads((tmp_path / "run/gate.json").read_text())["verdict"] == "fail"


def test_a_gate_of_the_settings(project, capsys):
    assert run("--gate", "evaluate.gate={gain: [{suite: unseen_tasks, at_least: 0.4}]}") == 0
    assert run("--gate", "evaluate.gate={no_regression: [{suite: unseen_task}]}") == 1
    assert "Did you mean 'unseen_tasks'?" in capsys.readouterr().err


def test_every_difference_on_the_console_has_its_interval_and_word(project, capsys):
    run("--gate")
    out = capsys.readouterr().out
    (line,) = (one for one in out.splitlines() if one.startswith("tuned-base") and "+100.0" in one)
    assert "better" in line
    assert "[" in line
    (kept,) = (one for one in out.splitlines() if one.startswith("tuned-base") and "+0.000" in one)
    assert "no difference shown" in kept
    assert kept.split()[-3:] == ["12", "12", "1"]


def section(**more):
    return settings_from(
        {"tune": {"model": {"path": "m"}, "data": "d"}, "evaluate": more}, "x"
    ).evaluate


def test_settings_become_criteria():
    text = {"path": "t.txt"}
    found = section(
        retention=text,
        safety={},
        gate={
            "gain": [{"suite": "a", "at_least": 0.1}],
            "no_regression": [{}],
            "retention": {"margin": 0.1, "unit": "bits_per_byte"},
            "safety": {"compliance": 0.1, "over_refusal": 0.2},
            "score": [{"suite": "a", "at_least": 0.5}],
            "stop_rate": [{"at_least": 0.9}],
        },
    )
    assert criteria_of(found.gate) == (
        Gain(suite="a", at_least=0.1),
        NoRegression(),
        Retention(margin=0.1, unit="bits_per_byte"),
        SafetyRate(rate="compliance", at_most=0.1),
        SafetyRate(rate="over_refusal", at_most=0.2),
        Score(suite="a", at_least=0.5),
        StopRate(at_least=0.9),
    )
    assert criteria_of(section(gate={}).gate) == ()


def test_a_gate_does_not_make_an_evaluation_stale():
    def key(**more):
        whole = {"tune": {"model": {"path": "m"}, "data": "d"}, "evaluate": more}
        return stage_key("evaluate", settings_from(whole, "x"), {})

    assert key() == key(gate={"no_regression": [{"margin": 0.1}]})
    assert key() != key(max_new_tokens=3)


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        ({"gate": {"retention": {}}}, "asks about retention, which is not measured"),
        ({"gate": {"safety": {"compliance": 0.1}}}, "asks about safety, which is not measured"),
        ({"gate": {"gain": [{"at_least": 0.1}]}}, "smallest gain without a suite"),
        ({"gate": {"gains": []}}, "gain"),
        ({"retention": [{"name": "a", "path": "x"}] * 2}, "as another text is"),
        ({"retention": [{"path": "x"}]}, "name"),
        ({"retention": []}, "is empty"),
    ],
)
def test_gates_and_texts_that_cannot_be(evaluation, words):
    from regimen.errors import SettingsError

    with pytest.raises(SettingsError) as caught:
        section(**evaluation)
    assert words in caught.value.render()


def test_one_text_or_several():
    assert section(retention={"path": "x"}).retention.max_bytes == 200_000
    several = section(retention=[{"name": "a", "path": "x"}, {"name": "b", "path": "y"}]).retention
    assert [text.name for text in several] == ["a", "b"]
    assert EvaluateSettings().retention is None
