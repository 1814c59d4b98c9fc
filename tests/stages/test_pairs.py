"""Every pair of choices that the settings allow is trained: pytest tests/stages/test_pairs.py

Base, adapter, optimizer, what is kept of activations, and so on: each pair occurs in one row of a
covering array, and each row is trained for some steps. A pair that no row may hold is refused with
what to do instead.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.covering import covering, pairs_of
from regimen.adapters.methods import METHODS
from regimen.adapters.spec import see_rows, upkeep_of
from regimen.memory.activations import ACTIVATIONS
from regimen.memory.bases import BASES
from regimen.objectives.supervised import Supervised
from regimen.settings.base import Conflicts
from regimen.settings.tune import TuneSettings
from regimen.stages.training import loop_options, prepare_model
from regimen.stages.training_run import Job, new_optimizer
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.data import Data
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS

HERE = {name: it for name, it in BASES.items() if find_spec(it.library)}
STEPPED = [
    name
    for name, kind in OPTIMIZERS.items()
    if not kind.cuda_only and (not kind.library or find_spec(kind.library))
]
MORE: dict[str, dict[str, Any]] = {
    "tokens": {"tokens": ["a", "s"]},
    "prefix": {"num_virtual_tokens": 3},
    "prompt": {"num_virtual_tokens": 3},
    "p_tuning": {"num_virtual_tokens": 3},
    "freeze": {"layers": 1},
    "lisa": {"layers": 1},
}
FACTORS: dict[str, list[Any]] = {
    "adapter": ["lora", None, *(name for name in METHODS if name != "lora")],
    "quantise": [None, *HERE],
    "optimizer": ["adamw", *(name for name in STEPPED if name != "adamw")],
    "activations": list(ACTIVATIONS),
    "tiled_mlp": [None, 7],
    "stream": [False, True],
    "dtype": ["float32", "bfloat16"],
    "accumulation": [1, 2],
    "precision": ["fp32", "bf16"],
}
STEPS = 6


def settings(row: dict[str, Any], base: str = "base") -> TuneSettings:
    adapter = row["adapter"]
    memory = {"activations": row["activations"], "stream": row["stream"]}
    if row["tiled_mlp"]:
        memory["tiled_mlp"] = row["tiled_mlp"]
    fields = {
        "model": {"path": base, "dtype": row["dtype"]},
        "optimizer": row["optimizer"],
        "memory": memory,
        "gradient_accumulation_steps": row["accumulation"],
        "precision": row["precision"],
        "learning_rate": 0.01,
        "tokens_per_batch": 64,
        "max_length": 32,
        "max_steps": STEPS,
        "logging_steps": 1,
    }
    if adapter is not None:
        fields["adapter"] = {"kind": adapter, **MORE.get(adapter, {})}
    if row["quantise"] is not None:
        fields["quantise"] = row["quantise"]
    return TuneSettings.model_validate(fields)


def allowed(row: dict[str, Any]) -> bool:
    try:
        settings(row)
    except ValidationError:
        return False
    return True


@cache
def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return covering(FACTORS, allowed)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    texts = [f"the {a} dog sees {b} cats" for a in "abcdef" for b in "xyz"]
    tokenizer = train_tokenizer(texts, 300)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        attention_bias=True,  # for BitFit
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def trained(section: TuneSettings) -> list[float]:
    """The loss of each step."""
    prepared = prepare_model(section.model, section, seed=1, chat=False)
    ids = [tuple((7 * n + k) % 50 + 3 for k in range(12 + n % 5)) for n in range(8)]
    made = token_rows([Rendered(row, (0.0,) + (1.0,) * (len(row) - 1)) for row in ids])
    objective = Supervised()
    job = Job(prepared=prepared, rows=made, objective=objective, training=section, seed=1)
    options = replace(loop_options(section, 1), num_train_epochs=None, log_every=1)
    see_rows(prepared.model, lambda: Data(made, options).padded(4))
    optimizer = new_optimizer(job)
    losses: list[float] = []
    hooks = Hooks(log=lambda _, values: losses.append(values["loss"]))
    train(
        prepared.language_model,
        made,
        objective,
        optimizer,
        options,
        hooks,
        upkeep=upkeep_of(prepared.model, STEPS),
    )
    return losses


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        made = rows()[0]
        names = ["-".join(f"{value}" for value in row.values()) for row in made]
        metafunc.parametrize("row", made, ids=names)


def test_the_rows_hold_every_pair_that_is_allowed_and_no_other() -> None:
    made, refused = rows()
    held = set().union(*(pairs_of(row, FACTORS) for row in made))
    never = {frozenset(pair) for row in refused for pair in pairs_of(row, FACTORS)} - held
    names = list(FACTORS)
    count = sum(
        len(FACTORS[a]) * len(FACTORS[b]) for n, a in enumerate(names) for b in names[n + 1 :]
    )
    assert len(held) + len(never) == count
    assert len(refused) < count / 10
    assert all(allowed(row) for row in made)


def test_a_pair_that_is_refused_is_told_with_what_to_do() -> None:
    for row in rows()[1]:
        with pytest.raises(ValidationError) as caught:
            settings(row)
        for error in caught.value.errors():
            conflicts = error["ctx"]["error"]
            assert isinstance(conflicts, Conflicts), error
            assert all(conflict.fix for conflict in conflicts.found), row


@pytest.mark.slow
def test_a_row_is_trained(row: dict[str, Any], base: str) -> None:
    losses = trained(settings(row, base))
    assert len(losses) == STEPS
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] != losses[0]
    if row["adapter"] not in ("vera", "ia3", "layernorm"):  # these move slowly
        assert min(losses[1:]) < losses[0]
