"""Shared beginnings: nothing is lost, nothing supervised is shared, gradients are those of rows."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.small_models import SMALL, make
from regimen.models.forward import prepare
from regimen.models.head import reduce
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import Rendered
from regimen.tokens.sharing import LEAST, RenderedShared, share_prefixes
from regimen.tokens.store import token_rows

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@st.composite
def rendered(draw):
    heads = draw(
        st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=20), min_size=1, max_size=3)
    )
    rows = []
    for _ in range(draw(st.integers(1, 9))):
        head, rest = draw(st.sampled_from(heads)), draw(tokens)
        supervised = draw(st.integers(1, len(rest)))
        ids = (*head, *rest)
        rows.append(Rendered(ids, (0.0,) * (len(ids) - supervised) + (0.5,) * supervised))
    return rows


def written_out(groups):
    for group in groups:
        if isinstance(group, Rendered):
            yield group
        else:
            for rest in group.rests:
                zeros = (0.0,) * len(group.prefix)
                yield Rendered(group.prefix + rest.ids, zeros + rest.weights)


def by_content(rows):
    return sorted((row.ids, row.weights) for row in rows)


@given(rendered(), st.integers(1, 5))
def test_every_row_is_still_there(rows, most):
    groups = share_prefixes(rows, most)
    assert by_content(written_out(groups)) == by_content(rows)
    for group in groups:
        if isinstance(group, RenderedShared):
            assert len(group.prefix) >= LEAST
            assert 2 <= len(group.rests) <= most
            assert all(rest.ids for rest in group.rests)
    assert sum(token_rows(groups).lengths) <= sum(len(row.ids) for row in rows)


@given(rendered())
def test_the_order_of_the_rows_does_not_matter(rows):
    assert share_prefixes(rows, 3) == share_prefixes(rows[::-1], 3) or len(set(rows)) < len(rows)


def test_one_row_per_prefix_leaves_rows_as_they_are():
    rows = [Rendered((1,) * 20 + (i,), (0.0,) * 20 + (1.0,)) for i in range(3)]
    assert share_prefixes(rows, 1) == rows
    (group,) = share_prefixes(rows, 4)
    assert isinstance(group, RenderedShared)
    assert (len(group.prefix), len(group.rests)) == (20, 3)


def gradients(rows):
    model = prepare(make("llama", SMALL))
    collected = token_rows(rows)
    batch = ragged_batch(collected.segments(range(len(collected))))
    out = reduce(
        model.hidden(batch, batch.source_row_N), model.head(), batch.source_row_N, batch.target_N,
        {"nll_sum"}, weight_N=batch.weight_N,
    )  # fmt: skip
    out.nll_sum.backward()
    return out.nll_sum.detach(), [p.grad for p in model.model.parameters()]


def test_losses_and_gradients_are_those_of_separate_rows():
    draw = torch.Generator().manual_seed(0)
    head = torch.randint(61, (11,), generator=draw).tolist()
    rows = []
    for length in (4, 1, 6):
        rest = torch.randint(61, (length,), generator=draw).tolist()
        rows.append(Rendered((*head, *rest), (0.0,) * 11 + (0.0,) * (length - 1) + (1.0,)))
    groups = share_prefixes(rows, 9)
    assert len(groups) == 1
    (loss, expected), (ours, got) = gradients(rows), gradients(groups)
    torch.testing.assert_close(ours, loss)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
