"""transformers' side of evaluate.py: render, `model.generate`, decode, exact match.

python benchmarks/peers/transformers_evaluate.py WORK OUT '{"rounds": 2, "batch": 1, ...}'
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it
from transformers import AutoModelForCausalLM, AutoTokenizer

from measure import Recorder


def rendered(tokenizer: Any, items: list[dict[str, Any]]) -> list[list[int]]:
    """Each item's ids with the chat template; raises ValueError where the other side's differ."""
    found = []
    for item in items:
        text = tokenizer.apply_chat_template(
            item["messages"], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if ids != item["ids"]:
            raise ValueError(f"item {item['id']} is not asked alike")
        found.append(ids)
    return found


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Evaluate all items ``rounds`` times and write what was measured to ``out``.

    Prompts of one batch are padded on the left; with ``sorted`` they go by length.
    """
    recorder = Recorder()
    told = json.loads((work / "items.json").read_text(encoding="utf-8"))
    items, stops, size = told["items"], told["stop_ids"], int(settings.get("batch", 1))
    tokenizer = AutoTokenizer.from_pretrained(work / "model")
    model = AutoModelForCausalLM.from_pretrained(
        work / "model", dtype=settings.get("dtype", "float32")
    ).eval()
    more = {k: settings[k] for k in ("cache_implementation",) if k in settings}
    answers: list[str] = [""] * len(items)
    right = 0
    recorder.begin()
    for _ in range(int(settings["rounds"])):
        asked = rendered(tokenizer, items)
        order = list(range(len(asked)))
        if settings.get("sorted"):
            order.sort(key=lambda i: len(asked[i]))
        for start in range(0, len(order), size):
            taken = order[start : start + size]
            longest = max(len(asked[i]) for i in taken)
            pads = [longest - len(asked[i]) for i in taken]
            rows = zip(pads, taken, strict=True)
            made = model.generate(
                torch.tensor([[0] * pad + list(asked[i]) for pad, i in rows]),
                attention_mask=torch.tensor([[0] * p + [1] * (longest - p) for p in pads]),
                do_sample=False,
                max_new_tokens=told["new_tokens"],
                pad_token_id=stops[0],
                eos_token_id=stops,
                **more,
            )
            for i, row in zip(taken, made, strict=True):
                answers[i] = tokenizer.decode(row[longest:], skip_special_tokens=True)
        right = sum(
            " ".join(answer.lower().split()) in item["references"]
            for answer, item in zip(answers, items, strict=True)
        )
        recorder.step(len(items), 0, 0.0)
    recorder.write(
        out,
        versions={name: version(name) for name in ("transformers", "torch")},
        threads=torch.get_num_threads(),
        answers=answers,
        right=right,
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
