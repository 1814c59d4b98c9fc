"""Clipping as torch clips, and a collector that leaves old objects alone while training."""

import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.collector import FREEZE, UNFREEZE
from regimen.training.upkeep import clip, collecting_what_is_new


def leaves(seed):
    draw = torch.Generator().manual_seed(seed)
    out = [torch.zeros(3, 4), torch.zeros(5), torch.zeros(2)]
    for leaf in out[:2]:  # the last has no gradient
        leaf.grad = torch.randn(leaf.shape, generator=draw)
    return out


@given(seed=st.integers(0, 99), bound=st.sampled_from([0.1, 1.0, 3.0, 100.0]))
def test_clipping_is_that_of_torch(seed, bound):
    ours, theirs = leaves(seed), leaves(seed)
    norm = clip(ours, bound)
    expected = torch.nn.utils.clip_grad_norm_(theirs, bound)
    assert norm == pytest.approx(float(expected))
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_no_bound_scales_nothing():
    some = leaves(0)
    before = some[0].grad.clone()
    assert clip(some, 0) > 1
    assert torch.equal(some[0].grad, before)


def test_what_is_not_finite_is_told_by_the_norm():
    some = leaves(0)
    some[1].grad[0] = float("nan")
    assert not clip(some, 1.0) < float("inf")


def test_old_objects_are_frozen_inside_alone(monkeypatch):
    monkeypatch.setattr(gc, "freeze", FREEZE)
    monkeypatch.setattr(gc, "unfreeze", UNFREEZE)
    UNFREEZE()
    try:
        with collecting_what_is_new():
            assert gc.get_freeze_count() > 0
        assert gc.get_freeze_count() == 0
    finally:
        FREEZE()
