"""TRL's side of the work `sft_full`: one run of its SFTTrainer in one process.

Runs in the peers' environment (`make bench-env`). The trainer is used as it is; a subclass counts
the tokens that pass through it.

    python benchmarks/peers/trl_sft.py WORK OUT '{"max_steps": 8, ...}'
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from measure import Recorder
from work import Rows, read


class CountedTrainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that adds up the tokens and the loss of each optimizer step."""

    tokens = supervised = 0
    loss = 0.0

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Count a micro-batch, then train on it."""
        mask = inputs.get("attention_mask")
        self.tokens += inputs["input_ids"].numel() if mask is None else int(mask.sum())
        self.supervised += int((inputs["labels"][:, 1:] != -100).sum())
        loss = super().training_step(model, inputs, *args, **kwargs)
        self.loss += float(loss)
        return loss


class StepRecorder(TrainerCallback):  # type: ignore[misc]
    """Hands the counts of a finished step to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.trainer: CountedTrainer | None = None

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.recorder.begin()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Record the step."""
        trainer = self.trainer
        assert trainer is not None
        self.recorder.step(trainer.tokens, trainer.supervised, trainer.loss)
        trainer.tokens = trainer.supervised = 0
        trainer.loss = 0.0


def dataset(rows: Rows) -> Dataset:
    """The rows as TRL's pre-tokenised form: ids, and labels of -100 on the prompt."""
    starts = rows.starts
    ids = [rows.ids[a:b].tolist() for a, b in pairwise(starts)]
    labels = [[-100] * p + row[p:] for p, row in zip(rows.prompts.tolist(), ids, strict=True)]
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Train with ``settings`` of SFTConfig and write what was measured to ``out``."""
    recorder = Recorder()
    rows = read(work)
    callback = StepRecorder(recorder)
    with tempfile.TemporaryDirectory() as directory:
        trainer = CountedTrainer(
            model=str(work / "model"),
            args=SFTConfig(output_dir=directory, report_to="none", **settings),
            train_dataset=dataset(rows),
            processing_class=AutoTokenizer.from_pretrained(work / "tokenizer"),
            callbacks=[callback],
        )
        callback.trainer = trainer
        trainer.train()
    names = ("trl", "transformers", "accelerate", "datasets", "torch")
    recorder.write(
        out,
        versions={name: version(name) for name in names},
        threads=torch.get_num_threads(),
        rows=rows.digest(),
        dtype=str(next(trainer.model.parameters()).dtype).removeprefix("torch."),
        autocast=bool(trainer.args.bf16),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
