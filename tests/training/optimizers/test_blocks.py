"""One block at a time: pytest tests/training/optimizers/test_blocks.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from regimen.adapters.methods import add_adapter
from regimen.adapters.own_weights import Lisa
from regimen.models import buffers
from regimen.models.forward import prepare
from regimen.objectives.supervised import Supervised
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.optimizers.blocks import BAdam, is_trained
from regimen.training.options import LoopOptions, State
from regimen.training.profiling.memory import optimizer_states
from regimen.training.schedules import Schedule
from regimen.training.state_memory import state_memory

ROWS = token_rows([Rendered((1, i, 5, 6 + i), (0.0, 1.0, 1.0, 1.0)) for i in range(12)])
OPTIONS = LoopOptions(
    learning_rate=0.01,
    num_train_epochs=None,
    tokens_per_batch=24,
    schedule=Schedule("constant", 0.0),
)


def network() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "vocab_size": 40}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=3, num_attention_heads=2, **sizes))


def block_of(name: str) -> int:
    return int(name.split("layers.")[1].split(".")[0]) if "layers." in name else 3


def followed(model: Any, optimizer: torch.optim.Optimizer, steps: int) -> list[set[int]]:
    """The blocks that each step moved."""
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    moved: list[set[int]] = []

    def look(_state: State, _losses: Any) -> None:
        now = {n: p.detach().clone() for n, p in model.named_parameters()}
        moved.append({block_of(n) for n in now if not torch.equal(now[n], before[n])})
        before.update(now)

    options = replace(OPTIONS, max_steps=steps)
    train(prepare(model), ROWS, Supervised(), optimizer, options, Hooks(progress=look))
    return moved


def test_each_pass_trains_every_block_once() -> None:
    model = network()
    optimizer = OPTIMIZERS["badam"](parameter_groups(model, 0.0), block_steps=2)
    moved = followed(model, optimizer, 16)
    assert all(len(blocks) == 1 for blocks in moved)
    turns = [moved[step] for step in range(0, 16, 2)]
    assert turns == [moved[step] for step in range(1, 16, 2)]
    for one in (turns[:4], turns[4:]):
        assert sorted(next(iter(blocks)) for blocks in one) == [0, 1, 2, 3]


def test_only_the_active_block_has_gradients_and_state() -> None:
    model = network()
    optimizer = OPTIMIZERS["badam"](parameter_groups(model, 0.0), block_steps=3)
    followed(model, optimizer, 4)
    assert isinstance(optimizer, BAdam)
    active = [p for n, p in model.named_parameters() if block_of(n) == optimizer.active]
    size = sum(p.nbytes for p in active)
    assert optimizer_states(optimizer) == 2 * size
    assert state_memory(model, optimizer).gradients == size
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in active}
    assert all(is_trained(p) for p in model.parameters())


def test_moments_begin_anew_with_each_block() -> None:
    model = network()
    optimizer = OPTIMIZERS["badam"](parameter_groups(model, 0.0), block_steps=2)
    followed(model, optimizer, 5)
    assert {state["step"] for state in optimizer.state.values()} == {1}


def kept_bytes(model: Any, optimizer: torch.optim.Optimizer, steps: int, **more: Any) -> int:
    """The most memory of gradients that the loop keeps."""
    most = [0]

    def look(_state: State, _losses: Any) -> None:
        kept = buffers.kept_now()
        assert kept is not None
        most[0] = max(most[0], sum(block.nbytes for block in kept.gradients))

    options = replace(OPTIONS, max_steps=steps)
    train(prepare(model), ROWS, Supervised(), optimizer, options, Hooks(progress=look), **more)
    return most[0]


def test_kept_memory_of_gradients_is_released_with_the_turn() -> None:
    model = network()
    optimizer = OPTIMIZERS["badam"](parameter_groups(model, 0.0), block_steps=2)
    sizes = [0, 0, 0, 0]
    for name, parameter in model.named_parameters():
        sizes[block_of(name)] += parameter.nbytes
    assert 0 < kept_bytes(model, optimizer, 8) <= max(sizes)


def test_lisa_releases_it_too() -> None:
    model = add_adapter(network(), Lisa(layers=1, interval=1), seed=0)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model, 0.0))
    layer = sum(p.nbytes for p in model.model.layers[0].parameters())
    outside = sum(p.nbytes for n, p in model.named_parameters() if block_of(n) == 3)
    upkeep = model.adapter_spec.upkeep(model, 8)
    assert 0 < kept_bytes(model, optimizer, 8, upkeep=upkeep) <= layer + outside
