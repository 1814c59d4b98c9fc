"""Cells in processes of their own: pytest tests/studies/test_runner.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from regimen.studies.cells import Cell
from regimen.studies.runner import Bench, run_cells

TESTS = Path(__file__).parents[1]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    return Bench(directory=tmp_path, code="c", jobs=2, module="helpers.fake_cell")


def cell(number: int, do: str = "finish", needs: Sequence[str] = (), **work: object) -> Cell:
    return Cell(
        kind="fake",
        factors={"number": number},
        seed=1,
        work={"do": do, **work},
        needs=tuple(needs),
    )


def started(bench: Bench) -> list[str]:
    return sorted((bench.directory / "cells" / "started.txt").read_text().split())


def test_cells_are_made_once_and_found_again(bench: Bench) -> None:
    cells = [cell(number) for number in range(3)]
    first = run_cells(cells, bench)
    assert [one.state for one in first] == ["done"] * 3
    assert [one.result["factors"]["number"] for one in first] == [0, 1, 2]
    again = run_cells(cells, bench)
    assert all(one.reused for one in again)
    assert len(started(bench)) == 3


def test_a_changed_cell_alone_is_made_again(bench: Bench) -> None:
    run_cells([cell(0), cell(1)], bench)
    run_cells([cell(0), cell(1, more=True)], bench)
    assert started(bench) == ["number=0,seed=1", "number=1,seed=1", "number=1,seed=1"]


def test_one_that_fails_or_dies_stops_no_other_and_is_tried_again(bench: Bench) -> None:
    told: list[str] = []
    cells = [cell(0, "fail"), cell(1, "die"), cell(2), cell(3, needs=("number=0,seed=1",))]
    found = run_cells(cells, bench, lambda one: told.append(one.cell.name))
    assert [one.state for one in found] == ["failed", "failed", "done", "failed"]
    assert found[0].error == "the cell said no"
    assert "status 7" in found[1].error
    assert "last words" in found[1].error
    assert "number=0,seed=1, which failed" in found[3].error
    assert sorted(told) == sorted(one.name for one in cells)
    run_cells(cells, bench)
    assert started(bench).count("number=0,seed=1") == 2
    assert started(bench).count("number=2,seed=1") == 1


def test_what_is_settled_is_not_looked_at_again(bench: Bench) -> None:
    first = [cell(0), cell(1, "fail")]
    found = run_cells(first, bench)
    more = [*first, cell(2, needs=("number=0,seed=1",)), cell(3, needs=("number=1,seed=1",))]
    told: list[str] = []
    again = run_cells(more, bench, lambda one: told.append(one.cell.name), settled=found)
    assert [one.state for one in again] == ["done", "failed", "done", "failed"]
    assert again[:2] == found
    assert sorted(told) == ["number=2,seed=1", "number=3,seed=1"]
    assert started(bench).count("number=1,seed=1") == 1


def test_what_a_cell_starts_from_is_there_and_part_of_its_key(bench: Bench) -> None:
    needs = ("number=0,seed=1",)
    first = run_cells([cell(0), cell(1, needs=needs)], bench)
    assert first[1].result["places"] == [str(bench.place(cell(0)))]
    run_cells([cell(0, more=1), cell(1, needs=needs)], bench)
    # what number 0 makes is the same whatever its work says, so number 1 is still fresh
    assert started(bench).count("number=1,seed=1") == 1


def test_cells_must_be_named_apart_and_stand_behind_what_they_need(bench: Bench) -> None:
    with pytest.raises(ValueError, match="two cells"):
        run_cells([cell(0), cell(0)], bench)
    with pytest.raises(ValueError, match="do not stand before"):
        run_cells([cell(1, needs=("number=0,seed=1",)), cell(0)], bench)


def test_a_name_is_a_directory_whatever_the_levels_are() -> None:
    odd = Cell(kind="k", factors={"a/b": "../x", "long": "y" * 200}, seed=3, work={})
    assert "/" not in odd.name
    assert len(odd.name) < 100
    other = Cell(kind="k", factors={"a/b": "../z", "long": "y" * 200}, seed=3, work={})
    assert other.name != odd.name


def test_levels_with_dots_are_made_side_by_side_without_taking_each_others_files(
    bench: Bench,
) -> None:
    shares = (0.0, 0.25, 0.5, 0.75)
    cells = [
        Cell(kind="fake", factors={"share": share}, seed=1, work={"do": do})
        for share, do in zip(shares, ("finish", "finish", "fail", "die"), strict=True)
    ]
    found = run_cells(cells, bench)
    assert [one.result["factors"]["share"] for one in found[:2]] == [0.0, 0.25]
    assert found[2].error == "the cell said no"
    assert "last words" in found[3].error
    files = sorted(path.name for path in (bench.directory / "cells").glob("*.cell.json"))
    assert files == [f"share={share},seed=1.cell.json" for share in shares]


SCRIPT = """
import sys
from pathlib import Path
from regimen.studies.cells import Cell
from regimen.studies.runner import Bench, run_cells
cells = [
    Cell(kind="f", factors={"number": n}, seed=1, work={"do": "finish", "seconds": 0.1})
    for n in range(6)
]
run_cells(cells, Bench(directory=Path(sys.argv[1]), code="c", module="helpers.fake_cell"))
"""


def test_a_study_that_is_killed_goes_on_with_what_is_not_done(bench: Bench) -> None:
    source = str(TESTS.parent / "src")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), source])}
    command = [sys.executable, "-c", SCRIPT, str(bench.directory)]
    killed = subprocess.Popen(command, env=environment)
    cells = bench.directory / "cells"
    while len(list(cells.glob("*/manifest.json"))) < 2:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = len(list(cells.glob("*/manifest.json")))
    subprocess.run(command, env=environment, check=True)
    assert len(list(cells.glob("*/manifest.json"))) == 6
    # the one under way may have ended by itself or been made twice
    assert 6 <= len(started(bench)) <= 7
    assert done < 6
