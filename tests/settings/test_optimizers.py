"""Hyper-parameters of optimizers and what they demand: pytest tests/settings/test_optimizers.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from regimen.settings.optimizers import TAKES, OptimizerSettings, of_an_optimizer
from regimen.settings.tune import TuneSettings

VALUES: dict[str, Any] = {
    "betas": [0.8, 0.9],
    "eps": 1e-6,
    "momentum": 0.5,
    "beta2_decay": -0.5,
    "clip_threshold": 2.0,
    "rank": 8,
    "update_gap": 5,
    "scale": 0.5,
    "block_steps": 3,
}


def tune(**more: Any) -> TuneSettings:
    return TuneSettings.model_validate({"model": {"path": "m"}, "data": "d", **more})


def test_every_field_has_a_value_here() -> None:
    assert set(VALUES) == set(OptimizerSettings.model_fields)


@given(st.sampled_from(sorted(TAKES)), st.sets(st.sampled_from(sorted(VALUES))))
def test_what_an_optimizer_has_is_taken_and_all_else_refused(name: str, given_: set[str]) -> None:
    chosen = OptimizerSettings.model_validate({field: VALUES[field] for field in given_})
    found = list(of_an_optimizer(name, chosen, accumulation=1, adapter=None))
    assert {conflict.at[-1] for conflict in found} == given_ - set(TAKES[name])
    for conflict in found:
        assert all(taken in conflict.expected for taken in TAKES[name])
        assert name not in conflict.fix.split("one of ")[1].split(".")[0].split(", ")


def test_a_refusal_says_what_is_taken() -> None:
    with pytest.raises(ValidationError, match="is nothing that adamw has"):
        tune(optimizer_settings={"rank": 4})


def test_values_arrive_as_they_are_given() -> None:
    found = tune(optimizer="galore", optimizer_settings={"rank": 4, "betas": [0.5, 0.75]})
    assert found.optimizer_settings is not None
    assert found.optimizer_settings.chosen() == {"rank": 4, "betas": (0.5, 0.75)}


@pytest.mark.parametrize("wrong", [{"betas": [0.9]}, {"betas": [0.9, 1.0]}, {"rank": 0}])
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tune(optimizer="galore", optimizer_settings=wrong)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"optimizer": "lomo", "gradient_accumulation_steps": 2}, "steps inside the backward pass"),
        ({"optimizer": "adalomo", "adapter": {"kind": "adalora"}}, "reads the gradients"),
        ({"optimizer": "badam", "adapter": {"kind": "adalora"}}, "reads the gradients"),
        ({"optimizer": "badam", "adapter": {"kind": "lisa"}}, "in turns itself"),
    ],
)
def test_what_does_not_go_together_is_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        tune(**more)


@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": "badam", "gradient_accumulation_steps": 2},
        {"optimizer": "lomo", "adapter": {"kind": "lisa"}},
        {"optimizer": "galore", "adapter": {"kind": "adalora"}},
    ],
)
def test_what_goes_together_is_taken(more: dict[str, Any]) -> None:
    assert tune(**more).optimizer == more["optimizer"]
