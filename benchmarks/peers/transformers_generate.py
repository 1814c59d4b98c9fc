"""transformers' side of the work `generate`: `model.generate` in one process.

Runs in the peers' environment (`make bench-env`).

    python benchmarks/peers/transformers_generate.py WORK OUT '{"rounds": 3, "batch": 64, ...}'
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it
from transformers import AutoModelForCausalLM

from measure import Recorder
from work import NEW_TOKENS, prompts, read


def rounds(
    model: Any,
    asked: Sequence[tuple[int, ...]],
    settings: Mapping[str, Any],
    recorder: Recorder,
    new: int,
) -> list[list[int]]:
    """Continue all prompts by ``new`` ids, ``rounds`` times; the answers of the last round.

    Prompts of one batch are padded on the left; with ``sorted`` they go by length.
    """
    order = list(range(len(asked)))
    if settings.get("sorted"):
        order.sort(key=lambda i: len(asked[i]))
    size = int(settings.get("batch", 1))
    more = {k: settings[k] for k in ("cache_implementation",) if k in settings}
    answers: list[list[int]] = [[] for _ in asked]
    recorder.begin()
    for _ in range(int(settings["rounds"])):
        for start in range(0, len(order), size):
            taken = order[start : start + size]
            longest = max(len(asked[i]) for i in taken)
            pads = [longest - len(asked[i]) for i in taken]
            rows = zip(pads, taken, strict=True)
            ids = torch.tensor([[0] * pad + list(asked[i]) for pad, i in rows])
            mask = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads])
            made = model.generate(
                ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,
                min_new_tokens=new,
                max_new_tokens=new,
                pad_token_id=0,
                eos_token_id=None,
                **more,
            )
            for i, row in zip(taken, made, strict=True):
                answers[i] = row[longest:].tolist()
        recorder.step(sum(map(len, answers)), 0, 0.0)
    return answers


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Generate with ``settings`` and write what was measured to ``out``."""
    recorder = Recorder()
    asked = prompts(read(work))
    model = AutoModelForCausalLM.from_pretrained(
        work / "model",
        dtype=settings.get("dtype", "float32"),
        **{k: settings[k] for k in ("attn_implementation",) if k in settings},
    ).eval()
    answers = rounds(model, asked, settings, recorder, NEW_TOKENS)
    recorder.write(
        out,
        versions={name: version(name) for name in ("transformers", "torch")},
        threads=torch.get_num_threads(),
        ids=answers,
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
