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
