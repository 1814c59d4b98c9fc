"""The build's benchmark: both sides write the same texts, ratios, the large build, the page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regimen.errors import RunError
from regimen.instances.templates import Rendering, TemplateWorker

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def test_both_sides_write_the_same_texts(bench: SimpleNamespace) -> None:
    with TemplateWorker() as worker:
        for kind in bench.build_works.KINDS:
            rows = bench.build_works.draw_rows(kind, 30)
            assert rows == bench.build_works.draw_rows(kind, 30)
            templates = bench.build_bare.compiled(kind)
            theirs = [templates[row["template"]].texts(row) for row in rows]
            made = worker.render(bench.build_regimen.jobs_of(kind, rows))
            ours = [one.texts for one in made if isinstance(one, Rendering)]
            assert ours == theirs
            assert all(prompt.strip() and answer.strip() for prompt, answer in theirs)
            table = bench.build_regimen.to_table(worker, kind, rows).to_pydict()
            assert list(zip(table["prompt"], table["answer"], strict=True)) == theirs


def test_the_digest_keeps_prompt_and_answer_apart(bench: SimpleNamespace) -> None:
    digest = bench.build_works.digest
    assert digest([("a", "b")]) == digest([["a", "b"]])
    assert digest([("ab", "")]) != digest([("a", "b")])
    assert digest([("a", "b"), ("c", "d")]) != digest([("c", "d"), ("a", "b")])


@pytest.mark.parametrize(("script", "work"), [("bare", ""), ("regimen", "render")])
def test_a_process_tells_seconds_and_texts(
    bench: SimpleNamespace, tmp_path: Path, script: str, work: str
) -> None:
    bench.build_works.write_rows(tmp_path, 6)
    settings = {"work": work, "cores": 1, "rounds": 2}
    command = [sys.executable, str(FOLDER / f"build_{script}.py")]
    done = bench.processes.run(command, tmp_path, settings, {}, warm=0, limit=60)
    assert isinstance(done, bench.processes.Run)
    for kind in bench.build_works.KINDS:
        rows = bench.build_works.read_rows(tmp_path, kind)
        templates = bench.build_bare.compiled(kind)
        texts = [templates[row["template"]].texts(row) for row in rows]
        found = done.raw["kinds"][kind.name]
        assert found["digest"] == bench.build_works.digest(texts)
        assert len(found["seconds"]) == len(found["cpu"]) == 2


@pytest.mark.slow
def test_the_peer_writes_the_same_texts(bench: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    bench.build_works.write_rows(tmp_path, 6)
    command = [sys.executable, str(FOLDER / "peers" / "datasets_map.py")]
    digests = []
    for batched in (False, True):
        settings = {"batched": batched, "in_memory": True, "processes": None}
        settings |= {"cores": 0, "rounds": 1}
        done = bench.processes.run(command, tmp_path, settings, {}, warm=0, limit=60)
        digests.append({name: one["digest"] for name, one in done.raw["kinds"].items()})
    assert digests[0] == digests[1]
    kind = bench.build_works.KINDS[2]
    rows, templates = bench.build_works.read_rows(tmp_path, kind), bench.build_bare.compiled(kind)
    texts = [templates[row["template"]].texts(row) for row in rows]
    assert digests[0][kind.name] == bench.build_works.digest(texts)


@pytest.mark.slow
def test_rows_are_tables_of_instances(bench: SimpleNamespace, tmp_path: Path) -> None:
    bench.build_works.write_rows(tmp_path, 6)
    found = bench.build_regimen.lines(tmp_path, 1)
    assert {one["rows"] for one in found.values()} == {6}


def built(rows: int) -> dict[str, Any]:
    """A large build that did not happen: 300 s for a million rows."""
    return {
        **{"rows": rows, "instances": rows, "bytes": 5 * 10**6, "seconds": rows * 3e-4},
        **{"reading_seconds": 40.0, "building_seconds": 260.0, "cpu_seconds": 500.0},
        **{"tree_peak_mib": 1536.0, "parent_peak_mib": 700.0, "processes": 5, "samples": 9},
        **{"instances_per_second": 3333.3, "data_seconds": 1.0},
    }


def measured(
    bench: SimpleNamespace, patch: pytest.MonkeyPatch, folder: Path, size: Any, other: str = ""
) -> Any:
    """A result of made-up processes; ``other`` names the entry that writes other texts."""
    seconds = {"bare": 1.0, "ours": 0.8, "map": 3.0, "columns": 1.2, "whole line": 9.0}
    entries = {
        (one.script, json.dumps({**one.settings, "cores": one.cores})): name
        for name, one in bench.build.ENTRIES.items()
    }

    def run(command: list[str], work: Path, settings: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        told = {key: value for key, value in settings.items() if key != "rounds"}
        script = Path(command[1]).relative_to(FOLDER).as_posix()
        name = entries[script, json.dumps(told)]
        one = {"seconds": [seconds.get(name, 2.0)] * 2, "digest": "x" if name == other else "y"}
        one |= {} if script.startswith("peers") else {"cpu": [1.5, 1.5], "jobs": 0.2}
        raw = {"kinds": {kind.name: one for kind in bench.build_works.KINDS}}
        return bench.processes.Run(raw | {"versions": {script: "1"}}, 0)

    patch.setattr(bench.build, "run", run)
    patch.setattr(bench.build, "write_rows", lambda *_: None)
    patch.setattr(bench.build, "million", lambda folder, rows: built(rows))
    return bench.build.bench(Path("python"), folder, size, quick=False)


def test_ratios_are_peer_over_regimen_and_the_page_fits(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    size = bench.build.Size(20_000, 2, 2, bench.build.MILLION)
    result = measured(bench, monkeypatch, tmp_path, size)
    assert result["ratios"] == {
        "render_overhead": pytest.approx(1.25),
        "render_vs_datasets": pytest.approx(2.5),
        "build_limit_time": pytest.approx(1.2),
        "build_limit_memory": pytest.approx(2.0),
    }
    assert result["side_ratios"]["render_overhead_with_jobs"] == pytest.approx(1.0)
    assert result["side_ratios"]["render_overhead_cpu"] == pytest.approx(1.0)
    assert [row["configuration"] for row in result["rows"]] == list(bench.build.ENTRIES)
    assert result["rows"][0]["mean_microseconds"] == pytest.approx(50)
    json.dumps(result)
    page = bench.render.page([result])
    assert max(len(line) for line in page.splitlines()) <= 100
    assert all(f"| {name} " in page for name in bench.build_page.SAID.values())
    assert "| render_overhead " in page
    assert "| build_limit_memory " in page


def test_a_quick_run_tells_no_limit_of_memory(bench: SimpleNamespace) -> None:
    assert bench.build.limits(built(40_000)) == {"build_limit_time": pytest.approx(1.2)}


def test_other_texts_are_an_error(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="same texts"):
        measured(bench, monkeypatch, tmp_path, bench.build.Size(5, 1, 1, 10), other="columns")
    # the whole line draws templates itself, and tells no texts
    measured(bench, monkeypatch, tmp_path, bench.build.Size(5, 1, 1, 10), other="whole line")


@pytest.mark.slow
def test_a_build_is_watched_and_accounted_for(bench: SimpleNamespace, tmp_path: Path) -> None:
    found = bench.build_million.million(tmp_path, 200)
    assert found["rows"] == found["instances"] == 200
    assert found["tree_peak_mib"] >= found["parent_peak_mib"] > 1
    assert found["seconds"] > 0
    with pytest.raises(RunError, match="of every row"):
        bench.build_million.checked(tmp_path, 220)


@pytest.mark.slow
def test_a_build_that_fails_says_why(
    bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text('{"run": "run", "build": {"sources": [{"path": "nowhere"}]}}')
    with pytest.raises(RunError, match="nowhere"):
        bench.build_million.watched(recipe, tmp_path / "log.txt")


def test_workers_are_counted_in_the_peak(bench: SimpleNamespace) -> None:
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'input()'])"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    watch = bench.build_million.Watched(0.0)
    while watch.processes < 2:
        watch.look(parent.pid)
    assert watch.tree_peak > watch.parent_peak > 0
    parent.communicate(b"\n")
    assert parent.returncode == 0
