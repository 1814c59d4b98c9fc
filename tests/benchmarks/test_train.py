"""What a run comes to: what is counted, the ratios, equal work, one file for all works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Raw = Callable[..., dict[str, Any]]


def entry(bench: SimpleNamespace, name: str, peer: str = "trl", **more: Any) -> Any:
    """An entry of a grid."""
    return bench.grid.Configuration(name, {}, peer=peer, **more)


def test_speed_leaves_out_the_first_steps(bench: SimpleNamespace, raw: Raw) -> None:
    assert bench.processes.Run(raw(0.5, 10), 1).tokens_per_second == pytest.approx(200)
    assert bench.processes.Run(raw(0.5, 10), 2).tokens_per_second == pytest.approx(200)


def test_utilisation_is_arithmetic_over_time_over_rate(bench: SimpleNamespace, raw: Raw) -> None:
    run = bench.processes.Run
    rate = {"flop": [9e9, 1e9, 2e9, 3e9], "flop_per_second": 4e9}
    assert run(raw(0.5, 1) | rate, 1).utilisation == pytest.approx(1.0)
    assert run(raw(1.0, 1) | rate, 2).utilisation == pytest.approx(5 / 8)
    assert run(raw(1.0, 1), 1).utilisation is None
    assert bench.result.utilisation([run(raw(1.0, 1), 1)]) is None
    several = [run(raw(s, 1) | rate, 1) for s in (0.5, 1.0, 2.0)]
    assert bench.result.utilisation(several) == pytest.approx(0.5)


def test_ratios_are_peer_over_regimen(bench: SimpleNamespace, raw: Raw) -> None:
    run = bench.processes.Run
    found = bench.turns.Measured(
        ours=[run(raw(1.0, 100), 1)],
        finals={
            entry(bench, "batch 1"): [run(raw(2.0, 500), 1)],
            entry(bench, "batch 8"): [run(raw(4.0, 900), 1)],
            entry(bench, "defaults", defaults=True): [run(raw(8.0, 400), 1)],
        },
        screened={
            entry(bench, "batch 2"): [run(raw(9.0, 300), 1)],
            entry(bench, "batch 1", "litgpt"): [run(raw(5.0, 200), 1)],
            entry(bench, "defaults", "litgpt", defaults=True): [run(raw(1.0, 700), 1)],
        },
    )
    assert bench.result.ratios("sft_lora", found) == pytest.approx(
        {
            "sft_lora_vs_best": 2.0,
            "sft_lora_vs_trl_best": 2.0,
            "sft_lora_vs_trl_defaults": 8.0,
            "sft_lora_memory_vs_trl": 5.0,
            "sft_lora_memory_vs_trl_smallest": 3.0,
            "sft_lora_vs_litgpt_best": 5.0,
            "sft_lora_vs_litgpt_defaults": 1.0,
            "sft_lora_memory_vs_litgpt": 2.0,
            "sft_lora_memory_vs_litgpt_smallest": 2.0,
        }
    )


@pytest.mark.parametrize("changed", ["loss", "rows", "tokens"])
@pytest.mark.parametrize("compared", [None, 1])
def test_unequal_work_is_an_error(
    bench: SimpleNamespace, raw: Raw, changed: str, compared: int | None
) -> None:
    from regimen.errors import RunError

    run, check = bench.processes.Run, bench.result.check_equal_work
    ours, asked = run(raw(1.0, 1), 1), entry(bench, "batch 1", compared=compared)
    check(ours, {asked: [run(raw(2.0, 9, 9.01), 1)]})
    other = raw(1.0, 1, rows="other") if changed == "rows" else raw(1.0, 1)
    if changed != "rows":
        other["steps"][0][changed] = {"loss": 9.5, "tokens": 99}[changed]
    with pytest.raises(RunError, match="same work"):
        check(ours, {asked: [run(other, 1)]})


def test_only_compared_steps_must_agree(bench: SimpleNamespace, raw: Raw) -> None:
    run = bench.processes.Run
    ours, later = run(raw(1.0, 1), 1), raw(1.0, 1)
    later["steps"][1] |= {"loss": 12.0, "tokens": 7}
    check = bench.result.check_equal_work
    check(ours, {entry(bench, "a", compared=1): [run(later, 1)]})
    check(ours, {entry(bench, "a", compared=0): [run(raw(1.0, 1, 20.0), 1)]})
    assert bench.result.losses_differ(ours, run(later, 1), 1) == 0
    assert bench.result.losses_differ(ours, run(later, 1), None) == pytest.approx(1 / 3)
    assert bench.result.losses_differ(ours, run(later, 1), 0) is None


def part(work: str, value: float, torch: str = "2") -> dict[str, Any]:
    """The result of one work, as far as merging reads it."""
    return {
        "versions": {"torch": torch},
        "machine": {"cpu": f"of {value}"},
        "utilisation": {f"{work}_utilisation": value / 10},
        "ratios": {f"{work}_vs_trl_best": value},
        "rows": [{"work": work, "side": "regimen", "value": value}],
    }


def test_a_run_of_one_work_replaces_its_part_and_keeps_the_rest(bench: SimpleNamespace) -> None:
    merged = bench.result.merged
    first = merged(None, "sft_full", part("sft_full", 1.0))
    second = merged(first, "sft_full_135m", part("sft_full_135m", 2.0, "3"))
    third = merged(second, "sft_full", part("sft_full", 4.0, "4"))
    assert third["ratios"] == {"sft_full_vs_trl_best": 4.0, "sft_full_135m_vs_trl_best": 2.0}
    assert third["utilisation"]["sft_full_135m_utilisation"] == 0.2
    assert [(r["work"], r["value"]) for r in third["rows"]] == [
        ("sft_full_135m", 2.0),
        ("sft_full", 4.0),
    ]
    kept = {name: w["versions"]["torch"] for name, w in third["works"].items()}
    assert kept == {"sft_full": "4", "sft_full_135m": "3"}
    assert third["versions"] == {"torch": "4"}
    assert third["works"]["sft_full_135m"]["machine"] == {"cpu": "of 2.0"}
    assert len(first["rows"]) == 1


def test_versions_name_the_peer_where_they_differ(bench: SimpleNamespace, raw: Raw) -> None:
    run = bench.processes.Run
    found = bench.turns.Measured(
        ours=[run(raw(1.0, 1) | {"versions": {"torch": "2", "transformers": "5"}}, 1)],
        screened={
            entry(bench, "a", "llamafactory"): [
                run(raw(1.0, 1) | {"versions": {"torch": "2", "transformers": "4"}}, 1)
            ]
        },
    )
    assert bench.result.versions(found) == {
        "torch": "2",
        "transformers": "5",
        "transformers of llamafactory": "4",
    }


def test_the_command_line_runs_the_works_that_it_names(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[tuple[str, int]] = []

    def made(work: Any, *args: Any, quick: bool) -> dict[str, Any]:
        ran.append((work.name, args[2].repeats))
        return part(work.name, 3.0)

    monkeypatch.setattr(bench.train, "bench", made)
    monkeypatch.setattr(bench.train, "show", lambda *_: None)
    monkeypatch.setattr(bench.train, "HERE", tmp_path)
    monkeypatch.setattr(bench.train, "write_page", lambda: None)
    where = ["--peer-python", __file__]
    assert bench.train.main(["--quick", *where]) == 0
    assert ran == [("sft_full", 1)]
    assert not (tmp_path / "results").exists()
    for name in ("sft_lora", "eval_loss"):
        assert bench.train.main(["--work", name, "--repeats", "7", *where]) == 0
    assert ran[1:] == [("sft_lora", 7), ("eval_loss", 7)]
    result = json.loads((tmp_path / "results" / "train.json").read_text())
    assert list(result["works"]) == ["sft_lora", "eval_loss"]
    ran.clear()
    assert bench.train.main(where) == 0
    assert [name for name, _ in ran] == list(bench.works.WORKS)
    assert bench.train.main(["--peer-python", "/nowhere"]) == 1


def test_other_peers_are_looked_for_beside_the_first(bench: SimpleNamespace) -> None:
    found = bench.train.interpreters(Path("/x/.venv-bench/bin/python"))
    assert found["litgpt"] == Path("/x/.venv-bench-litgpt/bin/python")
    assert found["llamafactory"] == Path("/x/.venv-bench-llamafactory/bin/python")
