"""Studies from settings to report: pytest tests/stages/test_study.py."""

from __future__ import annotations

import io
import json
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from helpers.colour_task import COLOURS
from regimen.cli import main
from regimen.runs import Run
from regimen.stages import study_cell
from regimen.stages.study_rewrites import train_and_ask
from regimen.studies import runner
from regimen.studies.rewrites import FORMS, Form
from regimen.studies.scores import read_grid

WORDS = (
    *("door", "cup", "hat", "sky", "sea", "leaf", "brick"),
    *("coat", "book", "bird", "fence", "lamp", "shoe", "wall"),
)
TUNE = {
    "model": {"path": "base"},
    "tokens_per_batch": 64,
    "max_length": 64,
    "learning_rate": 0.01,
    "precision": "fp32",
}
TASKS = tuple(f"task{number:02}" for number in range(14))
HELD_OUT = TASKS[2:]


def write_tasks(place: Path, count: int, rows: int) -> None:
    """Tasks that share no row."""
    place.mkdir()
    for number in range(count):
        examples = [
            {"input": f"a {colour} {WORDS[number]}", "output": colour} for colour in COLOURS
        ]
        task = {
            "name": f"task{number:02}",
            "category": "reading",
            "definition": f"Say the colour {number}.",
            "positive": examples,
            "instances": [
                {
                    "input": f"{WORDS[number]} {WORDS[n]} is {COLOURS[n % 3]}",
                    "output": COLOURS[n % 3],
                }
                for n in range(rows)
            ],
        }
        (place / f"task{number:02}.yaml").write_text(yaml.safe_dump(task))


@pytest.fixture(scope="module")
def folder(shared_project: Any) -> Path:
    """A tiny base and 14 tasks, of which 12 are never trained on."""
    write_tasks(shared_project.folder / "tasks", len(TASKS), 14)
    return shared_project.folder


def settings(folder: Path, name: str, **more: Any) -> Path:
    """A study of a learning rate, whose training is three steps long."""
    body: dict[str, Any] = {
        "run": f"runs/{name}",
        "build": {
            "sources": [{"path": "tasks"}],
            "held_out": {"tasks": list(HELD_OUT), "items_per_task": 1},
        },
        "tune": TUNE,
        "evaluate": {"max_new_tokens": 2},
        "study": grid(0.01, 0.02),
        **more,
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in body.items() if value}))
    return file


def run(*arguments: object) -> int:
    """The exit status of ``regimen study``."""
    with pytest.raises(SystemExit) as stopped:
        main(["study", *map(str, arguments)])
    return int(stopped.value.code or 0)


RATES = [0.01, 0.02, -1.0]
"""The last is no learning rate, which only its cell finds out."""


def grid(*rates: float) -> dict[str, Any]:
    vary = {"tune.learning_rate": list(rates)}
    return {"seeds": 1, "jobs": 2, "tokens": 190, "grid": {"vary": vary}}


@dataclass(frozen=True)
class Ran:
    """What one call of ``regimen study`` left."""

    status: int
    said: str
    warned: str
    made: dict[str, int] = field(default_factory=dict)
    """When each finished cell was written, by its name."""

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.said.splitlines()[-1])


class Here:
    """Stands in for the process of a cell: makes it in this one, which has loaded everything."""

    def __init__(self, command: list[str], **streams: Any) -> None:
        self.returncode = study_cell.main(command[-2:])

    def poll(self) -> int:
        return self.returncode


@dataclass(frozen=True)
class Studied:
    """A plan, the study with a cell that fails, the same again, and without that cell."""

    place: Path
    plan: Ran
    first: Ran
    again: Ran
    mended: Ran


@pytest.fixture(scope="module", params=["here", pytest.param("apart", marks=pytest.mark.slow)])
def studied(folder: Path, request: pytest.FixtureRequest) -> Studied:
    """Cells made in this process, and as users have them."""
    name = f"grid-{request.param}"
    file = settings(folder, name, study=grid(*RATES))
    mended = settings(folder, f"mended-{name}", run=f"runs/{name}", study=grid(*RATES[:2]))
    found = {}
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "here":
            stand_in = SimpleNamespace(Popen=Here, DEVNULL=subprocess.DEVNULL)
            patched.setattr(runner, "subprocess", stand_in)
        for call, arguments in {
            "plan": (file, "--plan", "--json"),
            "first": (file, "--json"),
            "again": (file, "--json"),
            "mended": (mended, "--json"),
        }.items():
            found[call] = ran(folder / "runs" / name, *arguments)
    return Studied(folder / "runs" / name, **found)


def ran(place: Path, *arguments: object) -> Ran:
    """One call, and the cells that are done after it."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run(*arguments)
    done = (place / "cells").glob("*/manifest.json")
    made = {one.parent.name: one.stat().st_mtime_ns for one in done}
    return Ran(status, out.getvalue(), err.getvalue(), made)


def test_a_plan_runs_nothing_but_a_short_measurement(studied: Studied) -> None:
    plan = studied.plan
    assert plan.status == 0
    cost = plan.result["plan"]
    assert (cost["done"], cost["open"], cost["tokens"]) == (0, 3, 570)
    assert (cost["measured"], cost["seconds"] > 0) == ("probe", True)
    (only,) = plan.made
    assert only.startswith("probe=")


def test_a_cell_that_fails_stops_no_other_and_ends_with_its_error(studied: Studied) -> None:
    first = studied.first
    assert first.status == 1
    assert "study-cells-failed" in first.warned
    assert "tune.learning_rate=-1.0,seed=1: " in first.warned
    assert first.warned.count("fix:") == 1
    assert "cell tune.learning_rate=-1.0,seed=1 failed" in first.said
    assert "1 of the study's cells failed" in first.warned
    body = json.loads((studied.place / "study.json").read_text())
    assert [claim["name"] for claim in body["claims"]] == ["tune.learning_rate=0.02"]
    # the plan measured already
    assert set(first.made) - set(studied.plan.made) == {
        "tune.learning_rate=0.01,seed=1",
        "tune.learning_rate=0.02,seed=1",
    }


def test_what_is_done_is_not_made_again(studied: Studied) -> None:
    assert studied.again.status == 1
    assert studied.mended.status == 0
    assert studied.first.made == studied.again.made == studied.mended.made
    assert "nothing to do" in studied.mended.said
    result = studied.mended.result
    assert [cell["state"] for cell in result["cells"]] == ["done", "done"]
    assert len({cell["result"]["num_tokens"] for cell in result["cells"]}) == 1
    assert result["cells"][0]["result"]["num_tokens"] >= 190
    measured = result["claims"][0]["measured"]
    assert (measured["n"], measured["clusters"], measured["seeds"]) == (12, 12, 1)


def test_a_cell_keeps_scores_and_metrics_and_no_model(studied: Studied) -> None:
    place = studied.place / "cells/tune.learning_rate=0.02,seed=1"
    scores = pq.read_table(place / "scores.parquet").to_pylist()
    assert {row["system"] for row in scores} == {"tuned"}
    assert {row["cluster"] for row in scores} == set(HELD_OUT)
    assert all(0 <= row["score"] <= 1 for row in scores)
    times = json.loads((place / "times.json").read_text())
    assert times["whole"] >= times["tune"] > 0
    assert set(json.loads((place / "use.json").read_text())) == {
        "tokens_per_second",
        "peak_memory_gib",
    }
    result = json.loads((place / "result.json").read_text())
    # weights, gradients and two moments of every weight, and one count for each tensor
    kept, trained = result["memory"], 4 * result["trainable_parameters"]
    assert (kept["trained"], kept["gradients"]) == (trained, trained)
    assert 2 * trained < kept["optimizer"] < 2.01 * trained
    left = {path.name for path in (place / "run").rglob("*") if path.is_file()}
    assert {"metrics.jsonl", "evaluation.json", "manifest.json"} <= left
    assert not {"model.safetensors", "items.parquet", "instances.parquet"} & left


def test_the_report_is_there_with_every_cell(studied: Studied) -> None:
    html = (studied.place / "report.html").read_text()
    assert "What do these settings change?" in html
    assert "tune.learning_rate=0.01,seed=1" in html
    assert studied.mended.result["report"] == f"runs/{studied.place.name}/report.html"


FORM = Form(letters=8, asked=24, unseen=12, layers=1, heads=2, width=16, tokens_per_batch=256)


def rewrites_body(form: Form, count: int, seed: int) -> dict[str, Any]:
    return {"work": {"form": asdict(form), "rules": count}, "seed": seed}


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_a_model_from_scratch_is_trained_on_rules_and_asked_others(
    tmp_path: Path, model_type: str
) -> None:
    form = replace(FORM, model_type=model_type, steps=3, examples=200)
    run_ = Run.start(tmp_path / "cell", stage="cell", key={})
    result = train_and_ask(rewrites_body(form, 20, 2), run_)
    assert (result["steps"], result["rules"]) == (3, 20)
    assert 2.5 * form.tokens_per_batch < result["num_tokens"] <= 3 * form.tokens_per_batch
    scores = pq.read_table(tmp_path / "cell/scores.parquet").to_pylist()
    by_suite = {"seen_rules": 24, "unseen_rules": 24}
    assert {name: sum(row["suite"] == name for row in scores) for name in by_suite} == by_suite
    copied = sum(row["suite"] == "copied_strings" for row in scores)
    assert 0 < copied <= 24
    unseen = {row["cluster"] for row in scores if row["suite"] == "unseen_rules"}
    assert len(unseen) == 12
    grid_of_two = read_grid({(("a",), 2): tmp_path / "cell/scores.parquet"})
    assert len(grid_of_two.rows) == 48 + copied
    assert set(json.loads((tmp_path / "cell/times.json").read_text())) == {"tune", "whole"}


@pytest.mark.slow
def test_rewrites_run_from_settings_to_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(FORMS, "small", FORM)
    study = {"seeds": 2, "jobs": 2, "rewrites": {"rules": [5, 30], "steps": 4, "examples": 90}}
    file = tmp_path / "rewrites.yaml"
    file.write_text(yaml.safe_dump({"run": "runs/rewrites", "study": study}))
    assert run(file, "--json") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [cell["state"] for cell in result["cells"]] == ["done"] * 4
    assert {cell["result"]["steps"] for cell in result["cells"]} == {4}
    assert result["tokens"] == 4 * FORM.tokens_per_batch  # its own, not study.tokens
    assert [claim["name"] for claim in result["claims"]] == [
        "few rules are not enough",
        "many rules are",
        "more rules help",
    ]
    # four steps teach nothing
    assert result["claims"][1]["verdict"] == "the opposite"


@pytest.mark.slow
@pytest.mark.parametrize(
    "section",
    [
        {"tasks": {"counts": [1, 2], "instances": [4]}},
        {
            "formatting": {
                "parts": ["encodings"],
                "encodings": {"definition": {}, "definition-positive": {"positive": 1}},
            }
        },
        {
            "specialise": {
                "target": {"path": "job"},
                "rows": [2, 5],
                "items": 3,
                "domain_text": {"path": "text.txt"},
                "domain_tokens": 64,
            }
        },
        {
            "adapters": {
                "target": {"path": "job"},
                "rows": 8,
                "few_rows": 4,
                "items": 3,
                "rate_seeds": 1,
                "general_tokens": 190,
                "methods": {
                    "full": {"learning_rates": [0.01]},
                    "lora": {"adapter": {"r": 2}, "learning_rates": [0.01, 0.03]},
                },
            }
        },
    ],
    ids=lambda section: next(iter(section)),
)
def test_every_kind_runs_from_settings_to_verdict(
    folder: Path, section: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (kind,) = section
    if not (folder / "job").exists():
        write_tasks(folder / "job", 3, 12)
    study = {"seeds": 1, "jobs": 2, "tokens": 190, **section}
    # demonstrations make prompts longer
    tune = {**TUNE, "max_length": 128, "tokens_per_batch": 128}
    assert run(settings(folder, kind, study=study, tune=tune), "--json") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {cell["state"] for cell in result["cells"]} == {"done"}
    assert result["kind"] == kind
    assert result["claims"]


LORA = {"adapter": {"r": 2}, "learning_rates": [1e-3]}


def methods(named: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A study of these methods."""
    section = {"target": {"path": "tasks"}, "methods": named, **more}
    return {"study": {"adapters": section}}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"study": None}, ("section-missing", "'study'")),
        ({"study": {"seeds": 2}}, ("exactly one",)),
        ({"study": {**grid(1, 2), "tasks": {}}}, ("exactly one",)),
        ({"study": {**grid(1, 2), "sedes": 2}}, ("study.sedes", "Did you mean 'seeds'?")),
        ({"study": {"grid": {"vary": {"tuen.r": [1, 2]}}}}, ("setting of no stage", "tuen.r")),
        ({"study": {"grid": {"vary": {"tune.r": [1]}}}}, ("study.grid.vary",)),
        ({"build": None}, ("no 'build'",)),
        ({"study": {"tasks": {"counts": [4]}}}, ("study.tasks.counts",)),
        (
            methods({"full": {"learning_rates": [1e-3]}, "dora": {"learning_rates": [1e-3]}}),
            ("study.adapters.methods: has no 'lora'", "methods.dora: names no adapter"),
        ),
        (
            methods({"full": {"learning_rates": [1e-3], "adapter": {"r": 2}}, "lora": LORA}),
            ("study.adapters.methods.full.adapter: is full tuning",),
        ),
        (
            methods({"full": {"learning_rates": [1e-3, 1e-3], "quantise": "nf4"}, "lora": LORA}),
            (
                "study.adapters.methods.full.learning_rates: has 0.001 twice",
                "study.adapters.methods.full.quantise: needs an adapter",
            ),
        ),
        (
            methods({"full": {"learning_rates": []}, "lora": {**LORA, "adapter": {"rr": 2}}}),
            (
                "study.adapters.methods.full.learning_rates",
                "study.adapters.methods.lora.adapter.rr",
                "Did you mean 'r'?",
                "2 problems",
            ),
        ),
        (
            methods(
                {"full": {"learning_rates": [1e-3]}, "lora": {**LORA, "adapter": {"kind": "lra"}}}
            ),
            ("study.adapters.methods.lora.adapter.kind", "Did you mean 'lora'?"),
        ),
        (
            methods({"full": {"learning_rates": [1e-3]}, "lora": LORA}, rows=50),
            ("study.adapters.few_rows: 100 are no fewer than rows, 50",),
        ),
    ],
)
def test_settings_of_a_study_that_cannot_run_are_told_before_anything_does(
    folder: Path, more: dict[str, Any], said: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings(folder, "wrong", **more)) == 1
    shown = capsys.readouterr()
    for part in said:
        assert part in shown.out + shown.err
    assert not (folder / "runs/wrong").exists()
