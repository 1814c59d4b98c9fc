"""pytest tests/stages/test_raft.py: align with rejection sampling in rounds."""

import json
from pathlib import Path

import pytest
import yaml

from regimen.alignment.best_of import kl_of_best
from regimen.cli import main
from regimen.errors import TrainingError
from regimen.settings.align import AlignSettings
from regimen.stages import raft as stage
from regimen.tables import read_table, table_to_instances

SCORE = """
def cats(answer, item):
    return answer.count("cat") / max(1, len(answer.split()))
"""
SECTION = {
    "model": {"path": "base"},
    "method": "raft",
    "max_steps": 6,
    "tokens_per_batch": 128,
    "max_length": 64,
    "learning_rate": 0.02,
    "precision": "fp32",
    "raft": {
        "prompts": "prompts.jsonl",
        "rounds": 2,
        "samples": 4,
        "max_new_tokens": 8,
        "keep_cut": True,
        "score": {"function": {"file": "score.py", "function": "cats"}},
    },
}


@pytest.fixture
def project(text_project):
    Path("score.py").write_text(SCORE)
    rows = [{"prompt": f"the {a} dog"} for a in "abcdef"]
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return text_project


def align(project, **changes):
    section = {**SECTION, **changes}
    file = project.folder / "raft.yaml"
    file.write_text(yaml.safe_dump({"run": "runs/r", "align": section}))
    return project.run(file.name)


def told():
    return json.loads(Path("runs/r/align/summary.json").read_text())["rounds"]


@pytest.mark.slow
def test_rounds_sample_from_the_round_before_and_are_recorded(project, capsys, monkeypatch):
    given, calls = stage.tune, []

    def failing(own, place, data):
        calls.append(place.name)
        if len(calls) == 2:
            raise TrainingError("interrupted", slug="interrupted")
        return given(own, place, data)

    monkeypatch.setattr(stage, "tune", failing)
    assert align(project) == 1
    assert Path("runs/r/align/round-1/tune/final/model.safetensors").is_file()
    assert align(project) == 0, capsys.readouterr().err
    assert calls == ["round-1", "round-2", "round-2"]
    assert [one["round"] for one in told()] == [1, 2]
    for one in told():
        assert one["mean_best_score"] >= one["mean_score"]
        assert one["kl"] == pytest.approx(kl_of_best(4))
        assert one["steps"] == 6
    lines = Path("runs/r/align/metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert [one["step"] for one in logged] == sorted(one["step"] for one in logged)
    assert (logged[-1]["step"], logged[-1]["round"]) == (12, 2)
    for number in (1, 2):
        made = Path(f"runs/r/align/round-{number}/build")
        rows = list(table_to_instances(read_table(made / "instances.parquet")))
        assert rows
        start = "base" if number == 1 else "runs/r/align/round-1/tune/final"
        assert {row.lineage.generator for row in rows} == {start}
        steps = json.loads((made / "ledger" / "summary.json").read_text())
        best = steps["best-of-n-best"]
        assert best["in"] == best["kept"] == 6
    final = Path("runs/r/align/final/model.safetensors").read_bytes()
    assert final == Path("runs/r/align/round-2/tune/final/model.safetensors").read_bytes()
    before = Path("runs/r/align/round-1/tune")  # its model went when the next one was there
    assert sorted(path.name for path in before.iterdir() if path.name in GONE) == []
    assert (before / "metrics.jsonl").is_file()


GONE = ("final", "base", "manifest.json")


@pytest.mark.slow
def test_adapters_of_rounds_keep_what_they_stand_on(project, capsys):
    assert align(project, adapter={"kind": "lora", "r": 2}, max_steps=2) == 0
    assert not Path("runs/r/align/round-1/tune/final").exists()
    config = json.loads(Path("runs/r/align/final/adapter_config.json").read_text())
    base = Path(config["base_model_name_or_path"])
    assert base == Path("runs/r/align/round-2/tune/base")
    assert (base / "model.safetensors").is_file()
    raft = {**SECTION["raft"], "keep_rounds": True}
    assert align(project, adapter={"kind": "lora", "r": 2}, max_steps=2, raft=raft) == 0
    assert Path("runs/r/align/round-1/tune/final").is_dir()


@pytest.mark.slow
def test_rounds_end_where_nothing_is_left_to_choose(project, capsys):
    Path("score.py").write_text(
        "from pathlib import Path\n"
        "def cats(answer, item):\n"
        "    done = Path('runs/r/align/round-1/done.json').exists()\n"
        "    return 1.0 if done else len(answer)\n"
    )
    assert align(project, max_steps=2) == 0, capsys.readouterr().err
    assert [one["round"] for one in told()] == [1]
    assert "no round 2, for all answers" in capsys.readouterr().out
    Path("score.py").write_text("def cats(answer, item):\n    return 1.0\n")
    assert align(project, max_steps=2) == 1
    assert "[all-ties]" in capsys.readouterr().err


@pytest.mark.slow
def test_the_first_tuning_is_measured(project):
    file = project.folder / "raft.yaml"
    file.write_text(yaml.safe_dump({"run": "runs/r", "align": SECTION}))
    with pytest.raises(SystemExit) as stopped:
        main(["align", file.name, "--profile"])
    assert stopped.value.code == 0
    assert Path("runs/r/align/profile.json").is_file()
    assert [path.name for path in Path("runs/r").rglob("round-*")] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"raft": None}, "nothing says from which prompts"),
        ({"data": "build"}, "names answers"),
        ({"method": "dpo"}, "is for 'method: raft'"),
        ({"beta": 0.1}, "is nothing that raft takes"),
    ],
)
def test_settings_that_cannot_work_are_told(change, said):
    with pytest.raises(ValueError, match=said):
        AlignSettings.model_validate({**SECTION, **change})


@pytest.mark.parametrize(("n", "nats"), [(1, 0.0), (2, 0.1931), (4, 0.6363), (16, 1.8351)])
def test_the_divergence_of_best_of_n(n, nats):
    assert kl_of_best(n) == pytest.approx(nats, abs=1e-4)
