"""Attention of a flat batch against attention written out, forward and backward."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from models.native.test_ops import COMPILED, EITHER, close, way  # noqa: F401
from regimen.models.native import mixing, ops
from regimen.models.native.mixing import Attention, attends, attention_step
from regimen.models.segments import Call, causal_mask, explicit_attention
from regimen.tokens.ragged import Plan


def written_out(query, key, value, plan, scale, window):
    """Every segment over its path, with a mask."""
    rows = [torch.arange(a, a + n) for a, n in zip(plan.starts, plan.lengths, strict=True)]
    out = torch.empty_like(query)
    parts = []
    for segment, mine in enumerate(rows):
        path = torch.cat([rows[s] for s in plan.path(segment)])
        heads = (x.transpose(0, 1)[None] for x in (query[mine], key[path], value[path]))
        mask = causal_mask(len(mine), len(path), window, query.device)
        mixed = explicit_attention(*heads, mask, Call(scaling=scale))
        parts.append((mine, mixed[0].transpose(0, 1)))
    return out.index_copy(0, *(torch.cat(x) for x in zip(*parts, strict=True)))


def spoilt(x, dtype=None):
    """A block that somebody had before."""
    return torch.full_like(x, torch.nan, dtype=dtype or x.dtype)


def check(plan, heads, groups, width, window=None, scale=0.3):
    draw = torch.Generator().manual_seed(width)
    shapes = [(sum(plan.lengths), n, width) for n in (heads, heads // groups, heads // groups)]
    given_ = [torch.randn(s, generator=draw, requires_grad=True) for s in shapes]
    expected = written_out(*given_, plan, scale, window)
    grad = torch.randn(expected.shape, generator=draw)
    expected.backward(grad)
    mix = Attention(plan, scale, window)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixing, "empty_like", spoilt)
        out, lse = mix.forward(*given_)
        grads = mix.gradients(*given_, out, lse, grad)
    close(out, expected.detach(), 3e-6)
    for ours, leaf in zip(grads, given_, strict=True):
        close(ours, leaf.grad, 1e-5)


@EITHER
@pytest.mark.parametrize(("heads", "groups", "width"), [(1, 1, 8), (4, 2, 24), (6, 3, 64)])
@pytest.mark.parametrize("lengths", [(1,), (9, 14, 3), (33, 70, 32, 1)])
def test_independent_segments(way, lengths, heads, groups, width):  # noqa: F811
    check(Plan(lengths, (-1,) * len(lengths)), heads, groups, width)


@pytest.mark.parametrize("way", [COMPILED], indirect=True)
@given(data=st.data())
@examples(40)
def test_any_forest_any_window(way, data):  # noqa: F811
    lengths = data.draw(st.lists(st.integers(1, 45), min_size=1, max_size=6))
    parents = [data.draw(st.integers(-1, s - 1)) for s in range(len(lengths))]
    heads, groups = data.draw(st.sampled_from([(1, 1), (2, 2), (4, 2)]))
    width = data.draw(st.sampled_from([4, 16, 40]))
    window = data.draw(st.sampled_from([None, 1, 7, 30]))
    check(Plan(tuple(lengths), tuple(parents)), heads, groups, width, window)


@pytest.mark.parametrize("way", [COMPILED], indirect=True)
def test_the_number_of_threads_changes_nothing(way):  # noqa: F811
    draw = torch.Generator().manual_seed(0)
    plan = Plan((40, 30, 50, 7), (-1, 0, 0, 1))
    query, key, value, grad = (torch.randn(127, 2, 16, generator=draw) for _ in range(4))
    mix = Attention(plan, 0.25)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            out, lse = mix.forward(query, key, value)
            results.append((out, *mix.gradients(query, key, value, out, lse, grad)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_torch_alone_takes_flat_plans_only(monkeypatch):
    monkeypatch.setattr(ops.OFF, "now", True)
    assert attends(Plan((3, 4), (-1, -1)), None)
    assert attends(Plan((3, 4), (-1, -1)), 4)
    assert not attends(Plan((3, 4), (-1, -1)), 3)
    assert not attends(Plan((3, 4), (-1, 0)), None)


@pytest.mark.parametrize("way", [COMPILED], indirect=True)
@given(data=st.data())
@examples(40)
def test_one_query_of_each_row_over_a_cache(way, data):  # noqa: F811
    rows, positions = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 40))
    heads, groups = data.draw(st.sampled_from([(1, 1), (2, 2), (4, 2)]))
    width = data.draw(st.sampled_from([4, 16, 40, 64, 80]))
    draw = torch.Generator().manual_seed(width)
    keys, values = (torch.randn(rows, positions, heads // groups, width, generator=draw)
                    for _ in range(2))  # fmt: skip
    row_T = torch.randperm(rows, generator=draw)[: data.draw(st.integers(1, rows))]
    last_T = torch.tensor([data.draw(st.integers(0, positions - 1)) for _ in row_T])
    first_T = torch.tensor([data.draw(st.integers(0, int(n))) for n in last_T])
    query = torch.randn(len(row_T), heads, width, generator=draw)
    out = attention_step(query, keys, values, row_T, first_T, last_T, 0.3)
    for t, (row, first, last) in enumerate(zip(row_T, first_T, last_T, strict=True)):
        seen = slice(int(first), int(last) + 1)
        key, value = (x[row, seen].repeat_interleave(groups, 1) for x in (keys, values))
        probability = (torch.einsum("hw,phw->hp", query[t], key) * 0.3).softmax(-1)
        close(out[t], torch.einsum("hp,phw->hw", probability, value), 1e-5)
