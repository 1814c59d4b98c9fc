"""The benchmark's own arithmetic: the work, what is counted, the ratios, the page."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = ("work", "grid", "processes", "render", "train", "measure", "regimen_sft", "generate")


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which import one another as scripts do."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


def raw(seconds: float, grown: int, loss: float = 9.0, rows: str = "same") -> dict[str, Any]:
    """Measurements of four steps of 100 tokens that take ``seconds`` each, after a slow first."""
    ended = [10.0 + seconds * i for i in range(4)]
    steps = [{"ended": e, "cpu": e, "tokens": 100, "supervised": 40, "loss": loss} for e in ended]
    return {"steps": steps, "imported": 50, "peak": 50 + grown, "rows": rows}


def test_rows_have_the_lengths_of_instructions(bench: SimpleNamespace) -> None:
    prompts, completions = bench.work.row_lengths(20_000)
    total = prompts + completions
    assert 120 < total.mean() < 140
    assert total.max() <= bench.work.MAX_LENGTH
    assert prompts.min() >= 16
    assert completions.min() >= 2
    assert np.log(completions).std() == pytest.approx(1.1, abs=0.1)


def test_fewer_rows_are_the_first_of_more(bench: SimpleNamespace) -> None:
    few, many = bench.work.draw_rows(40), bench.work.draw_rows(80)
    assert few.lengths.tolist() == many.lengths[:40].tolist()
    assert few.ids.tolist() == many.ids[: few.lengths.sum()].tolist()


@pytest.mark.parametrize("batches_per_step", [1, 4, 8])
def test_the_loop_sees_the_steps_of_the_file(bench: SimpleNamespace, batches_per_step: int) -> None:
    from regimen.training.loop import Data, LoopOptions

    rows = bench.work.draw_rows(64)
    tokens = bench.regimen_sft.token_rows(rows, batches_per_step)
    options = LoopOptions(learning_rate=1.0, tokens_per_batch=1, seed=bench.regimen_sft.SEED)
    data = Data(tokens, options)
    batches = [data.batch(numbers) for numbers in data.plan(0)]
    assert len(batches) == 2 * batches_per_step
    starts = rows.starts
    for step in range(2):
        want = [
            rows.ids[starts[r] : starts[r + 1]].tolist() for r in range(32 * step, 32 * step + 32)
        ]
        got = []
        for batch in batches[step * batches_per_step : (step + 1) * batches_per_step]:
            got += [part.tolist() for part in batch.ids_T.split(batch.plan.lengths)]
            assert batch.num_tokens <= 1.25 * sum(map(len, want)) / batches_per_step
        assert sorted(got) == sorted(want)
    assert sum(len(b.target_N) for b in batches) == rows.supervised.sum()


def test_speed_leaves_out_the_first_steps(bench: SimpleNamespace) -> None:
    assert bench.processes.Run(raw(0.5, 10), 1).tokens_per_second == pytest.approx(200)
    assert bench.processes.Run(raw(0.5, 10), 2).tokens_per_second == pytest.approx(200)


def test_ratios_are_peer_over_regimen(bench: SimpleNamespace) -> None:
    run = bench.processes.Run
    ours = [run(raw(1.0, 100), 1)]
    finals = {
        "batch 1, fp32": [run(raw(2.0, 500), 1)],
        "batch 8, fp32": [run(raw(4.0, 900), 1)],
        "defaults": [run(raw(8.0, 400), 1)],
    }
    every = finals | {"batch 2, fp32": [run(raw(9.0, 300), 1)]}
    assert bench.train.ratios(ours, finals, every) == pytest.approx(
        {
            "sft_full_vs_trl_best": 2.0,
            "sft_full_vs_trl_defaults": 8.0,
            "sft_full_memory_vs_trl": 5.0,
            "sft_full_memory_vs_trl_smallest": 3.0,
        }
    )


@pytest.mark.parametrize("theirs", [raw(1.0, 1, loss=9.5), raw(1.0, 1, rows="other")])
def test_unequal_work_is_an_error(bench: SimpleNamespace, theirs: dict[str, Any]) -> None:
    from regimen.errors import RunError

    run = bench.processes.Run
    bench.train.check_equal_work(
        run(raw(1.0, 1), 1), {"batch 1, fp32": [run(raw(2.0, 9, 9.01), 1)]}
    )
    with pytest.raises(RunError, match="same work"):
        bench.train.check_equal_work(run(raw(1.0, 1), 1), {"batch 1, fp32": [run(theirs, 1)]})


def test_every_entry_has_the_rows_of_a_step(bench: SimpleNamespace) -> None:
    for bf16 in (True, False):
        grid = bench.grid.grid(bf16)
        names = [entry.name for entry in (bench.grid.DEFAULTS, *grid)]
        assert len(names) == len(set(names))
        assert bench.grid.quick_best(bf16) in grid
        others = [e.name for e in grid if e.settings["bf16"] != bf16]
        assert len(others) == 3
        assert all(bench.grid.by_name(name).name == name for name in names)
    for entry in bench.grid.grid(True):
        micro = entry.settings["per_device_train_batch_size"]
        rows = micro * entry.settings["gradient_accumulation_steps"]
        assert rows == (4 if entry.settings.get("packing") else bench.work.ROWS_PER_STEP)


@pytest.mark.parametrize("quick", [True, False])
def test_processes_take_turns_and_failures_are_rows(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quick: bool
) -> None:
    sides: list[str] = []

    def run(command: list[str], work: Path, settings: dict[str, Any], *_: Any, **how: Any) -> Any:
        side = Path(command[1]).stem
        sides.append(side)
        if settings.get("torch_compile"):
            return bench.processes.Failure("no compiler")
        seconds = 1.0 if side == "regimen_sft" else 1.0 + settings.get("learning_rate", 1.0)
        extra = {"versions": {side: "1"}, "threads": 2}
        return bench.processes.Run(raw(seconds, 100) | extra, how["warm"])

    monkeypatch.setattr(bench.train, "run", run)
    monkeypatch.setattr(bench.train, "write", lambda work, rows: None)
    size = bench.train.QUICK if quick else bench.train.FULL
    result = bench.train.bench(Path("python"), tmp_path, size, quick=quick)
    turns = sides[-2 * size.repeats * ((1 if quick else size.finalists) + 1) :]
    assert turns == ["regimen_sft", "trl_sft"] * (len(turns) // 2)
    assert len(sides) == len(turns) + (0 if quick else len(bench.grid.grid(True)))
    failed = [r["configuration"] for r in result["rows"] if "failed" in r]
    assert [name.rsplit(", ", 1)[0] for name in failed] == (
        [] if quick else ["batch 1, compiled", "batch 8, compiled"]
    )
    assert result["ratios"]["sft_full_vs_trl_defaults"] == pytest.approx(2.0)
    assert bench.render.page([result]).count("regimen") > 3


def test_the_page_fits_and_names_every_row(bench: SimpleNamespace) -> None:
    run = bench.processes.Run(raw(1.0, 1 << 28), 1)
    entries = [bench.train.row("regimen", [run], run, None)]
    entries += [bench.train.row("trl", [run], run, entry) for entry in bench.grid.grid(True)]
    entries.append({"side": "trl", "configuration": "batch 1, compiled", "failed": "x | " * 50})
    machine = {"cpu": "c", "cores": 2, "memory_gib": 8.0, "threads": 2, "load_before": 0.1}
    data = {"rows_per_step": 32, "mean_length": 129.0, "supervised_share": 0.5, "max_length": 1024}
    text = bench.render.page(
        [
            {
                "name": "train",
                "versions": {"trl": "1"},
                "machine": machine,
                "data": data,
                "best": "batch 1",
                "rows": entries,
                "ratios": {"sft_full_vs_trl_best": 2.5},
            }
        ]
    )
    assert max(len(line) for line in text.splitlines()) <= 100
    assert all(f"trl: {entry.name} " in text for entry in bench.grid.grid(True))
    assert "| sft_full_vs_trl_best |  2.50 |" in text


def generated(seconds: float, ids: list[list[int]]) -> dict[str, Any]:
    """Measurements of three rounds of generation."""
    extra = {"ids": ids, "versions": {"transformers": "5"}, "threads": 2}
    return raw(seconds, 1 << 20) | extra


@pytest.mark.parametrize("quick", [True, False])
def test_generation_is_compared_at_equal_ids(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quick: bool
) -> None:
    ids = [[1, 2], [3, 4]]

    def run(command: list[str], work: Path, settings: dict[str, Any], *_: Any, **how: Any) -> Any:
        if settings.get("cache_implementation"):
            return bench.processes.Failure("no such cache")
        seconds = 1.0 if "regimen" in command[1] else 2.0 if settings["batch"] > 1 else 5.0
        return bench.processes.Run(generated(seconds, ids), how["warm"])

    monkeypatch.setattr(bench.generate, "run", run)
    monkeypatch.setattr(bench.generate, "write", lambda work, rows: None)
    result = bench.generate.bench(Path("python"), tmp_path, quick=quick, repeats=2)
    assert result["ratios"] == {"generate_vs_best": 2.0, "generate_vs_defaults": 5.0}
    failed = [row["configuration"] for row in result["rows"] if "failed" in row]
    assert failed == ([] if quick else ["batch 64, static cache"])
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

    monkeypatch.setattr(bench.generate, "run", other)
    with pytest.raises(RunError, match="same ids"):
        bench.generate.bench(Path("python"), tmp_path, quick=quick, repeats=2)
