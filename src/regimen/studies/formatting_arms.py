"""The arms of study ``formatting``: what is trained on, and every way in which it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from regimen.studies.design import changed

TWENTIETHS = 20
"""Shares are rounded to twentieths: each instance draws one of at most so many numbers."""

PLAIN: Mapping[str, Any] = {
    "encoding": "definition",
    "definition": True,
    "avoid": False,
    "positive": 0,
    "negative": 0,
    "explanations": False,
    "chain_of_thought": "none",
}
"""What an encoding has unless it says otherwise, in training and in questions."""

Arm = tuple[dict[str, Any], dict[str, Any]]
"""Factors and settings of a cell."""


def _formatted(plain: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose training prompts have these fields; others keep the file's."""
    return changed(plain, {f"build.formatting.{name}": value for name, value in fields.items()})


def _encoding_arms(plain: Mapping[str, Any], options: Mapping[str, Any]) -> list[Arm]:
    ways = {name: {**PLAIN, **fields} for name, fields in options["encodings"].items()}
    return [
        (
            {"part": "encodings", "train": name},
            changed(_formatted(plain, fields), {"build.held_out.asked": ways}),
        )
        for name, fields in ways.items()
    ]


def _shot_arms(plain: Mapping[str, Any], options: Mapping[str, Any]) -> list[Arm]:
    shots = options["shots"]
    ways = {"zero-shot": dict(PLAIN), "few-shot": {**PLAIN, "positive": shots}}
    arms = []
    for share in options["few_shot_shares"]:
        fields = {**PLAIN, "positive": drawn_shots(share, shots)}
        settings = changed(_formatted(plain, fields), {"build.held_out.asked": ways})
        arms.append(({"part": "shots", "share": share}, settings))
    return arms


def drawn_shots(share: float, shots: int) -> list[int]:
    """Numbers of demonstrations to draw from: ``[0, 0, 0, 2]`` for a quarter."""
    part = Fraction(share).limit_denominator(TWENTIETHS)
    return [0] * (part.denominator - part.numerator) + [shots] * part.numerator


def _template_arms(plain: Mapping[str, Any], options: Mapping[str, Any]) -> list[Arm]:
    ways = {"templates": {"encoding": "template", "templates": "all", "template_pool": None}}
    arms = []
    for count in options["template_counts"]:
        fields = {"encoding": "template", "templates": "one", "template_pool": count}
        settings = changed(_formatted(plain, fields), {"build.held_out.asked": ways})
        arms.append(({"part": "templates", "templates": count}, settings))
    return arms


ARMS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], list[Arm]]] = {
    "encodings": _encoding_arms,
    "shots": _shot_arms,
    "templates": _template_arms,
}
"""By the part of the study: factors and settings of its cells, from lean settings and options."""
