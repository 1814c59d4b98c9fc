"""Subjects of small random models, saved as a user's would be."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.adapters.files import load_adapter
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.models.loading import ModelSpec, load_model
from regimen.objectives.answers import AnswerTable
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.rendering import Rendered, RenderedPair
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions
from regimen.verifying.losses import supervised_twin
from regimen.verifying.plain import answer_logps
from regimen.verifying.preferences import Term, answers_twin
from regimen.verifying.rows import made_alike
from regimen.verifying.subject import Subject

KINDS = {
    **MODELS,
    "bloom": {"vocab_size": 61, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gpt2": {**MODELS["gpt2"], "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
}


@dataclass(frozen=True)
class Small:
    """A model and its tokenizer."""

    network: Any
    tokenizer: Any


def drawn(seed, *sizes):
    """Token ids of each size."""
    draw = torch.Generator().manual_seed(seed)
    return [tuple(torch.randint(61, (size,), generator=draw).tolist()) for size in sizes]


def rows(weight=1.0):
    """Eight rows, the second half of each learnt."""
    made = drawn(0, 4, 5, 7, 9, 12, 14, 17, 20)
    return [
        Rendered(ids, (0.0,) * (len(ids) // 2) + (weight,) * (len(ids) - len(ids) // 2))
        for ids in made
    ]


def pairs():
    """Five pairs of answers."""
    return [RenderedPair(*drawn(seed, 3 + seed, 2, 4)) for seed in range(5)]


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer(["the cat sees the dog"] * 9, 280)


@pytest.fixture
def subject_of(tmp_path, tokenizer):
    """Makes a subject: full tuning or an adapter, rows or pairs, of any small architecture."""

    def build(kind="llama", *, adapter=None, preferences=False, **changes):
        folder = str(tmp_path / "base")
        make(kind, KINDS[kind]).save_pretrained(folder)

        def opened():
            network = load_model(ModelSpec(path=folder))
            return Small(add_adapter(network, adapter, seed=0) if adapter else network, tokenizer)

        def merged(path):
            base = load_model(ModelSpec(path=folder))
            return load_adapter(base, str(path)).merge_and_unload()

        given = {"rows": rows(), "shared": made_alike(rows()), "twin": supervised_twin()}
        if preferences:
            reference_A = answer_logps(load_model(ModelSpec(path=folder)).eval(), pairs())
            table = AnswerTable.of_pairs((reference_A + torch.linspace(-2.0, 2.0, 10)).view(5, 2))
            given = {"rows": pairs(), "shared": pairs(), "reference_A": reference_A}
            terms = [Term("dpo", given={"beta": 0.3, "label_smoothing": 0.1})]
            given["twin"] = answers_twin(terms, table, pairs())
        return Subject(
            **{
                "section": "align" if preferences else "tune",
                "about": kind,
                "open": opened,
                "options": LoopOptions(learning_rate=0.01),
                "optimizer": lambda model: OPTIMIZERS["adamw"](parameter_groups(model, 0.01)),
                "merge": merged if adapter else "there is no adapter",
                **given,
                **changes,
            }
        )

    return build


@pytest.fixture
def lora():
    return Lora(r=4, dropout=0.1)
