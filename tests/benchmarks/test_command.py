"""What every benchmark does with its result: pytest tests/benchmarks/test_command.py."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regimen.errors import MissingExtraError, RunError

RESULT = {"name": "made-up", "rows": [float("nan"), 2]}


def status(bench: SimpleNamespace, did: list[str], *argv: str) -> int:
    """The exit status of a benchmark that only notes what it did."""
    options = bench.command.parser("Nothing.", quick="no results").parse_args(argv)

    def measure() -> dict[str, Any]:
        did.append("measured")
        return RESULT

    pages = [lambda _, n=n: did.append(f"page {n}") for n in (1, 2)]
    return bench.command.carry_out(options, measure, lambda _: did.append("shown"), *pages)


def test_a_full_run_keeps_its_result_before_the_pages_and_a_quick_one_does_not(
    bench: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench.command, "HERE", tmp_path)
    did: list[str] = []
    assert status(bench, did, "--quick", "--json") == 0
    assert did == ["measured", "shown"]
    assert json.loads(capsys.readouterr().out)["rows"] == [None, 2]
    assert not (tmp_path / "results").exists()
    did.clear()
    assert status(bench, did) == 0
    assert did == ["measured", "shown", "page 1", "page 2"]
    kept = json.loads((tmp_path / "results" / "made-up.json").read_text())
    assert kept == {"name": "made-up", "rows": [None, 2]}


def test_what_cannot_be_measured_is_told_and_nothing_is_shown(
    bench: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure() -> dict[str, Any]:
        raise RunError("It failed.", slug="benchmark-failed")

    options = bench.command.parser("Nothing.", quick="").parse_args([])
    assert bench.command.carry_out(options, measure, pytest.fail, pytest.fail) == 1
    assert "It failed." in capsys.readouterr().err


def test_peers_that_are_not_there_are_told(bench: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="peers' environment"):
        bench.command.beside_peers(tmp_path / "python", pytest.fail)
