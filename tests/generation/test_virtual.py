"""Trained positions before every row, in generation: pytest tests/generation/test_virtual.py."""

from __future__ import annotations

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.adapters.methods import add_adapter
from regimen.adapters.prompts import PrefixTuning, Prompt, PTuning
from regimen.adapters.spec import Spec
from regimen.generation import decoding
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt as Asked
from regimen.models.forward import prepare
from regimen.verifying.exports import move_weights

SPECS: dict[str, Spec] = {
    "prompt": Prompt(num_virtual_tokens=3),
    "p_tuning": PTuning(num_virtual_tokens=3, hidden_size=8),
    "prefix": PrefixTuning(num_virtual_tokens=3),
}
PROMPTS = [[4, 5, 6, 7], [8, 9], [8, 9], [*range(10, 50), 3]]


@pytest.mark.matrix
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2", "qwen3"])
@pytest.mark.parametrize("name", SPECS)
def test_greedy_ids_are_those_of_the_library(
    name: str, arch: str, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "WORTH", 0 if flat else 1 << 30)
    network = add_adapter(make(arch, MODELS[arch]), SPECS[name], seed=0).eval()
    move_weights(network)
    expected = []
    for ids in PROMPTS:
        row = list(ids)
        for _ in range(6):
            with torch.no_grad():
                row.append(int(network(input_ids=torch.tensor([row])).logits[0, -1].argmax()))
        expected.append(tuple(row[len(ids) :]))
    engine = Engine(prepare(network), [], rows=3)
    asked = [Asked(str(n), tuple(ids), max_new_tokens=6) for n, ids in enumerate(PROMPTS)]
    found = dict(engine.generate(asked))
    assert [tuple(found[str(n)].ids) for n in range(len(PROMPTS))] == expected


def test_trained_positions_before_every_row_go_into_8_bits_as_well() -> None:
    network = add_adapter(make("llama", MODELS["llama"]), SPECS["prefix"], seed=0).eval()
    move_weights(network)
    asked = [Asked(str(n), tuple(ids), max_new_tokens=4) for n, ids in enumerate(PROMPTS)]
    full, small = (
        dict(Engine(prepare(network), [], rows=3, kv_cache=kind).generate(asked))
        for kind in ("full", "int8")
    )
    same = [key for key in full if full[key].ids == small[key].ids]
    assert len(same) >= 3
    assert all(abs(full[key].logp - small[key].logp) < 0.3 for key in same)
