"""Tiled vocabulary projection against the whole."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.generation import vocabulary
from regimen.generation.vocabulary import Scores, Vocabulary
from regimen.models.head import Head, full_logits
from regimen.models.native import products
from regimen.models.native.build import built


@pytest.fixture(autouse=True, params=["tiles", "packed"])
def way(monkeypatch, request):
    monkeypatch.setattr(vocabulary, "TILE", 8)
    packed = request.param == "packed"
    if packed and built().library is None:
        pytest.skip(built().reason)
    for module in (vocabulary, products):
        monkeypatch.setattr(module, "takes", lambda dtype: packed)


@given(
    size=st.integers(1, 30),
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    bias=st.booleans(),
    softcap=st.sampled_from([None, 2.0]),
    scale=st.sampled_from([1.0, 0.25]),
)
@examples(50)
def test_scores_are_those_of_the_whole_head(size, counts, bias, softcap, scale):
    draw = torch.Generator().manual_seed(size)
    bias_V = torch.randn(size, generator=draw) if bias else None
    head = Head(torch.randn(size, 6, generator=draw), bias_V, softcap, scale)
    tiled = Vocabulary(head, 5, torch.float32)
    for rows in counts:
        hidden = torch.randn(rows, 6, generator=draw)
        whole = Scores.of(full_logits(hidden, head, torch.float32))
        found = tiled.scores(hidden)
        torch.testing.assert_close(found.logits_RV, whole.logits_RV)
        torch.testing.assert_close(found.lse_R, whole.lse_R)
        assert found.best_R.tolist() == whole.best_R.tolist()


def test_of_equal_logits_the_first_is_the_best():
    head = Head(torch.ones(20, 3))
    assert Vocabulary(head, 2, torch.float32).scores(torch.ones(2, 3)).best_R.tolist() == [0, 0]


def test_logits_far_from_zero():
    head = Head(torch.tensor([[300.0], [-300.0], *[[0.0]] * 20]))
    found = Vocabulary(head, 2, torch.float32).scores(torch.tensor([[1.0], [-1.0]]))
    assert found.best_R.tolist() == [0, 1]
    torch.testing.assert_close(found.lse_R, torch.full((2,), 300.0))
