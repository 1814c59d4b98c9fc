"""LitGPT's side of the works that train: its `finetune_full` or `finetune_lora` in one process.

Runs in an environment of its own (`make bench-env`). LitGPT keeps the two embedding matrices apart,
where the model of the works has them tied: it trains a model that starts from the same weights.
What is counted is counted in the collator, the loss function and a hook of the optimizer.

    python benchmarks/peers/litgpt_sft.py WORK OUT '{"max_steps": 8, "micro_batch_size": 1, ...}'
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import litgpt.finetune.full
import litgpt.finetune.lora
import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from litgpt.data.base import get_sft_collate_fn
from litgpt.prompts import Default
from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
from litgpt.utils import save_config
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

from measure import Recorder, TooSlow
from work import BETAS, Rows, facts_of, read

MANY = 10_000
"""Epochs: the run is left after its last step, before LitGPT saves and evaluates."""


class Enough(Exception):
    """The last step has been recorded."""


class Tokens(DataModule):  # type: ignore[misc]
    """The rows as LitGPT's loaders give them, padded to the longest of a micro-batch."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.prompt_style = Default()
        starts = rows.starts
        self.samples = []
        for r, prompt in enumerate(rows.prompts.tolist()):
            ids = torch.from_numpy(rows.ids[starts[r] : starts[r + 1]].astype("int64"))
            labels = ids.clone()
            labels[:prompt] = -100
            counts = {"raw": len(ids), "raw_plus_prompt_template": len(ids)}
            self.samples.append({"input_ids": ids, "labels": labels, "token_counts": counts})

    def connect(
        self,
        tokenizer: Any = None,
        batch_size: int = 1,
        max_seq_length: int | None = None,
        **_: Any,
    ) -> None:
        """Remember the micro-batch."""
        self.batch_size, self.longest = batch_size, max_seq_length or -1

    def _loader(self, samples: Sequence[Any]) -> DataLoader:
        collate = get_sft_collate_fn(max_seq_length=self.longest, pad_id=0)
        return DataLoader(samples, batch_size=self.batch_size, collate_fn=collate)

    def train_dataloader(self) -> DataLoader:
        """In the file's order."""
        return self._loader(self.samples)

    def val_dataloader(self) -> DataLoader:
        """LitGPT insists on some."""
        return self._loader(self.samples[:1])


class Counter:
    """Records each optimizer step from what LitGPT's loss function sees."""

    def __init__(self, recorder: Recorder, module: Any, steps: int) -> None:
        self.recorder, self.steps = recorder, steps
        self.loss_of, self.validate = module.chunked_cross_entropy, module.validate
        self.counts = [0, 0, 0.0]
        self.validating = False
        module.chunked_cross_entropy = self.count
        module.validate = self.validated
        register_optimizer_step_post_hook(self.stepped)

    def validated(self, *args: Any, **kwargs: Any) -> Any:
        """What is evaluated is not counted; the clock starts after LitGPT's check of itself."""
        self.validating = True
        out = self.validate(*args, **kwargs)
        self.validating = False
        self.recorder.begin()
        return out

    def count(self, logits: Any, targets: Any, *args: Any, **kwargs: Any) -> Any:
        """LitGPT's loss; a row's tokens are its supervised ones and those before the first."""
        loss = self.loss_of(logits, targets, *args, **kwargs)
        if not self.validating:
            learnt = targets != -100
            last = targets.shape[1] - learnt.flip(1).int().argmax(1)
            self.counts[0] += int(last.sum()) + len(targets)  # the first token is no target
            self.counts[1] += int(learnt.sum())
            self.counts[2] += float(loss.detach()) * int(learnt.sum())
        return loss

    def stepped(self, *_: Any) -> None:
        """An optimizer step has ended."""
        tokens, supervised, total = self.counts
        self.counts = [0, 0, 0.0]
        self.recorder.step(int(tokens), int(supervised), total / supervised)
        if len(self.recorder.steps) >= self.steps:
            raise Enough


def convert(work: Path) -> None:
    """Write ``litgpt/``: the model and the tokenizer in LitGPT's form."""
    target = work / "litgpt"
    shutil.copytree(work / "tokenizer", target)
    hf = json.loads((work / "model" / "config.json").read_text())
    heads = hf["num_attention_heads"]
    config = Config(
        name="benchmark",
        block_size=hf["max_position_embeddings"],
        vocab_size=hf["vocab_size"],
        padded_vocab_size=hf["vocab_size"],
        n_layer=hf["num_hidden_layers"],
        n_head=heads,
        n_query_groups=hf["num_key_value_heads"],
        n_embd=hf["hidden_size"],
        head_size=hf["hidden_size"] // heads,
        intermediate_size=hf["intermediate_size"],
        norm_class_name="RMSNorm",
        norm_eps=hf["rms_norm_eps"],
        mlp_class_name="LLaMAMLP",
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
    )
    save_config(config, target)
    weights = load_file(work / "model" / "model.safetensors")
    state: dict[str, Any] = {}
    copy_weights_hf_llama(config, {}, state, weights)
    state.setdefault("lm_head.weight", state["transformer.wte.weight"])
    torch.save(state, target / "lit_model.pth")


def arguments(settings: dict[str, Any]) -> dict[str, Any]:
    """What LitGPT is asked for; of its defaults, only what ends the run and what it writes."""
    chosen = TrainArgs(save_interval=None, global_batch_size=16, micro_batch_size=1, epochs=MANY)
    asked: dict[str, Any] = {"eval": EvalArgs(interval=MANY, max_new_tokens=1)}
    if settings:
        names = ("global_batch_size", "micro_batch_size")
        sizes = {name: settings[name] for name in names}
        chosen = dataclasses.replace(chosen, lr_warmup_steps=1, **sizes)
        rate = {"lr": settings["lr"], "betas": list(BETAS), "weight_decay": 0.0}
        asked["optimizer"] = {"class_path": "torch.optim.AdamW", "init_args": rate}
        asked["precision"] = settings["precision"]
    return asked | {"train": chosen}


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Train and write what was measured to ``out``."""
    if not (work / "litgpt" / "lit_model.pth").is_file():
        subprocess.run([sys.executable, __file__, "convert", str(work)], check=True)
    recorder = Recorder()
    rows, facts = read(work), facts_of(work)
    steps = int(settings.pop("max_steps"))
    module = litgpt.finetune.lora if facts["lora"] else litgpt.finetune.full
    Counter(recorder, module, steps)
    more: dict[str, Any] = {}
    if facts["lora"]:
        places = ("query", "key", "value", "projection", "mlp")
        lora = facts["lora"]
        more = {"lora_r": lora["r"], "lora_alpha": lora["lora_alpha"]}
        more |= {"lora_dropout": lora["lora_dropout"]} | {f"lora_{p}": True for p in places}
    with tempfile.TemporaryDirectory() as directory, suppress(Enough, TooSlow):
        module.setup(
            work / "litgpt", Path(directory), data=Tokens(rows), **arguments(settings), **more
        )
    recorder.write(
        out,
        versions={name: version(name) for name in ("litgpt", "lightning", "torch")},
        threads=torch.get_num_threads(),
        rows=rows.digest(),
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if sys.argv[1] == "convert":
        convert(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
