"""Claims about few bits, and their page: pytest tests/benchmarks/test_quantisation.py"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


def documents(**levels: float) -> list[dict[str, Any]]:
    """Twelve documents of each model, with a divergence around a level and a loss beside it."""
    return [
        {
            "name": name.replace("_", "-"),
            "document": number,
            "tokens": 10.0,
            "bytes": 40,
            "kl": 10 * level * (1 + 0.1 * (number % 3)),
            "nll": 10 * (2.0 + level + 0.01 * (number % 3)),
        }
        for name, level in levels.items()
        for number in range(12)
    ]


def verdicts(bench: SimpleNamespace, rows: list[dict[str, Any]]) -> dict[str, str]:
    found = bench.quantisation_claims.claims(rows, {}, [])
    return {one["claim"]: one["verdict"] for one in found}


def test_a_claim_holds_whichever_way_it_falls(bench: SimpleNamespace) -> None:
    rows = documents(
        full=0.0,
        rtn_4_channel=0.1,
        gptq_4_channel=0.05,
        rtn_3_channel=0.4,
        gptq_3_channel=0.1,
        awq_3_channel=0.6,
    )
    assert verdicts(bench, rows) == {
        "GPTQ diverges less than RTN at 4 bits, channel": "holds",
        "GPTQ diverges less than RTN at 3 bits, channel": "holds",
        "AWQ diverges less than RTN at 3 bits, channel": "the opposite holds",
        "What GPTQ gains over RTN is larger at 3 bits than at 4, channel": "holds",
    }


def test_near_is_within_a_share_of_the_full_loss(bench: SimpleNamespace) -> None:
    rows = documents(
        full=0.0,
        rtn_w8a8_tensor_fixed=0.5,
        smoothquant_w8a8_tensor_fixed=0.001,
        smoothquant_w8a8_token=0.3,
    )
    found = verdicts(bench, rows)
    assert found["rtn-w8a8-tensor-fixed is not near the full model: 1% of its loss"] == "holds"
    assert found["smoothquant-w8a8-tensor-fixed is near the full model: 1% of its loss"] == "holds"
    near = found["smoothquant-w8a8-token is near the full model: 1% of its loss"]
    assert near == "does not hold"


def test_models_that_are_not_there_are_not_claimed_about(bench: SimpleNamespace) -> None:
    assert verdicts(bench, documents(full=0.0, rtn_4_channel=0.1)) == {}


def test_the_page_has_a_line_for_each_model_and_claim(bench: SimpleNamespace, tmp_path) -> None:
    levels = {"full": 0.0, "rtn_3_channel": 0.4, "gptq_3_channel": 0.1, "rtn_2_channel": 0.9}
    rows = documents(**levels)
    interval = {"value": 0.25, "low": 0.2, "high": 0.3}
    lines = [
        {
            "name": name.replace("_", "-"),
            "kind": name.split("_")[0],
            "bits": int(name.split("_")[1]) if "_" in name else None,
            "group_size": "channel",
            "bytes": 6_000_000,
            "weight_error": 0.1,
            "output_error": None,
            "kl": {**interval, "value": level},
            "bits_per_byte": interval,
            "same_token": 0.9,
            "score": {"score": 0.5, "low": 0.4, "high": 0.6},
        }
        for name, level in levels.items()
    ]
    result = {
        "name": "quantisation",
        "versions": {"torch": "2"},
        "machine": {"cpu": "a processor", "cores": 2},
        "minutes": 7.0,
        "items": 100,
        "documents": 12,
        "rows": lines,
        "claims": bench.quantisation_claims.claims(rows, {}, []),
    }
    path = bench.quantisation_page.write_quantisation_page(result, tmp_path / "quantisation.md")
    text = path.read_text(encoding="utf-8")
    assert all(f"| {line['name']} " in text for line in lines)
    assert "0.100" in text
    assert text.count("holds") >= 1
    assert all(len(line) <= 100 for line in text.splitlines() if not line.startswith("|"))
    svg = (tmp_path / "images" / "quantisation.svg").read_text(encoding="utf-8")
    assert "RTN" in svg
    assert "GPTQ" in svg


@pytest.mark.parametrize("bits", [3, 2])
def test_the_recipe_has_what_is_claimed_about(bench: SimpleNamespace, bits: int) -> None:
    from regimen.settings.loading import load_settings

    settings = load_settings(bench.quantisation.RECIPE, [])
    assert settings.compress is not None
    there = {*settings.compress.names, *bench.quantisation.AWARE, "full"}
    named = {name for one in bench.quantisation_claims.ORDER for name in (one.a, one.b)}
    assert named <= there
    assert f"rtn-{bits}-channel" in there
