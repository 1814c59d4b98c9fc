"""LLaMA-Factory's side of the works that train: one run of its `run_exp` in one process.

Runs in an environment of its own (`make bench-env`). It reads the rows as it reads rows that it has
tokenised before; its trainer is used as it is, and a subclass counts what passes through it.

    python benchmarks/peers/llamafactory_sft.py WORK OUT '{"max_steps": 8, ...}'
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it
from datasets import DatasetDict

from measure import Recorder, TooSlow
from peers.counting import Counting, StepRecorder, dataset, versions
from work import Rows, facts_of, read


def tokenised(rows: Rows, directory: Path) -> str:
    """The rows on disk, as LLaMA-Factory leaves what it has tokenised."""
    made = dataset(rows)
    mask = [[1] * len(ids) for ids in made["input_ids"]]
    DatasetDict({"train": made.add_column("attention_mask", mask)}).save_to_disk(str(directory))
    return str(directory)


def library() -> tuple[Any, Any]:
    """The module with its trainer, and `run_exp`.

    It imports torchaudio whatever it trains, and there is none for every torch: no audio is read.
    """
    audio = ModuleType("torchaudio")
    audio.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules.setdefault("torchaudio", audio)
    from llamafactory.train.sft import workflow
    from llamafactory.train.tuner import run_exp

    return workflow, run_exp


def counted(trainer: type, callback: StepRecorder) -> type:
    """Its trainer, which counts and tells the callback that it is there."""

    class CountedTrainer(Counting, trainer):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            callback.trainer = self

    return CountedTrainer


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Train with ``settings`` of its arguments and write what was measured to ``out``."""
    workflow, run_exp = library()
    recorder = Recorder()
    rows, facts = read(work), facts_of(work)
    callback = StepRecorder(recorder)
    workflow.CustomSeq2SeqTrainer = counted(workflow.CustomSeq2SeqTrainer, callback)
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        arguments = {
            "stage": "sft",
            "do_train": True,
            "model_name_or_path": str(work / "model"),
            "finetuning_type": "full",
            "template": "empty",
            "dataset": "rows",  # asked for, and not read where there are tokenised rows
            "tokenized_path": tokenised(rows, where / "rows"),
            "output_dir": str(where / "out"),
            "save_strategy": "no",
            "report_to": "none",
            **settings,
        }
        if facts["lora"]:
            arguments |= {
                "finetuning_type": "lora",
                "adapter_name_or_path": str(work / "adapter"),
                "create_new_adapter": False,
            }
        tokenizer = work / "model" / "tokenizer.json"
        if not tokenizer.is_file():  # it looks for the tokenizer beside the model
            for file in (work / "tokenizer").iterdir():
                (work / "model" / file.name).write_bytes(file.read_bytes())
        with suppress(TooSlow):
            run_exp(arguments, [callback])
    trainer = callback.trainer
    recorder.write(
        out,
        versions=versions(
            "llamafactory", "transformers", "peft", "accelerate", "datasets", "torch"
        ),
        threads=torch.get_num_threads(),
        rows=rows.digest(),
        dtype=str(next(trainer.model.parameters()).dtype).removeprefix("torch."),
        autocast=bool(trainer.args.bf16),
        trained=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
