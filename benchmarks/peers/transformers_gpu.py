"""transformers' side of the cells of gpu.py, with PEFT where there is an adapter.

    python benchmarks/peers/transformers_gpu.py WORK OUT '{"rows": 16}'

Training is a plain loop: padded micro-batches of ``rows``, the model's own loss, fused AdamW.
Generation is `model.generate` in batches of ``batch``.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from gpu_process import Meter, device, drawn_model, held
from peers.transformers_generate import rounds
from work import BETAS, facts_of, prompts, read, sequences

LIBRARIES = ("transformers", "peft", "bitsandbytes")


def padded(rows: list[list[int]], filler: int) -> Tensor:
    """Rows of ids as one tensor on the device, filled up on the right."""
    longest = max(map(len, rows))
    filled = [row + [filler] * (longest - len(row)) for row in rows]
    return torch.tensor(filled, device=device())


def with_adapter(model: Any, facts: Mapping[str, Any]) -> Any:
    """The model with PEFT's LoRA, where the cell has one."""
    from peft import LoraConfig, get_peft_model

    if not facts["lora"]:
        return model
    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **facts["lora"]))


def learn(model: Any, facts: Mapping[str, Any], size: int, data: Any, meter: Meter) -> Any:
    """Some steps; returns the optimizer."""
    ids, labels = data
    if facts["checkpointing"]:
        model.gradient_checkpointing_enable()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=facts["learning_rate"], betas=BETAS, weight_decay=0.0, fused=True
    )
    place, per_step = device(), int(facts["per_step"])
    meter.begin()
    for start in range(0, int(facts["steps"]) * per_step, per_step):
        told, tokens = 0.0, sum(map(len, ids[start : start + per_step]))
        learnt = sum(label != -100 for row in labels[start : start + per_step] for label in row)
        for first in range(start, start + per_step, size):
            some = slice(first, min(first + size, start + per_step))
            mask = padded([[1] * len(row) for row in ids[some]], 0)
            with torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda"):
                loss = model(
                    input_ids=padded(ids[some], 0),
                    attention_mask=mask,
                    labels=padded(labels[some], -100),
                    num_items_in_batch=learnt,
                    use_cache=False,
                ).loss
            loss.backward()
            told += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        meter.step(tokens, learnt, told)
    meter.stop()
    return optimizer


def main(work: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Do the cell and write what was measured to ``out``."""
    meter, facts, rows = Meter(), facts_of(work), read(work)
    model = with_adapter(drawn_model(facts), facts)
    optimizer = None
    if facts["kind"] == "generate":
        asked = {**settings, "rounds": facts["steps"]}
        with torch.inference_mode():
            rounds(model.eval(), prompts(rows), asked, meter, int(facts["length"]))
        meter.stop()
    else:
        data = sequences(rows, facts["packs"])
        optimizer = learn(model, facts, int(settings["rows"]), data, meter)
    found = held(model, optimizer)
    if optimizer is None:
        found["gradients"] = 0
    meter.tell(out, LIBRARIES, rows=rows.digest(), held=found)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
