"""Settings of ``align``: learning from preferences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from regimen.settings.base import Conflict, Text
from regimen.settings.training import ModelSettings, TrainingSettings, goes_on


class AlignSettings(TrainingSettings):
    """Alignment of the tuned model with the preferences of ``build``."""

    method: Literal["dpo"] = "dpo"
    """The method."""

    model: ModelSettings | None = None
    """The model to start from; what ``tune`` ended with when not given."""

    data: Text | None = None
    """A directory of ``build`` or a file of preferences; the pipeline's when not given."""

    reference: Literal["frozen_start"] = "frozen_start"
    """The reference policy: the model as this stage found it, frozen."""

    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """How strongly the policy is held to the reference (DPO, equation 7)."""

    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Assumed share of preferences that are the wrong way round."""

    overflow: Literal["drop", "truncate"] = "drop"
    """What happens to a pair longer than ``max_length``: it is left out, or the oldest turns of its
    prompt are. Answers stay whole, because the preference is about them whole."""

    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-6
    """Peak learning rate."""

    @field_validator("model", mode="before")
    @classmethod
    def _goes_on(cls, model: Any) -> Any:
        return None if model is None else goes_on(model)

    def conflicts(self) -> Iterator[Conflict]:
        """Alignment starts from a trained model."""
        yield from self.optimisation_conflicts()
        if self.model is not None and self.model.config is not None:
            yield Conflict(
                what="describes a fresh model, and alignment starts from a trained one",
                at=("model", "config"),
                fix="Use model.path.",
            )
