"""Evaluation is compared at equal answers, and on files that both sides can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regimen.errors import RunError
from regimen.tables import read_table, table_to_items

Raw = Callable[..., dict[str, Any]]


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


@pytest.mark.parametrize("quick", [True, False])
def test_evaluation_is_compared_at_equal_answers(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raw: Raw, quick: bool
) -> None:
    answers = ["a", "b"]

    def run(command: list[str], work: Path, settings: dict[str, Any], *_: Any, **how: Any) -> Any:
        if settings.get("cache_implementation"):
            return bench.processes.Failure("no such cache")
        ours = "regimen" in Path(command[1]).name
        seconds = 1.0 if ours else 2.0 if settings["batch"] > 1 else 5.0
        return bench.processes.Run(raw(seconds, 1 << 20) | {"answers": answers}, how["warm"])

    works = {name: lambda folder, *, quick: None for name in ("tuned", "shots")}
    monkeypatch.setattr(bench.sides, "run", run)
    monkeypatch.setattr(bench.evaluate, "WORKS", works)
    result = bench.evaluate.bench(Path("python"), _folder(tmp_path, "x"), quick=quick, repeats=2)
    assert result["ratios"] == {
        "evaluate_vs_generate": 5.0,
        "evaluate_tuned_vs_loop": 5.0,
        "evaluate_tuned_vs_best": 2.0,
        "evaluate_shots_vs_loop": 5.0,
        "evaluate_shots_vs_best": 2.0,
    }
    failed = [row["configuration"] for row in result["rows"] if "failed" in row]
    assert failed == ([] if quick else ["batch 32, by length, static cache"] * 2)
    page = bench.render.page([result])
    assert "same answers" in page
    assert max(len(line) for line in page.splitlines()) <= 100

    def other(*args: Any, **how: Any) -> Any:
        done = run(*args, **how)
        if "batch" not in args[2] or isinstance(done, bench.processes.Failure):
            return done
        return bench.processes.Run(done.raw | {"answers": ["a", "c"]}, 1)

    monkeypatch.setattr(bench.sides, "run", other)
    with pytest.raises(RunError, match="same answers"):
        bench.evaluate.bench(Path("python"), _folder(tmp_path, "y"), quick=quick, repeats=2)


def test_items_with_demonstrations_begin_alike_and_are_asked_as_the_template_says(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = bench.work.MODEL | {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 800}
    monkeypatch.setattr(bench.evaluate_works, "MODEL", small)
    monkeypatch.setattr(
        bench.evaluate_works,
        "write",
        lambda folder, rows: bench.work.write(folder, rows, model=small),
    )
    bench.evaluate_works.write_shots(tmp_path, quick=True)
    told = json.loads((tmp_path / "items.json").read_text())
    items = list(table_to_items(read_table(tmp_path / "items.parquet")))
    assert [item.item_id for item in items] == [one["id"] for one in told["items"]]
    ids = [one["ids"] for one in told["items"]]
    assert all(one[:600] == ids[0][:600] for one in ids[:6])
    assert ids[0][600:] != ids[1][600:]
    assert ids[0][:600] != ids[6][:600]
    assert told["stop_ids"] == [2]
    assert (tmp_path / "model" / "config.json").is_file()
