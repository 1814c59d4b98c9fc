"""TRL's side of the works that learn from pairs: one run of its DPOTrainer or RewardTrainer.

Runs in the peers' environment (`make bench-env`). The trainers are used as they are; a subclass
counts the tokens that pass through them, and times the reference where it is computed beforehand.

    python benchmarks/peers/trl_align.py WORK OUT '{"max_steps": 8, ...}'
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it
from datasets import Dataset
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

from measure import Recorder, TooSlow
from pairs import pairs_of
from peers.counting import Counting, StepRecorder, tokens_of, versions
from work import facts_of, read

ROWS_OF_DEFAULTS = 8
"""Pairs of an optimizer step where the configuration is left alone."""
Pair = tuple[list[int], list[int], list[int]]


class CountedDpo(Counting, DPOTrainer):  # type: ignore[misc]
    """DPOTrainer that adds up tokens and loss of each step, and times its reference."""

    def supervised_of(self, inputs: dict[str, Any]) -> int:
        """Tokens of answers."""
        return int(inputs["completion_mask"].sum())

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """Asked for before the first step only."""
        began = time.perf_counter()
        found = super().compute_ref_log_probs(model, inputs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        timed = self.__dict__.setdefault("timed", [])
        timed.append((time.perf_counter() - began, tokens_of(inputs)))
        return found


class CountedReward(Counting, RewardTrainer):  # type: ignore[misc]
    """RewardTrainer that adds up tokens and loss of each step."""

    def supervised_of(self, inputs: dict[str, Any]) -> int:
        """Sequences: one number is learnt for each."""
        return len(inputs["input_ids"])


def texts(pairs: list[Pair], tokenizer: Any) -> Dataset:
    """Pairs as DPOTrainer wants them: texts, which it tokenises itself."""
    words = [[" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in pair] for pair in pairs]
    return Dataset.from_dict(
        {
            "prompt": [prompt for prompt, _, _ in words],
            "chosen": [f" {answer}" for _, answer, _ in words],
            "rejected": [f" {answer}" for _, _, answer in words],
            "length": [len(p) + max(len(a), len(b)) for p, a, b in pairs],
        }
    )


def sequences(pairs: list[Pair]) -> Dataset:
    """Pairs in RewardTrainer's pre-tokenised form."""
    return Dataset.from_dict(
        {
            "chosen_ids": [prompt + answer for prompt, answer, _ in pairs],
            "rejected_ids": [prompt + answer for prompt, _, answer in pairs],
            "length": [len(p) + max(len(a), len(b)) for p, a, b in pairs],
        }
    )


def trainer_of(
    work: Path,
    method: str,
    pairs: list[Pair],
    settings: dict[str, Any],
    directory: str,
    hook: Any,
    model: Any = None,
) -> Any:
    """The trainer; DPO's has made the same ids of the texts again. A ``model`` need not be read."""
    model = str(work / "model") if model is None else model
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    given = {"output_dir": directory, "report_to": "none", **settings}
    common = {"processing_class": tokenizer, "callbacks": [hook]}
    if method == "reward":
        args = RewardConfig(**given)
        return CountedReward(model, args, train_dataset=sequences(pairs), **common)
    args = DPOConfig(**given)
    data = texts(pairs, tokenizer)
    trainer = CountedDpo(model, args=args, train_dataset=data, **common)
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    assert [tuple(row[name] for name in names) for row in trainer.train_dataset] == pairs
    return trainer


def reference_of(trainer: Any) -> dict[str, dict[str, float]]:
    """Seconds and tokens of the reference, where it was computed before the first step."""
    timed = trainer.__dict__.get("timed", [])[1:]  # the first brings the kernels
    if not timed:
        return {}
    seconds, tokens = (sum(each) for each in zip(*timed, strict=True))
    return {"reference": {"seconds": seconds, "tokens": tokens}}


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Train and write what was measured to ``out``."""
    recorder = Recorder()
    rows, facts = read(work), facts_of(work)
    in_step = settings.get("per_device_train_batch_size", ROWS_OF_DEFAULTS)
    in_step *= settings.get("gradient_accumulation_steps", 1)
    pairs = pairs_of(rows)[: settings["max_steps"] * in_step]
    hook = StepRecorder(recorder)
    with tempfile.TemporaryDirectory() as directory:
        trainer = trainer_of(work, facts["aligns"], pairs, settings, directory, hook)
        hook.trainer = trainer
        with suppress(TooSlow):
            trainer.train()
    recorder.write(
        out,
        versions=versions("trl", "transformers", "accelerate", "datasets", "torch"),
        threads=torch.get_num_threads(),
        rows=rows.digest(),
        dtype=str(next(trainer.model.parameters()).dtype).removeprefix("torch."),
        autocast=bool(trainer.args.bf16),
        **reference_of(trainer),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
