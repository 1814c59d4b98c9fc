"""The same bytes for any number of workers: pytest tests/stages/test_workers.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from regimen.errors import DataError
from regimen.files import file_hash
from regimen.instances.encodings import FormattingSpec
from regimen.instances.formatting import task_rows
from regimen.instances.task_files import write_task
from regimen.records import Example, Task, Template
from regimen.settings.build import CurationSettings
from regimen.stages import producing
from regimen.stages.producing import Chunk, Plan, chunks
from regimen.stages.workers import ENOUGH_ROWS, products, worker_count

BUILD = {
    "instances_per_task": 500,
    "held_out": {"tasks": ["task2"], "items_per_task": 3},
    "formatting": {
        "encoding": "mixed",
        "template_share": 0.7,
        "positive": [0, 0, 1, 3],
        "demonstrations": "both",
        "option_labels": "mixed",
        "inverted_share": 0.2,
        "templates": 2,
    },
}


def task(number: int) -> Task:
    colours = ["red", "green", "blue", f"shade {number}"]
    rows = [
        {
            "input": f"thing {n % 150} of {number}",
            "output": colours[n % 4] if n % 11 else "none of them",
            "options": colours,
            "licence": "MIT" if n % 2 else "CC-BY-SA-4.0",
        }
        for n in range(200)
    ]
    return Task(
        name=f"task{number}",
        licence="Apache-2.0",
        definition=f"Say the colour of a thing of kind {number}.",
        templates=(
            Template(name="plain", input="{{ input }}? {{ options_block }}"),
            Template(
                name="joint",
                input="{{ ['Say', 'Tell'] | choice }} {{ input }}: "
                "{{ answer_choices | join(' or ') }} ||| {{ answer_choices[0] }}",
                output="",
                choices="{{ options | join(' ||| ') }}",
            ),
            Template(name="fails", input="{{ 1 / (input | length - 12) }}"),
        ),
        positive=(Example(input="sky", output="blue"), Example(input="leaf", output="green")),
        instances=tuple(rows),
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "tasks").mkdir()
    for number in range(4):
        write_task(folder / "tasks" / f"task{number}.yaml", task(number))
    return folder


def build(project: Path, name: str, count: int, hash_seed: int) -> dict[str, str]:
    """Hashes of all that a build writes, with this many workers and this seed of hashes."""
    settings = {
        "run": f"runs/{name}",
        "build": {**BUILD, "workers": count, "sources": [{"path": "tasks"}]},
    }
    (project / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    subprocess.run(
        [sys.executable, "-c", "from regimen.cli import main; main()", "run", f"{name}.yaml"],
        cwd=project,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        check=True,
        capture_output=True,
    )
    place = project / "runs" / name / "build"
    names = ["instances.parquet", "items.parquet", "data_card.json", "ledger/summary.json"]
    names += sorted(f"ledger/{file.name}" for file in (place / "ledger").glob("*.*"))
    return {file: file_hash(place / file) for file in names}


@pytest.mark.slow
def test_any_number_of_workers_and_any_hash_seed_write_the_same_bytes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = build(project, "alone", 0, 1)
    assert alone == build(project, "two", 2, 3)
    table = pq.read_table(project / "runs/alone/build/instances.parquet")
    assert table.num_rows > 500
    assert set(table["licence"].to_pylist()) == {"CC-BY-SA-4.0", "Apache-2.0"}
    summary = json.loads((project / "runs/alone/build/ledger/summary.json").read_text())
    assert summary["format"]["failed"].keys() >= {"answer_not_in_options", "template_error"}
    for step in summary.values():
        out = step["kept"] + sum(step["removed"].values()) + sum(step["failed"].values())
        assert step["in"] == out


def plan(**formatting: object) -> Plan:
    return Plan(FormattingSpec(**formatting), 0, CurationSettings())  # type: ignore[arg-type]


def test_chunks_hold_every_row_once_whatever_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for size in (7, 64, 10_000):
        monkeypatch.setattr(producing, "ROWS_AT_ONCE", size)
        spec = plan(encoding="mixed", templates="all").spec
        pieces = task_rows([task(1), task(0)], spec, 120, 0, at_once=size)
        found = list(products(plan(encoding="mixed", templates="all"), chunks(pieces), 0))
        ids = [i for product in found for i in product.table["instance_id"].to_pylist()]
        made[size] = ids
        assert sum(product.rows for product in found) == 240
        assert len(found) == {7: 35, 64: 3, 10_000: 1}[size]
    assert made[7] == made[64] == made[10_000]


def test_an_error_of_a_worker_is_raised_here_as_it_was() -> None:
    broken = Plan(FormattingSpec(max_tokens=9), 0, CurationSettings(), tokenizer="nowhere")
    rows = Chunk(tuple(task_rows([task(1)], broken.spec, 4, 0)))
    with pytest.raises(DataError, match="tokenizer-missing") as caught:
        list(products(broken, [rows], 1))
    assert (caught.value.where, caught.value.fix != "") == ("nowhere", True)


def test_a_worker_that_dies_is_an_error_not_a_hang() -> None:
    before = set(psutil.Process().children())
    pieces = task_rows([task(1)], plan().spec, 150, 0, at_once=1)
    made = products(plan(), [Chunk((piece,)) for piece in pieces], 1)
    next(made)
    for child in set(psutil.Process().children()) - before:
        child.kill()
    with pytest.raises(DataError, match="worker-ended"):
        list(made)
    assert set(psutil.Process().children()) <= before


def test_rows_that_cannot_be_sent_say_so() -> None:
    odd = Task(name="odd", definition="d", instances=({"input": "a", "output": "b", "f": print},))
    local = Task(
        name="local", definition="d", instances=({"input": "a", "output": "b", "f": lambda: 0},)
    )
    for one, fails in ((odd, False), (local, True)):
        rows = [Chunk(tuple(task_rows([one], plan().spec, 1, 0)))]
        if fails:
            with pytest.raises(DataError, match="worker-rows"):
                list(products(plan(), rows, 1))
        else:
            assert next(products(plan(), rows, 1)).table.num_rows == 1


def test_small_builds_stay_in_this_process() -> None:
    assert worker_count(None, ENOUGH_ROWS - 1) == 0
    assert worker_count(None, ENOUGH_ROWS) >= 1
    assert worker_count(3, 1) == 3
