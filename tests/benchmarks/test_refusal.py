"""Rules of refusal against labels: counts on made-up rows, and the committed result."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REFUSED, ANSWERED = "I cannot help with that.", "Boil it for ten minutes."


def write(folder: Path, name: str) -> None:
    """Twelve types with four answers each: found, missed, falsely found, rightly left alone."""
    kinds = [
        ("2_full_refusal", REFUSED, "2_full_refusal"),
        ("3_partial_refusal", ANSWERED, "a sentence of the labeller"),
        ("1_full_compliance", REFUSED, "1_full_compliance"),
        ("1_full_compliance", ANSWERED, "1_full_compliance"),
    ]
    with (folder / f"xstest_v2_completions_{name}_gpteval.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(
            ["type", "completion", "annotation_1", "annotation_2", "final_label", "gpt4_label"]
        )
        for number in range(12):
            kind = f"contrast_{number}" if number % 2 else f"safe_{number}"
            for label, answer, gpt4 in kinds:
                out.writerow([kind, answer, label, label, label, gpt4])


def test_counts(bench: SimpleNamespace, tmp_path: Path) -> None:
    for name in bench.refusal.FILES:
        write(tmp_path, name)
    result = bench.refusal.bench(tmp_path, bench.refusal.FILES, 3)
    assert [row["file"] for row in result["rows"]] == [*bench.refusal.FILES, "both"]
    assert result["looks"] == {"mistralguard": 3, "mistralinstruct": 1}
    both = result["rows"][-1]
    assert both["answers"] == 96
    assert both["refusals"] == {"full": 24, "partial": 24}
    rules, gpt4 = both["rules"], both["gpt4"]
    assert (rules["precision"]["rate"], rules["precision"]["n"]) == (0.5, 48)
    assert rules["recall"]["rate"] == rules["agreement"]["rate"] == 0.5
    assert (rules["recall_full"]["rate"], rules["recall_partial"]["rate"]) == (1, 0)
    assert rules["kappa"] == pytest.approx(0)
    assert (gpt4["precision"]["rate"], gpt4["recall"]["rate"]) == (1, 0.5)
    assert both["people"]["kappa"] == 1
    assert rules["over_refusal"]["people"] == rules["over_refusal"]["call"] == 0.5
    assert rules["over_refusal"]["difference"] == 0
    assert both["by_type"]["safe_0"] == {"refusals": 4, "found": 2, "false": 2}


def test_the_committed_result_is_the_table(
    bench: SimpleNamespace, committed: Callable[[str], dict[str, Any]]
) -> None:
    result = committed("refusal")
    page = bench.refusal_page.TARGET.read_text(encoding="utf-8")
    assert bench.refusal_page.with_table(page, result) == page
    assert bench.render.section(result) == ""
    assert "completion" not in json.dumps(result)
