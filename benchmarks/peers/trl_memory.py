"""TRL's side of memory.py: one run of its SFTTrainer, with bitsandbytes where that is asked for.

    python benchmarks/peers/trl_memory.py WORK OUT '{"quantise": "nf4", "lora": {...}, ...}'

Beside fields of SFTConfig: ``quantise`` (nf4), ``lora`` (of LoraConfig), ``dtype`` of the weights.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it
from peft import LoraConfig, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer

from measure import Recorder
from peers.counting import Counting, StepRecorder, dataset, versions
from work import read


class CountedTrainer(Counting, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that adds up the tokens and the loss of each optimizer step."""


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Train with the settings and write what was measured."""
    if settings.get("quantise"):
        import bitsandbytes  # noqa: F401
    recorder = Recorder()
    rows = read(work)
    callback = StepRecorder(recorder)
    quantise, lora = settings.pop("quantise", None), settings.pop("lora", None)
    dtype = getattr(torch, settings.pop("dtype", "float32"))
    more: dict[str, Any] = {}
    if quantise:
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantise,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    model = AutoModelForCausalLM.from_pretrained(str(work / "model"), dtype=dtype, **more)
    if quantise and settings.pop("prepare", False):
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=settings.get("gradient_checkpointing", True)
        )
    with tempfile.TemporaryDirectory() as directory:
        trainer = CountedTrainer(
            model=model,
            args=SFTConfig(output_dir=directory, report_to="none", **settings),
            train_dataset=dataset(rows),
            processing_class=AutoTokenizer.from_pretrained(work / "tokenizer"),
            callbacks=[callback],
            peft_config=None if lora is None else LoraConfig(task_type="CAUSAL_LM", **lora),
        )
        callback.trainer = trainer
        trainer.train()
    recorder.write(
        out,
        versions=versions("trl", "transformers", "peft", "bitsandbytes", "torch"),
        threads=torch.get_num_threads(),
        rows=rows.digest(),
        trained=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
