"""Biases, last layers, layers in turn: pytest tests/adapters/test_own_weights.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.adapters.methods import add_adapter
from regimen.adapters.own_weights import BitFit, Freeze, Lisa, OwnWeights
from regimen.adapters.spec import upkeep_of
from regimen.errors import AdapterError
from regimen.models.forward import prepare
from regimen.objectives.supervised import Supervised
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.checkpoints import load_checkpoint, save_checkpoint
from regimen.training.loop import Hooks, train
from regimen.training.measure import mean_nll
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions, State

SPECS: dict[str, OwnWeights] = {
    "bitfit": BitFit(),
    "freeze": Freeze(layers=1),
    "freeze, named": Freeze(layers=0, modules=("c_attn",), embeddings=True),
    "lisa": Lisa(layers=1, interval=2),
}
ROWS = token_rows([Rendered((4, 5, 6, 7 + n % 3, 9), (0.0, 1.0, 1.0, 1.0, 1.0)) for n in range(12)])
TOKENIZER = train_tokenizer(["some text to learn from"] * 5, 270)
OPTIONS = LoopOptions(
    learning_rate=1e-2, tokens_per_batch=20, num_train_epochs=None, max_steps=8, save_every=3
)


def model(arch: str = "gpt2") -> Any:
    return make(arch, MODELS[arch])


def moved(before: dict[str, torch.Tensor], after: Any) -> set[str]:
    return {n for n, p in after.named_parameters() if not torch.equal(before[n], p)}


def copied(network: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def trained(network: Any) -> Any:
    optimizer = OPTIMIZERS["adamw"](parameter_groups(network, 0.0))
    upkeep = upkeep_of(network, OPTIONS.max_steps)
    train(prepare(network), ROWS, Supervised(), optimizer, OPTIONS, upkeep=upkeep)
    return network


@pytest.mark.parametrize("name", SPECS)
def test_the_loss_falls_and_only_what_was_chosen_moves(name: str) -> None:
    network = add_adapter(model(), SPECS[name], seed=0)
    before, chosen = copied(network), set(SPECS[name].chosen(network))
    first = mean_nll(prepare(network), ROWS, tokens_per_batch=100, bf16=False)
    trained(network)
    assert mean_nll(prepare(network), ROWS, tokens_per_batch=100, bf16=False) < first
    assert set() < moved(before, network) <= chosen


def test_biases_alone_are_biases() -> None:
    network = add_adapter(model(), BitFit(), seed=0)
    learnt = {name for name, p in network.named_parameters() if p.requires_grad}
    assert learnt == {name for name, _ in network.named_parameters() if name.endswith(".bias")}


def test_the_last_layers_and_the_norm_after_them() -> None:
    network = add_adapter(model("llama"), Freeze(layers=1), seed=0)
    learnt = {name for name, p in network.named_parameters() if p.requires_grad}
    assert {name.split(".")[2] for name in learnt if "layers" in name} == {"1"}
    assert {name for name in learnt if "layers" not in name} == {"model.norm.weight"}
    whole = add_adapter(model("llama"), Freeze(layers=1, embeddings=True), seed=0)
    more = {name for name, p in whole.named_parameters() if p.requires_grad} - learnt
    assert more == {"model.embed_tokens.weight", "lm_head.weight"}


def test_layers_are_drawn_by_seed_and_step_alone() -> None:
    def drawn(seed: int, steps: range) -> list[tuple[bool, ...]]:
        network = add_adapter(make("llama", {**MODELS["llama"], "num_hidden_layers": 6}),
                              Lisa(layers=2, interval=3), seed=seed)  # fmt: skip
        upkeep, found = upkeep_of(network, None), []
        for step in steps:
            upkeep.before(step)
            layers = network.model.layers
            found.append(tuple(next(it.parameters()).requires_grad for it in layers))
            assert network.model.embed_tokens.weight.requires_grad
        return found

    whole = drawn(1, range(30))
    assert all(sum(row) == 2 for row in whole)
    assert all(whole[at] == whole[at - at % 3] for at in range(30))
    assert len(set(whole)) > 3
    assert drawn(1, range(10, 30)) == whole[10:]
    assert drawn(2, range(30)) != whole


@pytest.mark.parametrize("name", SPECS)
def test_going_on_from_disk_equals_an_uninterrupted_run(name: str, tmp_path: Path) -> None:
    def start() -> tuple[Any, torch.optim.Optimizer, Any]:
        network = add_adapter(model(), SPECS[name], seed=3)
        optimizer = OPTIMIZERS["adamw"](parameter_groups(network, 0.0))
        return network, optimizer, upkeep_of(network, OPTIONS.max_steps)

    straight, steps, upkeep = start()

    def save(state: State) -> None:
        save_checkpoint(tmp_path, straight, TOKENIZER, steps, state, upkeep=upkeep)

    train(prepare(straight), ROWS, Supervised(), steps, OPTIONS, Hooks(save=save), upkeep=upkeep)
    again, fresh, other = start()
    state = load_checkpoint(tmp_path / "checkpoint-3", again, fresh, upkeep=other)
    train(prepare(again), ROWS, Supervised(), fresh, OPTIONS, state=state, upkeep=other)
    for (part, a), (_, b) in zip(
        straight.named_parameters(), again.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), part


def test_what_a_model_does_not_have_is_told() -> None:
    with pytest.raises(AdapterError, match="no bias, which BitFit adapts"):
        add_adapter(model("llama"), BitFit(), seed=0)
    with pytest.raises(AdapterError, match="fewer layers") as few:
        add_adapter(model("llama"), Freeze(layers=3), seed=0)
    assert few.value.expected == "at most 2"
    with pytest.raises(AdapterError, match="not in the model") as unknown:
        add_adapter(model("llama"), Freeze(modules=("q_prj",)), seed=0)
    assert unknown.value.fix == "Did you mean 'q_proj'?"
    with pytest.raises(AdapterError, match="no weight that is left"):
        add_adapter(model("llama"), Freeze(layers=0), seed=0)
    with pytest.raises(AdapterError, match="rows of new tokens"):
        add_adapter(model(), BitFit(), seed=0, new_tokens=[5])
