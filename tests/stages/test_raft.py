"""pytest tests/stages/test_raft.py: align with rejection sampling in rounds."""

import json
from pathlib import Path

import pytest
import yaml

from regimen.alignment.best_of import kl_of_best
from regimen.settings.align import AlignSettings
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


@pytest.mark.slow
def test_rounds_sample_from_the_round_before_and_are_recorded(project, capsys):
    assert align(project) == 0, capsys.readouterr().err
    told = json.loads(Path("runs/r/align/summary.json").read_text())["rounds"]
    assert [one["round"] for one in told] == [1, 2]
    for one in told:
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

    # an interrupted run keeps the rounds that are done
    times = {
        path: path.stat().st_mtime_ns
        for path in Path("runs/r/align").glob("round-1/**/manifest.json")
    }
    assert len(times) == 2
    Path("runs/r/align/manifest.json").rename("runs/r/align/unfinished.json")
    key = json.loads(Path("runs/r/align/unfinished.json").read_text())
    Path("runs/r/align/unfinished.json").write_text(json.dumps({**key, "stage": "align"}))
    Path("runs/r/align/round-2/tune/manifest.json").unlink()
    assert align(project) == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert Path("runs/r/align/final/model.safetensors").read_bytes() == final


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
