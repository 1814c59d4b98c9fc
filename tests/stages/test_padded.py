"""A model that takes no flat batches is tuned in padded ones, with the same losses, and says so."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.small_models import PADDED, make

WHY = {"mamba": "recurrent state", "jamba": "recurrent state", "bloom": "its attention"}


@pytest.mark.matrix
@pytest.mark.parametrize("name", [*WHY, "falcon"])
def test_it_says_so_and_its_first_loss_is_that_of_transformers(text_project, name, capfd):
    tokenizer = AutoTokenizer.from_pretrained(text_project.folder / "base")
    made = make(name, {**PADDED[name], "vocab_size": len(tokenizer)})
    folder = text_project.folder / "other"
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file = text_project.settings(
        "p", model={"path": "other"}, max_steps=1, tokens_per_batch=4096, save_steps=None
    )
    assert text_project.run(file) == 0
    shown = capfd.readouterr().out
    assert "padded batches: " in shown
    summary = json.loads((text_project.folder / "runs/p/tune/summary.json").read_text())
    assert summary["ragged"] is False
    note = next(note for note in summary["notes"] if note.startswith("padded batches: "))
    assert WHY.get(name, "") in note
    (line,) = text_project.metrics("p")
    model = AutoModelForCausalLM.from_pretrained(folder)
    texts = (text_project.folder / "text.txt").read_text().split("\n\n")
    total = count = 0.0
    for text in texts:
        ids = torch.tensor([[*tokenizer(text).input_ids, tokenizer.eos_token_id]])
        with torch.no_grad():
            total += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert line["supervised_tokens"] == count
    assert line["nll"] == pytest.approx(total / count, rel=1e-5)
