"""Quantised bases through the stages: pytest tests/stages/test_quantised.py"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from regimen.adapters.files import is_adapter
from regimen.memory.bases import configuration
from regimen.models.loading import ModelSpec, load_model
from regimen.models.quantised import is_quantised
from regimen.stages.models import load, token_logps
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows

pytest.importorskip("bitsandbytes")

QUANTISED = {
    "fp4": {"kind": "fp4", "double_quant": False},
    "int8": "int8",
    "int8_torchao": "int8_torchao",
}


def logp(path: str) -> float:
    loaded = load(path)
    ids = loaded.tokenizer("the a dog sees x cats")["input_ids"]
    rows = token_rows([Rendered(tuple(ids), (0.0, *[1.0] * (len(ids) - 1)))])
    return token_logps(loaded.language_model, rows, bf16=False)[0].mean().item()


@pytest.mark.parametrize("kind", QUANTISED)
def test_an_adapter_is_trained_on_a_base_in_few_bits(kind, text_project) -> None:
    if "torchao" in kind:
        pytest.importorskip("torchao")
    options = {"max_steps": 8, "learning_rate": 0.02, "adapter": {"kind": "lora", "r": 4}}
    file = text_project.settings(kind, quantise=QUANTISED[kind], **options)
    assert text_project.run(file) == 0
    final = str(Path("runs") / kind / "tune" / "final")
    assert is_adapter(final)
    assert logp(final) > logp("base")
    assert (Path(final) / "base.json").is_file()


def test_a_base_that_was_saved_quantised_needs_an_adapter(text_project, capsys) -> None:
    model = load_model(ModelSpec(path="base"), quantisation=configuration("nf4", torch.float32))
    model.save_pretrained("small")
    AutoTokenizer.from_pretrained("base").save_pretrained("small")
    options = {"model": {"path": "small"}, "max_steps": 2, "learning_rate": 0.02}
    assert text_project.run(text_project.settings("whole", adapter=None, **options)) == 1
    assert "weights in few bits cannot be trained" in capsys.readouterr().err
    assert text_project.run(text_project.settings("lora", adapter={"r": 4}, **options)) == 0
    loaded = load(str(Path("runs") / "lora" / "tune" / "final"))
    assert is_quantised(loaded.language_model.model)
