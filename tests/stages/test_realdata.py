"""pytest -m realdata tests/stages/test_realdata.py"""

import json
import os
from pathlib import Path

import pytest
import yaml

from regimen.cli import main

SHARED = Path(os.environ.get("REGIMEN_SHARED", Path(__file__).parents[2] / ".." / "shared"))
DATA = SHARED / "data"
BASE = SHARED / "models" / "provisional-base"
SOURCES = {
    "tasks": {"path": str(DATA / "super-natural-instructions"), "limit": 60},
    "alpaca": {
        "path": str(DATA / "alpaca-cleaned-1000" / "alpaca_data_cleaned_1000.json.zst"),
        "limit": 300,
    },
    "chats": {"path": str(DATA / "nanochat-safety"), "limit": 300},
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", SOURCES)
def test_build_and_tune_run_on_real_sources(name, tmp_path, monkeypatch):
    if not DATA.is_dir() or not BASE.is_dir():
        pytest.skip("needs the shared third-party data")
    monkeypatch.chdir(tmp_path)
    settings = {
        "run": "run",
        "build": {
            "sources": [SOURCES[name]],
            "instances_per_task": 4,
            "held_out": {"share": 0.1, "items_per_task": 2},
        },
        "tune": {
            "model": {"path": str(BASE)},
            "max_steps": 2,
            "max_length": 1024,
            "overflow": "split",
            "tokens_per_batch": 2048,
            "learning_rate": 1e-3,
            "logging_steps": 1,
        },
    }
    Path("regimen.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as stopped:
        main(["run", "regimen.yaml"])
    assert stopped.value.code == 0
    ledger = json.loads(Path("run/ledger/summary.json").read_text())
    for step in ledger.values():
        out = step["kept"] + sum(step["removed"].values()) + sum(step["failed"].values())
        assert step["in"] == out
    rendering = json.loads(Path("run/tune/rendering.json").read_text())
    lost = sum(rendering["removed"].values()) + sum(rendering["failed"].values())
    assert rendering["in"] == rendering["kept"] + lost
    assert rendering["kept"] > 30
    assert rendering["overflow"]["lost_tokens"] == 0
    lines = [json.loads(line) for line in Path("run/tune/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["loss"] > 0 for line in lines)


@pytest.mark.realdata
def test_a_reward_model_of_people_s_comparisons_is_measured_on_held_out_prompts(
    tmp_path, monkeypatch
):
    if not DATA.is_dir() or not BASE.is_dir():
        pytest.skip("needs the shared third-party data")
    monkeypatch.chdir(tmp_path)
    sources = [
        {"path": str(DATA / "hh-rlhf/harmless-base__test.jsonl.gz"), "name": "hh", "limit": 200},
        {
            "path": str(DATA / "pandalm/testset-v1.json.zst"),
            "name": "pandalm",
            "format": "compared",
            "columns": {"a": "response1", "b": "response2"},
            "pairs": {"annotators": ["annotator1", "annotator2", "annotator3"]},
            "limit": 200,
        },
    ]
    settings = {
        "run": "run",
        "build": {"sources": sources, "held_out": {"share": 0}},
        "align": {
            "model": {"path": str(BASE)},
            "method": "reward",
            "dimensions": ["helpful", "harmless"],
            "dimensions_of": {"hh": ["harmless"], "pandalm": ["helpful"]},
            "overflow": "truncate",
            "max_lost_share": 0.5,
            "max_length": 512,
            "tokens_per_batch": 2048,
            "max_steps": 3,
            "learning_rate": 1e-4,
            "held_out": 0.2,
        },
    }
    Path("regimen.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as stopped:
        main(["run", "regimen.yaml"])
    assert stopped.value.code == 0
    found = json.loads(Path("run/align/rewards.json").read_text())
    assert set(found["dimensions"]) == {"helpful", "harmless"}
    assert sum(one["pairs"] for one in found["dimensions"].values()) == found["rows"] > 40
    for one in found["dimensions"].values():
        assert 0 <= one["accuracy"]["low"] < one["accuracy"]["value"] < one["accuracy"]["high"] <= 1
        assert 0 < one["calibration"]["ece"] < 0.6
        assert -1 < one["length"]["low"] < one["length"]["high"] < 1
    summary = json.loads(Path("run/align/summary.json").read_text())
    rendering = summary["rendering"]
    assert rendering["kept"] == summary["rows"] + summary["held_out_rows"]
    lost = sum(rendering["removed"].values()) + sum(rendering["failed"].values())
    assert rendering["in"] == rendering["kept"] + lost
