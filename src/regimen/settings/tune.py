"""Settings of ``tune``: supervised fine-tuning, and plain language modelling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from regimen.settings.base import Conflict, Text, TextSettings
from regimen.settings.training import ModelSettings, TrainingSettings


class TuneSettings(TrainingSettings):
    """Fine-tuning of a model on the instances of ``build``, or its training on plain text."""

    model: ModelSettings
    """The model to start from."""

    data: Text | None = None
    """A directory of ``build`` or a file of instances; the pipeline's when not given."""

    objective: Literal["supervised", "language_modelling"] = "supervised"
    """Learn the answers of conversations, or every token of plain text."""

    text: TextSettings | None = None
    """The text of language modelling."""

    mask: Literal["assistant", "last_turn", "all"] = "assistant"
    """Which turns are learned: every answer, the last answer, or everything."""

    overlength: Literal["drop", "truncate", "error"] = "drop"
    """What happens to a conversation longer than ``max_length``; what is dropped is counted."""

    def conflicts(self) -> Iterator[Conflict]:
        """Text for language modelling and for nothing else; a fresh model is trained whole."""
        yield from self.optimisation_conflicts()
        if self.objective == "language_modelling" and self.text is None:
            yield Conflict(
                what="language modelling has no text to learn",
                at=("objective",),
                fix="Add a 'text' section with a 'path' or a 'function'.",
            )
        if self.objective == "supervised" and self.text is not None:
            yield Conflict(
                what="is for language modelling, and the objective is supervised",
                at=("text",),
                fix="Set objective: language_modelling, or remove 'text'.",
            )
        if self.model.config is not None and self.adapter is not None:
            yield Conflict(
                what="on a fresh model would leave random weights as they are",
                at=("adapter",),
                fix="Remove 'adapter', or start from a trained model with model.path.",
            )
