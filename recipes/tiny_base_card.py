"""Numbers of the tiny base's card: held-out bits per byte and distinct 4-grams of its own text.

`python recipes/tiny_base_card.py MODEL ../shared/data` writes `tiny_base_card.json` into the
working directory.
"""

from __future__ import annotations

import json
import math
import re
import sys
from itertools import islice
from pathlib import Path

from tiny_base_corpus import documents

from regimen.assets.starter.text import LANGUAGES
from regimen.assets.starter.text import documents as generated
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.models.hardware import bf16_is_fast, set_up
from regimen.stages.models import Loaded, document_losses, load

SAMPLES = 64
SAMPLE_TOKENS = 200
STARTS = ("Once", "The", "There were", "On the", "Il y avait", "En la")


def bits_per_byte(loaded: Loaded, texts: list[str]) -> float:
    """Total bits over total bytes."""
    nats = sum(document_losses(loaded, texts, bf16=bf16_is_fast()))
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


def distinct_four_grams(texts: list[str]) -> float:
    """Distinct over all word 4-grams."""
    grams = []
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        grams += list(zip(words, words[1:], words[2:], words[3:], strict=False))
    return len(set(grams)) / max(len(grams), 1)


def main() -> None:
    """Measure and write."""
    model, shared = sys.argv[1:3]
    set_up()
    loaded = load(model)
    held: dict[str, list[str]] = {}
    for source, text in documents(shared, "heldout"):
        held.setdefault(source, []).append(text)
    for language in LANGUAGES:
        held[f"generated-{language}"] = list(islice(generated(987_654, language), 100))
    engine = Engine(loaded.language_model, [loaded.tokenizer.eos_token_id], rows=SAMPLES)
    starts = [loaded.renderer.text_ids(text) for text in STARTS]
    prompts = [
        Prompt(str(n), starts[n % len(starts)], SAMPLE_TOKENS, temperature=1.0, seed=n)
        for n in range(SAMPLES)
    ]
    samples = [loaded.tokenizer.decode(list(c.ids)) for _, c in engine.generate(prompts)]
    network = loaded.language_model.model
    card = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "bits_per_byte": {
            name: round(bits_per_byte(loaded, texts), 3) for name, texts in held.items()
        },
        "distinct_4_grams": round(distinct_four_grams(samples), 3),
        "samples": samples[:3],
    }
    Path("tiny_base_card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
