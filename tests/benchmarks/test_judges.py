"""The page of the judges, and a run on pairs that the test writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard


def test_the_committed_result_is_the_page(
    bench: SimpleNamespace, committed: Callable[[str], dict[str, Any]]
) -> None:
    result = committed("judges")
    assert bench.judge_page.TARGET.read_text() == bench.judge_page.judges_page(result)
    assert bench.render.section(result) == ""
    assert result["data"] == {
        "source": "pandalm",
        "pairs": 999,
        "prompts": 170,
        "clusters": 50,
    }
    coin = next(row for row in result["rows"] if row["judge"] == "coin")
    assert abs(coin["majority"]["kappa"]["value"]) < 0.1


def write_pairs(folder: Path) -> None:
    """Forty pairs: people prefer the longer answer, one of them now and then does not."""
    place = folder / "pandalm"
    place.mkdir()
    rows = [
        {
            "idx": n,
            "motivation_app": f"app {n % 12}",
            "cmp_key": ("x_y", "y_z", "x_z")[n % 3],
            "instruction": f"Say {n}.",
            "input": "",
            "response1": "word " * (1 + n % 5) + ("say" if n % 4 else ""),
            "response2": "word " * (1 + (n * 7) % 4) + "end",
            "annotator1": 1 + n % 2,
            "annotator2": 1 + n % 2,
            "annotator3": 0 if n % 9 == 0 else 1 + n % 2,
        }
        for n in range(40)
    ]
    told = [{"idx": n, "gpt_result": ("1", "2", "Tie", "garbage")[n % 4]} for n in range(40)]
    for name, value in (("testset-v1", rows), ("gpt-3.5-turbo-testset-v1", told)):
        packed = zstandard.compress(json.dumps(value).encode())
        (place / f"{name}.json.zst").write_bytes(packed)


def test_every_judge_is_measured_and_failures_are_counted(
    bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path)
    monkeypatch.setattr(bench.judges, "likelier", lambda pairs, base: bench.judge_sources.longer)
    result = bench.judges.bench(tmp_path, quick=True)
    rows = {row["judge"]: row for row in result["rows"]}
    assert list(rows) == ["gpt-3.5-turbo", "longer", "overlap", "likelier", "coin"]
    assert (rows["gpt-3.5-turbo"]["failed"], rows["gpt-3.5-turbo"]["ties"]) == (10, 10)
    assert rows["longer"]["majority"] == rows["likelier"]["majority"]
    assert rows["longer"]["longer_wins"]["value"] == 1
    assert result["people"]["labels_per_pair"] == {"1": 35, "2": 5, "3": 0}
    assert set(rows["coin"]["strengths"]) == {"x", "y", "z"}
    text = bench.judge_page.judges_page(result)
    assert all(len(line) <= 100 or line.startswith("|") for line in text.splitlines())


def test_a_coin_falls_the_same_way_in_both_orders(bench: SimpleNamespace) -> None:
    coin = bench.judge_sources.coin
    assert all(coin("p", str(n), "b") == -coin("p", "b", str(n)) for n in range(30))
    assert {coin("p", str(n), "b") for n in range(30)} == {1.0, -1.0}


@pytest.mark.realdata
def test_the_published_labels(bench: SimpleNamespace, shared_data: Path) -> None:
    data = bench.judge_sources.read_pairs(shared_data, None)
    assert (len(data.pairs), len(set(data.clusters))) == (999, 50)
    assert sum(label is None for label in data.stored) == 25
    assert [sum(x == 0 for x in said) for said in data.people.values()] == [97, 116, 113]
