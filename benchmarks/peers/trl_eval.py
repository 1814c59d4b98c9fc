"""The peers' side of the work `eval_loss`: ``evaluate()`` of TRL's or transformers' trainer.

python benchmarks/peers/trl_eval.py WORK OUT '{"max_steps": 3, "trainer": "transformers", ...}'
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from measure import Recorder, TooSlow
from peers.counting import dataset, tokens_of, versions
from work import read


class Evaluating:
    """Adds up tokens and losses of an evaluation, so that the mean is over tokens."""

    tokens = supervised = 0
    total = 0.0

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kw: Any) -> Any:
        """Count a batch, then evaluate it."""
        supervised = int((inputs["labels"][:, 1:] != -100).sum())
        self.tokens += tokens_of(inputs)
        out = super().prediction_step(model, inputs, *args, **kw)  # type: ignore[misc]
        self.supervised += supervised
        self.total += float(out[0]) * supervised
        return out


class CountedSft(Evaluating, SFTTrainer):  # type: ignore[misc]
    """TRL's, counted."""


class CountedTrainer(Evaluating, Trainer):  # type: ignore[misc]
    """transformers', counted."""


def trainer_of(work: Path, directory: str, settings: dict[str, Any], rows: Any) -> Any:
    """The trainer that an entry names."""
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    path, common = str(work / "model"), {"output_dir": directory, "report_to": "none"}
    if settings.pop("trainer", "trl") == "trl":
        args = SFTConfig(**common, **settings)
        return CountedSft(
            model=path,
            args=args,
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=tokenizer,
        )
    settings.pop("max_length")  # no row is longer
    return CountedTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        args=TrainingArguments(**common, **settings),
        eval_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Evaluate ``max_steps`` times and write what was measured to ``out``."""
    recorder = Recorder()
    rows, rounds = read(work), int(settings.pop("max_steps"))
    with tempfile.TemporaryDirectory() as directory, suppress(TooSlow):
        trainer = trainer_of(work, directory, settings, dataset(rows))
        recorder.begin()
        for _ in range(rounds):
            trainer.tokens = trainer.supervised = 0
            trainer.total = 0.0
            trainer.evaluate()
            loss = trainer.total / trainer.supervised
            recorder.step(trainer.tokens, trainer.supervised, loss)
    recorder.write(
        out,
        versions=versions("trl", "transformers", "accelerate", "datasets", "torch"),
        threads=torch.get_num_threads(),
        rows=rows.digest(),
        dtype=str(next(trainer.model.parameters()).dtype).removeprefix("torch."),
        autocast=bool(trainer.args.bf16),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
