"""What docs/benchmarks.md says of the works that learn from pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_METHODS = {
    "dpo": "DPO; a token's time is its share of a step and of the frozen reference, which regimen "
    "computes once before the first step, and TRL so or in each step.",
    "reward": "A reward model (Bradley-Terry): one score for each answer.",
}


def align_words(result: Mapping[str, Any]) -> str:
    """What both sides did: the pairs, the model, the method, and what was counted."""
    work, data = result["work"], result["data"]
    model = work["model"]
    said = [
        f"{data['rows_per_step']} pairs in a step; tokens are those of both answers' rows, the "
        "prompt counted with each.",
        _METHODS[work["aligns"]],
    ]
    if "lengths" in data:
        said += [
            f"{name}: {one['mean_length']:.0f} tokens in a row, {one['prompt_share']:.0%} of them "
            "the prompt's."
            for name, one in data["lengths"].items()
        ]
    else:
        prompts = 1 - data["supervised_share"]
        said.append(
            f"{data['mean_length']:.0f} tokens in a row, {prompts:.0%} of them the prompt's, at "
            f"most {data['max_length']}."
        )
    said.append(
        f"{model['num_hidden_layers']} layers of width {model['hidden_size']}, vocabulary "
        f"{model['vocab_size']:,}; all weights trained."
    )
    if "counted" in result:
        worst = max(one["gradient_differs"] for one in result["equal"].values())
        said += [
            "`speed_up` is the time with a copy of the prompt for each answer over the time with "
            f"one prompt; `bound` the same of counted arithmetic: {result['counted']}.",
            f"Gradients of both in fp32 differ by at most {worst:.1e} of their size.",
        ]
    return " ".join(said)
