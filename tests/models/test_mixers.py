"""pytest tests/models/test_mixers.py

Kernels of accelerators on the CPU: what they are given is what segment by segment attention reads.
"""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regimen.models import flex, mixers, varlen
from regimen.models.forests import (
    BLOCK,
    blocks,
    numbered,
    path_keys,
    paths_of,
    predicate,
)
from regimen.models.mixers import MIXERS, SEGMENTS, Asked, mix
from regimen.models.segments import Call, attend
from regimen.tokens.ragged import Plan

CPU = torch.device("cpu")


@st.composite
def plans(draw, most=6, longest=9):
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=most))
    return Plan(tuple(lengths), tuple(draw(st.integers(-1, s - 1)) for s in range(len(lengths))))


def dense(plan, window, before):
    """Which keys count for which queries, from the definition: (T, before + T)."""
    total = sum(plan.lengths)
    allowed = torch.zeros(total, before + total, dtype=torch.bool)
    for segment, (start, length) in enumerate(zip(plan.starts, plan.lengths, strict=True)):
        path = [*range(before)]
        for one in plan.path(segment):
            path += [before + plan.starts[one] + i for i in range(plan.lengths[one])]
        for i in range(length):
            seen = path[: len(path) - length + i + 1]
            allowed[start + i, seen if window is None else seen[-window:]] = True
    return allowed


def evaluated(it, window):
    """The predicate over all pairs."""
    query = torch.arange(len(it.enter_T))[:, None]
    key = torch.arange(len(it.enter_J))[None]
    nothing = torch.zeros((), dtype=torch.int64)
    return predicate(it, window)(nothing, nothing, query, key)


@settings(max_examples=20)
@given(plans(), st.sampled_from([None, 1, 3, 7]), st.sampled_from([0, 0, 2]))
def test_the_predicate_is_the_dense_mask_and_what_pads_stands_apart(plan, window, before):
    it = numbered(plan, before, CPU)
    total, found = sum(plan.lengths), evaluated(it, window)
    assert torch.equal(found[:total, : before + total], dense(plan, window, before))
    assert not found[:total, before + total :].any()
    assert not found[total:, before : before + total].any()
    assert found.shape[0] % BLOCK == found.shape[1] % BLOCK == 0
    if not before:
        assert found.any(1).all()  # a row of nothing would have no softmax


@settings(max_examples=20)
@given(
    plans(most=5, longest=190), st.sampled_from([None, 1, 60, 300]), st.sampled_from([0, 0, 130])
)
def test_blocks_hold_all_pairs_that_count_and_whole_ones_no_other(plan, window, before):
    it = numbered(plan, before, CPU)
    some, every = blocks(it, window)
    found = evaluated(it, window)
    cut = found.view(len(some), BLOCK, -1, BLOCK)
    assert torch.equal(every, cut.all(3).all(1))
    assert not (cut.any(3).any(1) & ~(some | every)).any()
    assert not (some & every).any()
    if plan.is_flat and not before and window is None:
        wasted = (some & ~cut.any(3).any(1)).sum()
        assert wasted == 0


@given(plans(), st.sampled_from([0, 3]))
def test_gathered_keys_are_the_paths(plan, before):
    paths = paths_of(plan, before, CPU)
    total = int(paths.ends_K[-1])
    assert total == path_keys(plan, before)
    rows = torch.arange(sum(plan.lengths)) if paths.row_P is None else paths.row_P
    for segment in range(len(plan.lengths)):
        mine = rows[paths.ends_K[segment] : paths.ends_K[segment + 1]].tolist()
        expected = [*range(before)]
        for one in plan.path(segment):
            expected += [before + plan.starts[one] + i for i in range(plan.lengths[one])]
        assert mine == expected
    assert paths.longest_key == int(paths.ends_K.diff().max())
    assert paths.longest_query == max(plan.lengths) == int(paths.ends_Q.diff().max())
    assert paths.ends_Q.dtype == paths.ends_K.dtype == torch.int32


def drawn(plan, *, heads=4, key_heads=2, width=16, before=0, dtype=torch.float32, **call):
    """A call over a plan, with leaves that take gradients."""
    draw = torch.Generator().manual_seed(0)

    def some(*shape):
        return torch.randn(1, *shape, generator=draw).to(dtype).requires_grad_()

    total = sum(plan.lengths)
    query, key, value = some(heads, total, width), *(some(key_heads, total, width) for _ in "kv")
    prefix = tuple(some(key_heads, before, width) for _ in "kv") if before else None
    return Asked(query, key, value, plan, Call(**call), prefix=prefix)


def naive_varlen(query, key, value, ends_q, ends_k, most_q, most_k, *, scale, window_size, **_more):
    """torch's function from its documentation: sequence by sequence, the ends of both together."""
    assert most_q == int(ends_q.diff().max())
    assert most_k == int(ends_k.diff().max())
    left, right = window_size
    assert right == 0
    call = Call(scale, None if left < 0 else left + 1)
    outs = []
    for i in range(len(ends_q) - 1):
        rows = slice(ends_k[i], ends_k[i + 1])
        parts = (query[ends_q[i] : ends_q[i + 1]], key[rows], value[rows])
        q, k, v = (x.transpose(0, 1)[None] for x in parts)
        outs.append(attend(q, k, v, call)[0].transpose(0, 1))
    return torch.cat(outs)


def gradients(out, asked):
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    leaves = [asked.query, asked.key, asked.value, *(asked.prefix or ())]
    return torch.autograd.grad((out.float() * weights).sum(), leaves)


@settings(max_examples=20)
@given(plans(), st.sampled_from([None, 1, 4]), st.sampled_from([0, 3]))
def test_varlen_gets_sequences_whose_attention_and_gradients_are_those_of_segments(
    plan, window, before
):
    asked = drawn(plan, before=before, scaling=0.3, window=window)
    expected = SEGMENTS.attend(asked)
    found = with_naive(asked)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(gradients(found, asked), gradients(expected, asked), strict=True):
        torch.testing.assert_close(ours, theirs)


def with_naive(asked):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "kernel", lambda: naive_varlen)
        patch.setattr(varlen, "_groups_by_name", lambda: False)
        return varlen.attend(asked)


@pytest.fixture
def unfused(monkeypatch):
    """FlexAttention as it is written, without a compiler and the warning that there is none."""
    from torch.nn.attention import flex_attention

    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(flex_attention, "_warn_once", lambda *_args, **_more: None)


@pytest.mark.slow  # importing it is
@pytest.mark.usefixtures("unfused")
@settings(max_examples=15)
@given(
    plans(most=4, longest=70),
    st.sampled_from([{}, {"window": 5}, {"softcap": 2.0}, {"sinks": True}]),
    st.sampled_from([(4, 2), (3, 1)]),
    st.sampled_from([0, 3]),
)
@torch.no_grad()
def test_flex_attention_is_that_of_segments(plan, call, heads, before):
    call = dict(call)
    if call.pop("sinks", False):
        call["sinks_H"] = torch.linspace(-1.0, 2.0, heads[0])
    asked = drawn(plan, heads=heads[0], key_heads=heads[1], before=before, scaling=0.4, **call)
    torch.testing.assert_close(flex.attend(asked), SEGMENTS.attend(asked), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("unfused")
def test_values_of_another_width_than_keys():
    plan = Plan((40, 7, 9), (-1, 0, -1))
    asked = drawn(plan)
    wide = torch.randn(1, 2, 56, 24, generator=torch.Generator().manual_seed(2))
    asked = Asked(asked.query, asked.key, wide, plan, asked.call)
    with torch.no_grad():
        torch.testing.assert_close(flex.attend(asked), SEGMENTS.attend(asked), rtol=1e-4, atol=1e-5)
    assert varlen.refuses(asked)


ROWS = Plan((5, 9), (-1, -1))
SHARED = Plan((50, 3, 3, 3, 3, 3), (-1, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("plan", "options", "chosen"),
    [
        (ROWS, {}, "varlen"),
        (ROWS, {"window": 3}, "varlen"),
        (Plan((6, 3, 4), (-1, 0, 0)), {}, "varlen"),
        (SHARED, {}, "flex"),
        (ROWS, {"softcap": 3.0}, "flex"),
        (ROWS, {"sinks_H": torch.zeros(4)}, "flex"),
        (ROWS, {"width": 20}, "flex"),
        (ROWS, {"width": 12}, "segments"),
        (ROWS, {"dtype": torch.float32}, "flex"),
        (ROWS, {"dropout": 0.1}, "segments"),
    ],
)
def test_which_kernel_takes_what(monkeypatch, plan, options, chosen):
    called = Counter()
    for name, (refuses, attends) in {
        "varlen": (varlen.refuses, varlen.attend),
        "flex": (flex.refuses, flex.attend),
        "segments": (SEGMENTS.refuses, SEGMENTS.attend),
    }.items():
        assert callable(attends)
        one = mixers.Mixer(name, refuses, lambda asked, name=name: called.update([name]))
        monkeypatch.setattr(mixers, name.upper(), one)
    table = {"cpu": (mixers.VARLEN, mixers.FLEX, mixers.SEGMENTS)}
    monkeypatch.setattr(mixers, "MIXERS", table)
    dropout = options.pop("dropout", 0.0)
    asked = drawn(plan, **{"dtype": torch.bfloat16, **options})
    mix(Asked(asked.query, asked.key, asked.value, plan, asked.call, dropout))
    assert dict(called) == {chosen: 1}


def test_a_cpu_goes_by_segment():
    assert "cpu" not in MIXERS
    assert [one.name for one in MIXERS["cuda"]] == ["varlen", "flex", "segments"]
    asked = drawn(Plan((5, 4, 3), (-1, 0, -1)))
    assert torch.equal(mix(asked), SEGMENTS.attend(asked))


def test_what_generation_made_can_be_saved_by_a_training():
    plan = Plan((5, 4), (-1, 0))
    with torch.inference_mode():
        made = [paths_of(plan, 1, CPU).row_P, numbered(plan, 1, CPU).enter_T]
        made.append(flex.block_mask(plan, 2, 1, CPU).kv_indices)
    assert not any(tensor.is_inference() for tensor in made)


@pytest.mark.slow
def test_flex_attention_is_compiled_once():
    """From the second length on, other lengths, forests and batches compile nothing anew."""
    from torch.nn.attention.flex_attention import flex_attention

    torch._dynamo.reset()
    compiled = Counter()

    def backend(graph, _inputs):
        compiled.update(["graphs"])
        return graph.forward

    run = torch.compile(flex_attention, backend=backend)
    seen = []
    for plan in (Plan((40,), (-1,)), Plan((150, 90), (-1, 0)), Plan((99, 200, 31), (-1, 0, 0))):
        asked = drawn(plan, window=20)
        with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(flex, "kernel", lambda _device: run)
            found = flex.attend(asked)
        torch.testing.assert_close(found, SEGMENTS.attend(asked), rtol=1e-4, atol=1e-5)
        seen.append(compiled["graphs"])
    assert seen[-1] == seen[1] <= 2
