"""Generation is compared at equal ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Raw = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("quick", [True, False])
def test_generation_is_compared_at_equal_ids(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raw: Raw, quick: bool
) -> None:
    ids = [[1, 2], [3, 4]]

    def run(command: list[str], work: Path, settings: dict[str, Any], *_: Any, **how: Any) -> Any:
        if settings.get("cache_implementation"):
            return bench.processes.Failure("no such cache")
        ours = "regimen" in Path(command[1]).name
        seconds = 1.0 if ours else 2.0 if settings["batch"] > 1 else 5.0
        return bench.processes.Run(raw(seconds, 1 << 20) | {"ids": ids}, how["warm"])

    monkeypatch.setattr(bench.sides, "run", run)
    monkeypatch.setattr(bench.generate, "write", lambda work, rows: None)
    result = bench.generate.bench(Path("python"), tmp_path, quick=quick, repeats=2)
    assert result["ratios"] == {"generate_vs_best": 2.0, "generate_vs_defaults": 5.0}
    failed = [row["configuration"] for row in result["rows"] if "failed" in row]
    static = ["batch 64, static cache", "batch 64, bf16, static cache"]
    assert failed == ([] if quick else static)
    page = bench.render.page([result])
    assert "same ids" in page
    assert "100%" in page
    assert max(len(line) for line in page.splitlines()) <= 100

    def other(*args: Any, **how: Any) -> Any:
        done = run(*args, **how)
        if "batch" not in args[2] or isinstance(done, bench.processes.Failure):
            return done
        return bench.processes.Run(done.raw | {"ids": [[9], [9]]}, 1)

    from regimen.errors import RunError

    monkeypatch.setattr(bench.sides, "run", other)
    with pytest.raises(RunError, match="same ids"):
        bench.generate.bench(Path("python"), tmp_path, quick=quick, repeats=2)
