"""pytest tests/training/profiling/test_attribution.py"""

from types import SimpleNamespace

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.models.forward import prepare
from regimen.models.marks import mark
from regimen.models.parts import ATTENTION, HEAD, NETWORK, NORMS, REST
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import Segment, ragged_batch
from regimen.training.loop import batch_loss
from regimen.training.profiling.attribution import (
    DATA,
    GRADIENT,
    NODE,
    marked_parts,
    seconds_by_label,
)


def event(name, start, end, number=-1):
    return SimpleNamespace(
        name=name, time_range=SimpleNamespace(start=start, end=end), sequence_nr=number
    )


def test_every_instant_counts_for_the_innermost_name():
    found = seconds_by_label(
        [
            event("regimen.forward", 10, 60),
            event("regimen.attention", 20, 40),
            event("aten::mm", 22, 30),
            event("regimen.head", 50, 60),
            event("regimen.data", 0, 8),
        ]
    )
    assert found == pytest.approx(
        {
            (DATA, "other"): 8e-6,
            (REST, "forward"): 20e-6,
            (ATTENTION, "forward"): 20e-6,
            (HEAD, "forward"): 10e-6,
        }
    )


def test_a_backward_node_belongs_to_the_part_of_the_operation_that_made_it():
    found = seconds_by_label(
        [
            event("regimen.forward", 0, 100),
            event("regimen.norms", 0, 20),
            event("aten::view", 19, 20, 7),  # ends the norm and carries the next node's number
            event("regimen.gated network", 20, 50),
            event("_GatedNetwork", 21, 49, 7),
            event("regimen.backward", 100, 200),
            event(NODE + "_GatedNetworkBackward", 110, 150, 7),
            event(NODE + GRADIENT, 150, 155),
            event(NODE + "Unknown", 160, 180, 99),
        ]
    )
    assert found[NETWORK, "backward"] == pytest.approx(45e-6)
    assert found[REST, "backward"] == pytest.approx(55e-6)
    assert (NORMS, "backward") not in found


def test_what_is_computed_again_is_told_apart():
    found = seconds_by_label(
        [
            event("regimen.backward", 0, 100),
            event(NODE + "AddBackward0", 10, 90, 3),
            event("regimen.attention", 20, 60),
            event("aten::mm", 21, 30, 50),  # would give the number a part of its own
            event(NODE + "MmBackward0", 92, 95, 50),
        ]
    )
    assert found[ATTENTION, "again"] == pytest.approx(40e-6)
    assert found[REST, "backward"] == pytest.approx(60e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_all_parts_of_a_model_show_in_both_passes(name):
    model = prepare(make(name, MODELS[name]))
    model.model.train()
    data = ragged_batch([Segment(list(range(20)), [0.0] * 10 + [1.0] * 10)] * 3)
    with (
        marked_parts(model),
        torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True
        ) as profiler,
    ):
        with mark("forward"):
            out = batch_loss(model, Supervised(), data, bf16=False)
        with mark("backward"):
            out.components["nll"].backward()
    found = seconds_by_label(profiler.events())
    for part in (ATTENTION, NETWORK, NORMS, HEAD):
        assert found[part, "forward"] > 0
        assert found[part, "backward"] > 0
    marked = sum(
        e.time_range.end - e.time_range.start
        for e in profiler.events()
        if e.name in ("regimen.forward", "regimen.backward")
    )
    assert sum(found.values()) == pytest.approx(marked * 1e-6, rel=1e-6)
    # outside the block no hook is left
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())
