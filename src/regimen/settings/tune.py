"""Settings of ``tune``: supervised fine-tuning, and plain language modelling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from regimen.settings.base import Conflict, Count, Section, Text, TextSettings
from regimen.settings.distil import DistilSettings as DistilSettings
from regimen.settings.distil import of_distilling
from regimen.settings.training import ModelSettings, TrainingSettings


class ReplaySettings(Section):
    """Plain text learned beside the answers, so that the model does not forget how to write."""

    text: TextSettings
    """The text, best of the kind that the base was trained on."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of all tokens that go through the model."""

    weight: Annotated[float, Field(gt=0, le=1_000)] = 1.0
    """Loss weight of a token of it; a token of an answer has 1."""


class ValidationSettings(Section):
    """Rows kept from training, on which the loss is measured while it goes on."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the rows."""

    every: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Optimizer steps between measurements; the last step is always measured."""

    patience: Count | None = None
    """End training after this many measurements in a row without a new lowest loss."""

    keep_best: bool = True
    """The final model is that of the lowest loss, not that of the last step."""


class TuneSettings(TrainingSettings):
    """Fine-tuning of a model on the instances of ``build``, or its training on plain text."""

    model: ModelSettings
    """The model to start from; in a list of tunings, from the second on, what the one before ended
    with when not given."""

    data: Text | None = None
    """A directory of ``build`` or a file of instances; the pipeline's when not given."""

    objective: Literal["supervised", "language_modelling"] = "supervised"
    """Learn the answers of conversations, or every token of plain text."""

    text: TextSettings | None = None
    """The text of language modelling."""

    replay: ReplaySettings | None = None
    """Plain text to mix in; none when not given."""

    distil: DistilSettings | None = None
    """Learn what a teacher predicts at the tokens that are learnt, instead of the tokens; none when
    not given."""

    validation: ValidationSettings | None = None
    """Measure the loss on rows kept apart; none are when not given."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each target's probability that is spread over the vocabulary."""

    z_loss: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight of the squared log of the softmax's normaliser."""

    rows_per_prefix: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Rows that begin alike, such as instances of one task, go through the model as one row with a
    shared beginning, at most this many together: the same gradients for fewer tokens, and steps
    that hold fewer different tasks."""

    mask: Literal["assistant", "last_turn", "all"] = "assistant"
    """Which turns are learned: every answer, the last answer, or everything."""

    overflow: Literal["drop", "truncate", "split"] | None = None
    """What happens to a conversation or text longer than ``max_length``: it is left out, its end is
    cut off, or it becomes several rows. ``drop`` for conversations and ``split`` for plain text
    when not given; replayed text is always split. Each is counted."""

    def conflicts(self) -> Iterator[Conflict]:
        """Text for language modelling and for nothing else; a fresh model is trained whole."""
        yield from self.optimisation_conflicts()
        yield from of_distilling(self)
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
        if self.objective == "language_modelling" and self.replay is not None:
            yield Conflict(
                what="mixes plain text into answers, and the objective is plain text already",
                at=("replay",),
                fix="Remove it, or add its text to 'text'.",
            )
        if self.model.config is not None and self.adapter is not None:
            yield Conflict(
                what="on a fresh model would leave random weights as they are",
                at=("adapter",),
                fix="Remove 'adapter', or start from a trained model with model.path.",
            )
