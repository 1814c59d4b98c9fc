"""The benchmark of an accelerator: what runs when, what is kept, what a result says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regimen.errors import RunError

Make = Callable[..., dict[str, Any]]
GIB = 1 << 30
SIDES = ("regimen", "separate")
HIDING = """
import sys
from importlib.machinery import PathFinder

HIDDEN = {"pydantic", "bitsandbytes", "zstandard", "rapidfuzz", "tenacity", "scipy", "trl"}

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in HIDDEN
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture
def made() -> Make:
    """What a process tells: steps of 1,000 tokens, ``seconds`` each after a slow first two."""

    def make(seconds: float = 1.0, *, beyond: int = GIB, flop: bool = False, **more: Any) -> Any:
        ended = [10.0 + seconds * number for number in range(8)]
        steps = [
            {"ended": e, "cpu": e, "tokens": 1000, "supervised": 900, "loss": 9.0} for e in ended
        ]
        found = {
            "steps": steps,
            "rows": "same",
            "versions": {"torch": "2"},
            "device": {"name": "chip", "memory_gib": 139.8, "cuda": "13.0"},
            "matmul": 790e12,
            "threads": 2,
            "memory": {"allocated": 4 * GIB + beyond, "reserved": 6 * GIB},
            "held": {"weights": 2 * GIB, "gradients": GIB, "optimizer": GIB, "trained": 10},
        }
        if flop:
            found["flop"] = [395e12 * seconds] * 8
        return found | more

    return make


def test_twelve_cells_and_every_target_is_one_of_their_ratios(
    bench: SimpleNamespace, made: Make
) -> None:
    cells = list(bench.gpu_cells.CELLS.values())
    assert len(cells) == 12
    jobs = bench.gpu_state.jobs_of(cells)
    assert len({job.key for job in jobs}) == len(jobs)
    reference = {"reference": {"seconds": 1.0, "tokens": 1000, "flop": 1e12}}
    found = {
        job.key: made(flop=True) | (reference if job.cell.kind == "dpo" else {}) for job in jobs
    }
    result = bench.gpu_result.merged(cells, found, {})
    assert set(result["targets"]) == set(bench.gpu_result.TARGETS)
    assert set(result["targets"]) <= set(result["ratios"])
    assert not [row for row in result["rows"] if "failed" in row]


def test_ratios_are_time_of_the_fastest_line_and_memory_beyond_what_stays(
    bench: SimpleNamespace, made: Make
) -> None:
    cell = bench.gpu_cells.CELLS["sft_full_1.5b"]
    found = {
        "sft_full_1.5b.regimen": made(1.0, beyond=GIB, flop=True),
        "sft_full_1.5b.trl_liger": made(3.0, beyond=3 * GIB),
        "sft_full_1.5b.trl_liger-larger-batches": made(2.0, beyond=4 * GIB),
    }
    _, ratios = bench.gpu_result.part_of(cell, found)
    assert ratios["gpu_sft_full_1.5b_vs_trl_liger"] == pytest.approx(2)
    assert ratios["gpu_sft_full_1.5b_beyond_share_of_trl_liger"] == pytest.approx(0.25)
    assert ratios["gpu_sft_full_1.5b_utilisation"] == pytest.approx(0.5)
    assert ratios["gpu_sft_full_1.5b_tokens_per_second_scaled"] == pytest.approx(1000)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rows": "others"}, "other rows"),
        ({"steps": 9}, "tokens of the steps"),
        ({"loss": 9.5}, "first losses"),
    ],
)
def test_a_side_that_did_other_work_gives_no_ratio(
    bench: SimpleNamespace, made: Make, change: dict[str, Any], why: str
) -> None:
    cell = bench.gpu_cells.CELLS["lora_8b"]
    other = made(2.0, **({"rows": "others"} if "rows" in change else {}))
    for step in other["steps"]:
        step["tokens"] += change.get("steps", 0)
        step["loss"] = change.get("loss", step["loss"])
    found = {"lora_8b.regimen": made(flop=True), "lora_8b.trl_liger": other}
    rows, ratios = bench.gpu_result.part_of(cell, found)
    assert why in rows[1]["failed"]
    assert "gpu_lora_8b_vs_trl_liger" not in ratios


def test_a_process_begins_only_with_enough_time_and_never_has_more_than_is_left(
    bench: SimpleNamespace,
) -> None:
    state, cells = bench.gpu_state, bench.gpu_cells
    long = cells.Side("long", "x.py", limit=200.0, expected=100.0)
    short = cells.Side("short", "x.py", limit=50.0, expected=20.0)
    assert [state.granted(long, left) for left in (99, 150, 500)] == [0, 150, 200]
    cell = replace(cells.CELLS["head"], sides=(long, short))
    jobs = state.jobs_of([cell])
    assert state.following(jobs, {}, 500) is jobs[0]
    assert state.following(jobs, {}, 60) is jobs[1]
    assert state.following(jobs, {}, 10) is None
    assert state.following(jobs, {jobs[0].key: {}}, 500) is jobs[1]
    assert state.following(jobs, {job.key: {} for job in jobs}, 500) is None


def test_it_goes_on_where_it_stopped_and_tries_again_what_had_too_little_time(
    bench: SimpleNamespace, made: Make, tmp_path: Path
) -> None:
    state, cells = bench.gpu_state, bench.gpu_cells
    sides = tuple(cells.Side(name, "x.py", limit=100.0, expected=30.0) for name in "abc")
    jobs = state.jobs_of([replace(cells.CELLS["head"], sides=sides)])
    clock = [140.0]

    def carry_out(job: Any, limit: float) -> dict[str, Any]:
        clock[0] -= limit
        if job.side.name == "a":
            return made()
        return {"failed": f"took more than {limit:.0f} s"}

    found = state.carry_on(jobs, {}, tmp_path, carry_out, lambda: clock[0])
    assert list(found) == ["head.a"]  # b had 40 of its 100 seconds, and c none
    assert state.read_state(tmp_path) == json.loads(json.dumps(found))
    clock[0] = 1000.0
    again = state.carry_on(jobs, state.read_state(tmp_path), tmp_path, carry_out, lambda: clock[0])
    assert list(again) == ["head.a", "head.b", "head.c"]
    assert clock[0] == 800.0
    assert again["head.b"] == {"failed": "took more than 100 s"}
    left = state.forget_failures(tmp_path, again, [job.key for job in jobs])
    assert list(left) == ["head.a"]
    assert list(state.read_state(tmp_path)) == ["head.a"]


def test_a_state_cut_down_to_one_file_holds_everything(
    bench: SimpleNamespace, made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, gpu = bench.gpu_state, bench.gpu
    monkeypatch.setattr(gpu, "machine", lambda: {"cpu": "here", "cores": 2})
    for side in ("regimen", "trl_liger"):
        state.keep(tmp_path, f"lora_8b.{side}", made(flop=True))
    options = gpu.arguments(["--state", str(tmp_path), "--merge"])
    result = gpu.written(options, state.read_state(tmp_path), gpu.machine())
    before = state.read_state(tmp_path)
    for path in tmp_path.glob("*.*.json"):
        path.unlink()
    assert state.read_state(tmp_path) == before
    assert len(before) == 2
    assert "lora_8b.trl" in result["missing"]
    assert "processes" not in gpu.without_processes(result)
    # what is measured later goes before what was carried
    state.keep(tmp_path, "lora_8b.trl_liger", made(2.0))
    assert state.read_state(tmp_path)["lora_8b.trl_liger"]["steps"][1]["ended"] == 12.0


def test_what_cannot_be_measured_is_told(
    bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = bench.gpu
    state = ["--state", str(tmp_path)]
    assert gpu.main(["--cell", "lora_8", *state, "--tiny"]) == 1
    assert "benchmark-cell" in capsys.readouterr().err
    assert gpu.main(["--merge", *state]) == 1
    assert "benchmark-nothing" in capsys.readouterr().err
    assert gpu.main(state) == 1  # tests see no device
    told = capsys.readouterr().err
    assert all(word in told for word in ("missing-cuda", "got:", "expected:", "fix:"))
    with pytest.raises(RunError, match="no wheels"):
        gpu.unpacked(tmp_path, tmp_path / "peers")


def test_the_rows_of_a_cell_are_those_of_its_steps(bench: SimpleNamespace) -> None:
    work = bench.gpu_work
    rows, packs = work.draw_packs(3, 256, 500)
    ends = [0, *rows.starts[1:][[sum(packs[:n]) - 1 for n in (1, 2, 3)]]]
    assert ends == [0, 256, 512, 768]
    assert (rows.prompts >= 1).all()
    assert (rows.supervised >= 1).all()
    ids, labels = bench.work.sequences(rows, packs)
    assert [len(row) for row in ids] == [len(row) for row in labels] == [256] * 3
    assert sum(label != -100 for row in labels for label in row) == int(rows.supervised.sum())
    groups = work.draw_groups(2, 500)
    starts = groups.starts
    for row in range(len(groups)):
        first, prompt = int(starts[row - row % work.ANSWERS]), int(groups.prompts[row])
        shared = groups.ids[first : first + prompt]
        assert (groups.ids[int(starts[row]) : int(starts[row]) + prompt] == shared).all()
    pairs = bench.pairs.draw_pairs(6)
    ordered = work.by_length(pairs, 2, 3)
    longest = ordered.lengths.reshape(-1, 2).max(1)
    assert (longest[:3] == sorted(longest[:3])).all()
    assert sorted(map(str, bench.pairs.pairs_of(ordered)[:3])) == sorted(
        map(str, bench.pairs.pairs_of(pairs)[:3])
    )


def test_the_page_names_every_side_and_fits(bench: SimpleNamespace, made: Make) -> None:
    cells = list(bench.gpu_cells.CELLS.values())
    jobs = bench.gpu_state.jobs_of(cells)
    reference = {"reference": {"seconds": 1.0, "tokens": 1000, "flop": 1e12}}
    found: dict[str, Any] = {
        job.key: made(flop=True) | (reference if job.cell.kind == "dpo" else {}) for job in jobs
    }
    found["head.liger"] = {"failed": "it | broke " * 20}
    machine = {"cpu": "c" * 40, "cores": 16}
    text = bench.render.page([bench.gpu_result.merged(cells, found, machine)])
    assert max(len(line) for line in text.splitlines()) <= 100
    for job in jobs:
        section = text.split(f"\n### {job.cell.name}\n")[1].split("\n### ")[0]
        assert f"| {job.side.name} " in section
    assert "gpu_lora_8b_tokens_per_second_scaled" in text


@pytest.mark.slow
def test_a_tiny_cell_runs_end_to_end_without_libraries_that_may_be_missing(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDING)  # read by every process at its start
    root = Path(__file__).resolve().parents[2]
    state = tmp_path / "state"
    command = [sys.executable, str(root / "benchmarks" / "gpu.py"), "--tiny", "--json"]
    command += ["--state", str(state), "--cell", "dpo_prefix_1.5b"]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(hidden), str(root / "src")])}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert [row.get("failed") for row in result["rows"]] == [None, None]
    assert result["ratios"]["gpu_dpo_prefix_1.5b_bound"] > 1
    files = {path.name: path.stat().st_mtime_ns for path in state.iterdir()}
    assert set(files) == {"gpu.json", *(f"dpo_prefix_1.5b.{s}.json" for s in SIDES)}
    again = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout.splitlines()[-1])["ratios"] == result["ratios"]
    kept = {path.name: path.stat().st_mtime_ns for path in state.iterdir()}
    assert all(kept[name] == when for name, when in files.items() if name != "gpu.json")
