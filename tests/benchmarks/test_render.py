"""The page: a section for each work, every row, lines that fit."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

Raw = Callable[..., dict[str, Any]]


def test_the_page_fits_and_names_every_row(bench: SimpleNamespace, raw: Raw) -> None:
    run = bench.processes.Run(raw(1.0, 1 << 28), 1)
    cut = bench.processes.Run(raw(1.0, 1 << 28) | {"cut": True}, 1)
    result: dict[str, Any] | None = None
    for name, work in bench.works.WORKS.items():
        entries = bench.grid.grid(work, True)
        broken = bench.grid.Configuration("batch 1, worse", {}, peer="litgpt")
        found = bench.turns.Measured(
            ours=[run],
            finals={entries[0]: [run]},
            screened={e: [cut if e is entries[1] else run] for e in entries},
            failures={broken: "x | " * 50},
        )
        machine = {"cpu": "c" * 40, "cores": 2, "memory_gib": 8.0, "load_before": 0.1}
        rows = bench.work.draw_rows(32)
        result = bench.result.merged(
            result, name, bench.result.part(work, rows, found, machine, quick=False)
        )
    assert result is not None
    text = bench.render.page([result])
    assert max(len(line) for line in text.splitlines()) <= 100
    for name, work in bench.works.WORKS.items():
        section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        entries = bench.grid.grid(work, True)
        assert all(f"| {e.peer}: {e.name} " in section for e in entries)
        assert f"| {entries[1].label} * " in section
        assert section.count(" * ") == 1
        assert bench.render.LEFT in section
        assert f"| {name}_vs_trl_best " in section
        assert "| litgpt: batch 1, worse | x / x" in section
        assert ("LoRA of rank 16" in section) == (name == "sft_lora")


def test_the_committed_result_is_the_page(bench: SimpleNamespace) -> None:
    root = bench.render.ROOT
    found = sorted((root / "benchmarks" / "results").glob("*.json"))
    results = [bench.result.read(path) for path in found]
    assert (root / "docs" / "benchmarks.md").read_text() == bench.render.page(results)
