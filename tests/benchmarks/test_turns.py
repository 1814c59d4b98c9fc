"""Grids, the cut-off, and who runs when."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

PYTHONS = {name: Path(__file__) for name in ("trl", "litgpt", "llamafactory")}
Raw = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("bf16", [True, False])
def test_every_entry_has_the_rows_of_a_step(bench: SimpleNamespace, bf16: bool) -> None:
    for work in bench.works.WORKS.values():
        entries = bench.grid.grid(work, bf16)
        labels = [entry.label for entry in (bench.grid.defaults(work), *entries)]
        assert len(labels) == len(set(labels))
        assert {entry.peer for entry in entries} == set(work.peers)
        trl = [entry for entry in entries if entry.peer == "trl"]
        assert sum(entry.settings["bf16"] != bf16 for entry in trl) == 1
        for entry in (e for e in entries if not e.defaults and not work.evaluates):
            if entry.peer == "litgpt":
                assert entry.settings["global_batch_size"] == work.rows_per_step
                continue
            micro = entry.settings["per_device_train_batch_size"]
            rows = micro * entry.settings["gradient_accumulation_steps"]
            packed = entry.settings.get("packing")
            assert rows == work.rows_per_step // (8 if packed else 1)
            assert entry.compared == 0 or entry.settings["train_sampling_strategy"] == "sequential"


def recorded(
    bench: SimpleNamespace, patch: pytest.MonkeyPatch, floor: str, ended: list[float]
) -> Any:
    """A recorder whose steps of 100 tokens end at given seconds."""
    times = iter([0.0, *ended])
    patch.setenv(bench.measure.FLOOR, floor)
    patch.setattr(bench.measure.time, "perf_counter", lambda: next(times))
    recorder = bench.measure.Recorder()
    recorder.begin()
    for _ in ended:
        recorder.step(100, 40, 9.0)
    return recorder


def test_a_run_far_behind_is_left_after_its_second_step(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = recorded(bench, monkeypatch, "50", [30.0, 31.9, 60.0])
    assert len(kept.steps) == 3
    assert not kept.cut
    with pytest.raises(bench.measure.TooSlow):
        recorded(bench, monkeypatch, "50", [1.0, 3.1, 3.2])
    assert not recorded(bench, monkeypatch, "0", [1.0, 99.0]).cut
    times = iter([0.0, 1.0, 4.0])
    monkeypatch.setenv(bench.measure.FLOOR, "50")
    monkeypatch.setattr(bench.measure.time, "perf_counter", lambda: next(times))
    recorder = bench.measure.Recorder()
    recorder.begin()
    recorder.step(100, 40, 9.0)
    with pytest.raises(bench.measure.TooSlow):
        recorder.step(100, 40, 9.0)
    recorder.write(tmp_path / "out.json", rows="r")
    run = bench.processes.Run(json.loads((tmp_path / "out.json").read_text()), 1)
    assert run.cut
    assert run.tokens_per_second == pytest.approx(100 / 3)


def test_screening_asks_for_half_of_the_best_so_far(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, raw: Raw
) -> None:
    work = bench.works.WORKS["sft_lora"]
    entries = [
        bench.grid.Configuration(name, {}, defaults=name == "defaults")
        for name in ("first", "broken", "faster", "slow", "defaults", "last")
    ]
    seconds = {"first": 1.0, "faster": 0.5, "slow": 4.0, "defaults": 0.1, "last": 1.0}
    floors: dict[str, float] = {}

    def peer(entry: Any, steps: int, warm: int, floor: float) -> Any:
        floors[entry.name] = floor
        assert warm == 1
        assert steps == (5 if entry.defaults else 3)
        if entry.name == "broken":
            return bench.processes.Failure("no compiler")
        return bench.processes.Run(raw(seconds[entry.name], 1), 1)

    benchmark = bench.turns.Bench(work, work.full, PYTHONS, Path())
    monkeypatch.setattr(benchmark, "peer", peer)
    found = bench.turns.Measured()
    bench.turns.screen(benchmark, entries, found)
    assert floors == {
        "first": 0.0, "broken": 50.0, "faster": 50.0, "slow": 100.0, "defaults": 0.0, "last": 100.0
    }  # fmt: skip
    assert [e.name for e in found.failures] == ["broken"]
    assert [e.name for e in bench.turns.fastest(found.screened, 2)] == ["faster", "first"]


def test_a_peer_without_an_environment_is_a_failure(bench: SimpleNamespace) -> None:
    work = bench.works.WORKS["sft_full"]
    nowhere = {name: Path("/nowhere/python") for name in PYTHONS}
    benchmark = bench.turns.Bench(work, work.full, nowhere, Path())
    done = benchmark.peer(bench.grid.defaults(work), 1, 1)
    assert "/nowhere/python" in done.reason


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", ["sft_full", "sft_lora", "sft_full_135m", "eval_loss"])
def test_processes_take_turns_and_failures_are_rows(
    bench: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    raw: Raw,
    quick: bool,
    name: str,
) -> None:
    sides: list[str] = []
    work = bench.works.WORKS[name]

    def run(command: list[str], files: Path, settings: dict[str, Any], *_: Any, **how: Any) -> Any:
        side = Path(command[1]).stem
        sides.append(side)
        if settings.get("torch_compile"):
            return bench.processes.Failure("no compiler")
        ours = side.startswith("regimen")
        seconds = 1.0 if ours else 3.0 if settings.keys() == {"use_cpu", "max_steps"} else 2.0
        seconds += 2.0 * (side == "litgpt_sft")
        rate = {"flop": [4e9] * 4, "flop_per_second": 8e9} if ours else {}
        made = raw(seconds, 100) | {"versions": {side: "1", "torch": "2"}} | rate
        return bench.processes.Run(made, how["warm"])

    monkeypatch.setattr(bench.turns, "run", run)
    monkeypatch.setattr(bench.train, "write", lambda *_: None)
    monkeypatch.setattr(bench.turns, "bf16_is_fast", lambda: False)
    size = work.quick if quick else work.full
    part = bench.train.bench(work, PYTHONS, tmp_path, size, quick=quick)
    entries = bench.grid.grid(work, False)
    ours = work.script.removesuffix(".py")
    theirs = "trl_eval" if work.evaluates else "trl_sft"
    missing = {"litgpt", "llamafactory"} & set(work.peers)
    turns = sides if quick else sides[len(entries) :]
    if quick:
        assert turns == [ours, theirs, theirs]
    else:
        assert turns[:4] == [ours, theirs] * 2
        assert turns.count(ours) == 2 * size.repeats + len(missing)
        assert turns.count("litgpt_sft") == ("litgpt" in missing)
    compiled = [e.name for e in entries if e.settings.get("torch_compile")]
    failed = [r["configuration"] for r in part["rows"] if "failed" in r]
    assert failed == ([] if quick else compiled)
    assert part["ratios"][f"{name}_vs_trl_best"] == pytest.approx(2.0)
    assert part["ratios"][f"{name}_vs_best"] == pytest.approx(2.0)
    assert part["ratios"][f"{name}_vs_trl_defaults"] == pytest.approx(3.0)
    assert (f"{name}_vs_litgpt_best" in part["ratios"]) == (not quick and "litgpt" in missing)
    assert part["utilisation"] == {f"{name}_utilisation": pytest.approx(0.5)}
    assert all(r["work"] == name for r in part["rows"])
    json.dumps(part)
