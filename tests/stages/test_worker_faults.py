"""Workers when something goes wrong around them: pytest tests/stages/test_worker_faults.py."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.instances.encodings import FormattingSpec
from regimen.instances.formatting import task_rows
from regimen.records import Instance, Message, Task
from regimen.settings.build import CurationSettings
from regimen.stages.producing import Chunk, Plan, Producer
from regimen.stages.workers import products

PLAN = Plan(FormattingSpec(), 0, CurationSettings())


def chunks(count: int, **more: Any) -> Iterator[Chunk]:
    rows = tuple({"input": f"q{n}", "output": f"a{n}", **more} for n in range(count))
    task = Task(name="t", definition="d", instances=rows)
    return (Chunk((piece,)) for piece in task_rows([task], PLAN.spec, count, 0, at_once=1))


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No process and no thread of a worker outlives its use."""
    children, threads = set(psutil.Process().children()), set(threading.enumerate())
    yield
    assert set(psutil.Process().children()) <= children
    assert set(threading.enumerate()) <= threads


def test_what_the_reader_of_chunks_raises_is_raised() -> None:
    def broken() -> Iterator[Chunk]:
        yield from chunks(5)
        raise ZeroDivisionError("in the middle")

    for workers in (0, 1, 2):
        with pytest.raises(ZeroDivisionError, match="in the middle"):
            list(products(PLAN, broken(), workers))
        with pytest.raises(ZeroDivisionError):
            list(products(PLAN, (Chunk() for _ in [1 / 0]), workers))


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, pytest.param(RuntimeError, marks=pytest.mark.slow)]
)
def test_a_consumer_that_stops_ends_the_workers(error: type[BaseException]) -> None:
    made = products(PLAN, chunks(50), 2)
    next(made)
    with pytest.raises(error):
        made.throw(error)  # type: ignore[attr-defined]
    other = products(PLAN, chunks(50), 1)
    next(other)
    other.close()  # type: ignore[attr-defined]
    never_read = products(PLAN, chunks(50), 2)
    del never_read


def test_files_of_the_working_directory_are_no_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("regimen", "queue", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.chdir(tmp_path)
    (product,) = products(PLAN, chunks(1), 1)
    assert product.table.num_rows == 1


def test_values_of_a_class_that_a_worker_does_not_have_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("class Value:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    with pytest.raises(DataError, match="worker-rows") as caught:
        list(products(PLAN, chunks(1, value=only_here.Value()), 1))
    assert "only_here" in caught.value.got
    del sys.modules["only_here"]


def test_texts_that_no_file_can_hold_fail_alone(tmp_path: Path) -> None:
    def instance(text: str) -> Instance:
        turns = (Message(role="user", content="ask"), Message(role="assistant", content=text))
        return Instance(messages=turns)

    with Producer(PLAN) as producer:
        product = producer.make(Chunk(instances=(instance("x"), instance("\ud83d"))))
    assert product.table.num_rows == 1
    account = product.outcomes[0]
    assert (account.entered, account.kept) == (2, 1)
    assert [failure[1] for failure in account.failed] == ["not_unicode"]
    ledger = Ledger(tmp_path)
    with ledger.step("s", entered=2) as step:
        step.remove(instance("\ud83d"), "reason", "\udc00")
        step.fail("here", "error", "\ud83d")
    assert "\\ud83d" in (tmp_path / "01-s.failed.jsonl").read_text(encoding="utf-8")
