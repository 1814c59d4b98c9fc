"""The result of benchmarks/memory.py: works measured one after the other, and its ratios."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


def row(work: str, side: str, name: str, mib: float, rate: float) -> dict[str, Any]:
    numbers = {"memory_mib": {"median": mib}, "tokens_per_second": {"median": rate}}
    return {"work": work, "side": side, "name": name, **numbers}


def result(rows: list[dict[str, Any]], cpu: str = "one") -> dict[str, Any]:
    on = {"versions": {"torch": "2"}, "machine": {"cpu": cpu}}
    works = dict.fromkeys((row["work"] for row in rows), on)
    return {**on, "works": works, "rows": rows, "ratios": {}}


LORA = [row("qlora_1b", "regimen", "nf4", 1000, 10), row("qlora_1b", "trl", "nf4", 3000, 5)]
FULL = [
    row("sft_full_135m", "regimen", "fastest", 2000, 30),
    row("sft_full_135m", "regimen", "lomo", 400, 20),
    row("sft_full_135m", "trl", "sgd", 1600, 10),
]


def test_a_work_replaces_its_own_rows_and_keeps_those_of_others(bench: SimpleNamespace) -> None:
    older = result([*LORA, row("sft_full_135m", "trl", "sgd", 1, 1)])
    found = bench.memory.with_others(result(FULL), older)
    assert [one["name"] for one in found["rows"]] == ["nf4", "nf4", "fastest", "lomo", "sgd"]
    ratios = found["ratios"]
    assert ratios["qlora_1b_memory_vs_trl"] == pytest.approx(3.0)
    assert ratios["sft_full_135m_memory_vs_trl"] == pytest.approx(4.0)
    assert ratios["sft_full_135m_time_over_our_fastest"] == pytest.approx(1.5)


def test_each_work_names_the_machine_that_measured_it(bench: SimpleNamespace) -> None:
    found = bench.memory.with_others(result(FULL), result(LORA, cpu="another"))
    assert found["works"]["qlora_1b"]["machine"] == {"cpu": "another"}
    assert found["works"]["sft_full_135m"]["machine"] == {"cpu": "one"}
    assert bench.memory.with_others(result(FULL), None)["rows"] == FULL
