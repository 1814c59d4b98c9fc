"""What the peers that train with transformers' Trainer share: rows, and counts of each step."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback

from measure import Recorder
from work import Rows, sequences


class Counting:
    """Adds up the tokens and the loss of each optimizer step of a Trainer."""

    tokens = supervised = 0
    loss = 0.0

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Count a micro-batch, then train on it."""
        self.tokens += tokens_of(inputs)
        self.supervised += self.supervised_of(inputs)
        loss = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self.loss += float(loss)
        return loss

    def supervised_of(self, inputs: dict[str, Any]) -> int:
        """Tokens of a batch that are learnt."""
        return int((inputs["labels"][:, 1:] != -100).sum())


class StepRecorder(TrainerCallback):  # type: ignore[misc]
    """Hands the counts of a finished step to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.trainer: Any = None

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.recorder.begin()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Record the step."""
        trainer = self.trainer
        self.recorder.step(trainer.tokens, trainer.supervised, trainer.loss)
        trainer.tokens = trainer.supervised = 0
        trainer.loss = 0.0


def tokens_of(inputs: dict[str, Any]) -> int:
    """Tokens of a batch that are no padding; one without a mask has none."""
    mask = inputs.get("attention_mask")
    return int(inputs["input_ids"].numel()) if mask is None else int((mask != 0).sum())


def dataset(rows: Rows, packs: Sequence[int] = ()) -> Dataset:
    """The rows in pre-tokenised form; see ``work.sequences``."""
    ids, labels = sequences(rows, packs)
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


def versions(*names: str) -> dict[str, str]:
    """The installed versions of some libraries."""
    return {name: version(name) for name in names}
