"""TRL's side of the works that train: one run of its SFTTrainer in one process.

Runs in the peers' environment (`make bench-env`). The trainer is used as it is; a subclass counts
the tokens that pass through it.

    python benchmarks/peers/trl_sft.py WORK OUT '{"max_steps": 8, ...}'
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
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from measure import Recorder, TooSlow
from peers.counting import Counting, StepRecorder, dataset, versions
from work import facts_of, read


class CountedTrainer(Counting, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that adds up the tokens and the loss of each optimizer step."""


def model_of(work: Path, facts: dict[str, Any]) -> Any:
    """The path of the model, which TRL loads itself; with an adapter, the model that has it."""
    path = str(work / "model")
    if not facts["lora"]:
        return path
    base = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return PeftModel.from_pretrained(base, str(work / "adapter"), is_trainable=True)


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Train with ``settings`` of SFTConfig and write what was measured to ``out``."""
    recorder = Recorder()
    rows, facts = read(work), facts_of(work)
    callback = StepRecorder(recorder)
    with tempfile.TemporaryDirectory() as directory:
        trainer = CountedTrainer(
            model=model_of(work, facts),
            args=SFTConfig(output_dir=directory, report_to="none", **settings),
            train_dataset=dataset(rows),
            processing_class=AutoTokenizer.from_pretrained(work / "tokenizer"),
            callbacks=[callback],
        )
        callback.trainer = trainer
        with suppress(TooSlow):
            trainer.train()
    recorder.write(
        out,
        versions=versions("trl", "transformers", "peft", "accelerate", "datasets", "torch"),
        threads=torch.get_num_threads(),
        rows=rows.digest(),
        dtype=str(next(trainer.model.parameters()).dtype).removeprefix("torch."),
        autocast=bool(trainer.args.bf16),
        trained=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
