"""Settings of choice by likelihood: ``evaluate.choices``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from regimen.settings.base import Count, Section, Text


class ChoiceSettings(Section):
    """The choices of items, ranked by how likely each is as the answer; with calibration."""

    premise: Text = "Answer:"
    """What the choices are given to when nothing is asked, for ``choice_pmi``."""

    bins: Annotated[int, Field(ge=1, le=100)] = 15
    """Bins of the reliability table, at most; each holds 10 items or more."""

    tokens_per_batch: Count = 8192
    """Tokens of prompts and choices that a model reads at once."""
