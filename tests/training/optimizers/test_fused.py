"""Steps inside the backward pass: pytest tests/training/optimizers/test_fused.py."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from regimen.adapters.spec import Upkeep
from regimen.errors import TrainingError
from regimen.memory.activations import Activations, arrange, checkpoint_activations
from regimen.models.differences import relative_difference
from regimen.models.forward import prepare
from regimen.objectives.supervised import Supervised
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.optimizers.fused import PIECE, FusedBackward, norm_of
from regimen.training.options import LoopOptions
from regimen.training.schedules import Schedule
from regimen.training.state_memory import state_memory

ROWS = token_rows([Rendered((1, i, 5, 6 + i), (0.0, 1.0, 1.0, 1.0)) for i in range(12)])
OPTIONS = LoopOptions(
    learning_rate=0.05,
    num_train_epochs=None,
    max_steps=4,
    tokens_per_batch=24,
    max_grad_norm=1e9,
    schedule=Schedule("constant", 0.0),
)


def network(layers: int = 3, **more: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "vocab_size": 40, **more}
    config = LlamaConfig(num_hidden_layers=layers, num_attention_heads=2, **sizes)
    return LlamaForCausalLM(config)


def trained(
    name: str, model: Any, options: LoopOptions = OPTIONS, **more: Any
) -> tuple[Any, torch.optim.Optimizer, list[dict[str, float]]]:
    """The model after training, its optimizer, and what was logged."""
    optimizer = OPTIMIZERS[name](parameter_groups(model, 0.01), **more)
    told: list[dict[str, float]] = []
    hooks = Hooks(progress=lambda _, losses: told.append(dict(losses)))
    train(prepare(model), ROWS, Supervised(), optimizer, options, hooks)
    return model, optimizer, told


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_lomo_ends_where_sgd_without_momentum_does(tied: bool, checkpointed: bool) -> None:
    def fresh() -> Any:
        model = network(tie_word_embeddings=tied)
        if checkpointed:
            checkpoint_activations(model)
        return model

    one, _, losses = trained("lomo", fresh())
    other, _, expected = trained("sgd", fresh(), momentum=0.0)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    for mine, theirs in zip(losses, expected, strict=True):
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
    assert not any(p._post_accumulate_grad_hooks for p in one.parameters())


@pytest.mark.parametrize("tied", [False, True])
def test_a_head_by_slices_of_weights_in_bf16_changes_nothing_but_rounding(tied: bool) -> None:
    def moved(kind: str) -> tuple[list[torch.Tensor], list[dict[str, float]]]:
        model = network(tie_word_embeddings=tied).to(torch.bfloat16)
        before = [p.detach().float().clone() for p in model.parameters()]
        arrange(model, Activations(kind=kind))
        _, _, told = trained("lomo", model, replace(OPTIONS, max_steps=1, learning_rate=1e5))
        after = [p.detach().float() for p in model.parameters()]
        return [b - a for a, b in zip(before, after, strict=True)], told

    (one, mine), (other, theirs) = moved("full"), moved("keep")
    for a, b in zip(one, other, strict=True):
        assert relative_difference(a, b) <= 2e-2
    for name in ("loss", "grad_norm"):
        assert mine[0][name] == pytest.approx(theirs[0][name], rel=1e-2)


def test_a_norm_is_summed_in_fp32_a_piece_at_a_time() -> None:
    tensor = torch.full((700, 300), 0.01).to(torch.bfloat16)
    assert tensor.numel() > PIECE
    assert norm_of(tensor) == pytest.approx(float(tensor.double().norm()), rel=2e-4)


@pytest.mark.parametrize("name", ["lomo", "adalomo"])
def test_several_micro_batches_add_up_before_the_step(name: str) -> None:
    whole = replace(OPTIONS, tokens_per_batch=48)  # all rows
    halves = replace(OPTIONS, tokens_per_batch=24, accumulation=2)
    one = trained(name, network(), whole)[0]
    two = trained(name, network(), halves)[0]
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_each_tensor_is_bounded_by_itself() -> None:
    bound, model = 0.01, network()
    before = deepcopy(model.state_dict())
    trained("lomo", model, replace(OPTIONS, max_steps=1, max_grad_norm=bound, learning_rate=1.0))
    decays = {"embed_tokens": 0.0, "norm": 0.0}
    moved = 0
    for name, parameter in model.named_parameters():
        factor = next((v for part, v in decays.items() if part in name), 0.01)
        size = float((parameter.detach() - before[name] * (1 - factor)).norm())
        assert size <= bound * 1.001, name
        moved += size > 0.9 * bound
    assert moved > 5


@pytest.mark.parametrize("name", ["lomo", "adalomo", "sgd"])
def test_gradients_of_one_layer_are_there_at_a_time(name: str) -> None:
    """Follows the gradients that reach a leaf until they are dropped."""
    model = network(layers=8, hidden_size=32, intermediate_size=64)
    optimizer = OPTIMIZERS[name](parameter_groups(model, 0.0))
    alive = {"now": 0, "most": 0}
    every = list(model.parameters())

    def look(_: Any) -> None:
        alive["now"] = sum(p.grad.nbytes for p in every if p.grad is not None)
        alive["most"] = max(alive["most"], alive["now"])

    # after the optimizer's own hook of the same leaf, which was registered before
    real = FusedBackward._now

    def watched(self: FusedBackward, group: Any, bound: float) -> Any:
        hook = real(self, group, bound)

        def both(parameter: torch.Tensor) -> None:
            look(parameter)
            hook(parameter)

        return both

    FusedBackward._now = watched  # type: ignore[method-assign]
    try:
        step = optimizer.step

        def stepping(*args: Any) -> None:
            look(None)
            step(*args)

        optimizer.step = stepping  # type: ignore[method-assign]
        train(prepare(model), ROWS, Supervised(), optimizer, replace(OPTIONS, max_steps=2))
    finally:
        FusedBackward._now = real  # type: ignore[method-assign]
    total = sum(p.nbytes for p in every)
    layer = sum(p.nbytes for p in model.model.layers[0].parameters())
    most_of_all = max(layer, model.lm_head.weight.nbytes)
    if name == "sgd":
        assert alive["most"] == total
        assert state_memory(model, optimizer).gradients == total
    else:
        assert alive["most"] <= most_of_all < total / 4
        assert state_memory(model, optimizer).gradients <= layer + 2 * model.lm_head.weight.nbytes


def peak(name: str, layers: int, **more: float) -> int:
    """Bytes allocated at most in a step, above what was there before."""
    from regimen.training.profiling.memory import BLOCK

    model = network(layers=layers, hidden_size=64, intermediate_size=256)
    optimizer = OPTIMIZERS[name](parameter_groups(model, 0.0), **more)
    # torch 2.10 and 2.11 warn where events of several cycles are not kept, cycles or not
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profiler:
        train(prepare(model), ROWS, Supervised(), optimizer, replace(OPTIONS, max_steps=1))
    level = most = 0
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == BLOCK]
    for event in sorted(events, key=lambda e: e.start_ns()):
        level += event.nbytes()
        most = max(most, level)
    return most


def test_more_layers_need_no_more_memory_for_gradients() -> None:
    layer = sum(
        p.nbytes
        for p in network(1, hidden_size=64, intermediate_size=256).model.layers[0].parameters()
    )
    lomo = peak("lomo", 12) - peak("lomo", 4)
    sgd = peak("sgd", 12, momentum=0.0) - peak("sgd", 4, momentum=0.0)
    assert sgd > 7.5 * layer  # eight more layers, each with its gradients
    assert lomo < 0.4 * 8 * layer  # activations of a few tokens, and no gradients


def test_a_second_gradient_in_a_step_is_an_error() -> None:
    class Penalty(Upkeep):
        def penalty(self) -> torch.Tensor:
            return model.lm_head.weight.square().sum()

    model = network()
    optimizer = OPTIMIZERS["lomo"](parameter_groups(model, 0.0))
    with pytest.raises(TrainingError, match="fused-twice"):
        train(prepare(model), ROWS, Supervised(), optimizer, OPTIONS, upkeep=Penalty())


def test_a_gradient_that_is_not_finite_stops_the_run_and_steps_nothing() -> None:
    model = network()
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = float("inf")
    before = model.lm_head.weight.detach().clone()
    with pytest.raises(TrainingError, match="loss-not-finite"):
        trained("lomo", model)
    assert torch.equal(model.lm_head.weight, before)
