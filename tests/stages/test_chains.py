"""Several runs of one file: pytest tests/stages/test_chains.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from helpers.built import write
from regimen.cli import main

CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert not stopped.value.code


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    first, second = write("one.jsonl", CHAT), write("two.jsonl", CHAT, {**CHAT, "weight": 2})
    settings = {
        "run": "runs/a",
        "build": {"sources": [{"path": first}]},
        "then": [{"build": {"sources": [{"path": second}]}, "report": {}}],
    }
    Path("chain.yaml").write_text(yaml.safe_dump(settings))
    return "chain.yaml"


def test_run_does_all_and_nothing_twice(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("run", file, "--json")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["run"] == "runs/a"
    (later,) = told["then"]
    assert later["run"] == "runs/a-2"
    assert later["report"] == "runs/a-2/report.html"
    for place in ("runs/a", "runs/a-2"):
        assert "then" not in Path(place, "settings.yaml").read_text()
    run("run", file)
    assert capsys.readouterr().out.count("build: nothing to do") == 2


def test_other_verbs_are_about_the_first(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("build", file)
    assert "of its 2 runs the first" in capsys.readouterr().out
    assert Path("runs/a/build/manifest.json").is_file()
    assert not Path("runs/a-2").exists()
