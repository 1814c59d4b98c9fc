"""TRL's side of the cells of gpu.py, with Liger's kernels where that is asked for.

    python benchmarks/peers/trl_gpu.py WORK OUT '{"rows": 32, "use_liger_kernel": true}'

The trainers are used as they are; subclasses count tokens. ``rows`` are those of a micro-batch
(pairs for DPO); other settings are fields of TRL's configuration. GRPOTrainer is handed answers and
advantages in place of those that it would draw, so that its update alone is timed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from datasets import Dataset
from peft import LoraConfig
from torch import Tensor
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer, SFTConfig

from gpu_process import Meter, drawn_model, held
from gpu_work import ANSWERS, advantages
from pairs import pairs_of
from peers.counting import StepRecorder, dataset
from peers.trl_align import reference_of, trainer_of
from peers.trl_sft import CountedTrainer
from work import BETAS, Rows, facts_of, read

LIBRARIES = ("trl", "transformers", "peft", "accelerate", "liger-kernel", "bitsandbytes")


class GivenAnswers(GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer whose answers and advantages are given; counts the tokens of each step."""

    given: Rows
    gains: Tensor
    tokens = supervised = 0
    loss = 0.0

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The answers of each prompt in turn, padded as the trainer pads them."""
        seen: dict[int, int] = {}
        numbers = []
        for row in inputs:
            prompt = int(row["number"])
            numbers.append(prompt * ANSWERS + seen.get(prompt, 0))
            seen[prompt] = seen.get(prompt, 0) + 1
        rows, place = self.given.take(numbers), self.accelerator.device
        starts = rows.starts.tolist()
        ids = [rows.ids[a:b].tolist() for a, b in pairwise(starts)]
        before = [row[:p] for row, p in zip(ids, rows.prompts.tolist(), strict=True)]
        after = [row[p:] for row, p in zip(ids, rows.prompts.tolist(), strict=True)]
        prompt_ids, prompt_mask = _filled(before, left=True)
        answer_ids, answer_mask = _filled(after, left=False)
        found = {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": answer_ids,
            "completion_mask": answer_mask,
            "advantages": self.gains[numbers],
            "num_items_in_batch": answer_mask.sum(),
        }
        return {name: tensor.to(place) for name, tensor in found.items()}

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Count a micro-batch."""
        self.tokens += int(inputs["prompt_mask"].sum() + inputs["completion_mask"].sum())
        self.supervised += int(inputs["completion_mask"].sum())
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        self.loss += float(loss.detach())
        return loss


def _filled(rows: list[list[int]], *, left: bool) -> tuple[Tensor, Tensor]:
    """Ids and mask of rows that are filled up on one side."""
    longest = max(map(len, rows))
    ids, masks = [], []
    for row in rows:
        pad = [0] * (longest - len(row))
        ids.append(pad + row if left else row + pad)
        masks.append(pad + [1] * len(row) if left else [1] * len(row) + pad)
    return torch.tensor(ids), torch.tensor(masks)


def equal(facts: Mapping[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Fields of every configuration that make the work equal."""
    rows, on_gpu = int(settings.pop("rows")), torch.cuda.is_available()
    per_step = int(facts["per_step"]) * (ANSWERS if facts["kind"] == "grpo" else 1)
    return {
        "report_to": "none",
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "learning_rate": facts["learning_rate"],
        "lr_scheduler_type": "constant",
        "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1],
        "max_steps": int(facts["steps"]),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": per_step // rows,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "logging_steps": 1_000,
        **settings,
    }


def sft(work: Path, facts: Any, rows: Rows, fields: Any, hook: Any) -> Any:
    """SFTTrainer on rows or packs in the file's order."""
    more = {
        "max_length": max(int(facts["length"]), int(rows.lengths.max())),
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "train_sampling_strategy": "sequential",
    }
    return CountedTrainer(
        model=drawn_model(facts),
        args=SFTConfig(**fields, **more),
        train_dataset=dataset(rows, facts["packs"]),
        processing_class=AutoTokenizer.from_pretrained(work / "tokenizer"),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **facts["lora"]) if facts["lora"] else None,
        callbacks=[hook],
    )


def dpo(work: Path, facts: Any, rows: Rows, fields: Any, hook: Any) -> Any:
    """DPOTrainer, with the reference computed before the first step."""
    more = {
        "precompute_ref_log_probs": True,
        "max_length": 1024,
        "train_sampling_strategy": "sequential",
    }
    directory = fields.pop("output_dir")
    settings = {**fields, **more}
    return trainer_of(work, "dpo", pairs_of(rows), settings, directory, hook, drawn_model(facts))


def grpo(work: Path, facts: Any, rows: Rows, fields: Any, hook: Any) -> Any:
    """GRPOTrainer with given answers."""
    count = len(rows) // ANSWERS
    trainer = GivenAnswers(
        model=drawn_model(facts),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(num_generations=ANSWERS, shuffle_dataset=False, **fields),
        train_dataset=Dataset.from_dict({"prompt": ["w3"] * count, "number": list(range(count))}),
        processing_class=AutoTokenizer.from_pretrained(work / "tokenizer"),
        callbacks=[hook],
    )
    trainer.given = rows
    trainer.gains = torch.from_numpy(advantages(count).reshape(-1)).float()
    return trainer


KINDS = {"sft": sft, "dpo": dpo, "grpo": grpo}


class Weighed(StepRecorder):
    """Hands counts to the recorder, and notes what is held in memory before the state is gone."""

    held: Mapping[str, int] = {}

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Record the step."""
        super().on_step_end(*args, **kwargs)
        self.held = held(self.trainer.model, self.trainer.optimizer)


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Do the cell and write what was measured to ``out``."""
    meter, facts, rows = Meter(), facts_of(work), read(work)
    hook = Weighed(meter)
    with tempfile.TemporaryDirectory() as directory:
        fields = {"output_dir": directory, **equal(facts, settings)}
        trainer = KINDS[facts["kind"]](work, facts, rows, fields, hook)
        hook.trainer = trainer
        trainer.train()
    meter.stop()
    meter.tell(
        out,
        LIBRARIES,
        rows=rows.digest(),
        held=dict(hook.held),
        autocast=bool(trainer.args.bf16),
        **reference_of(trainer),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
