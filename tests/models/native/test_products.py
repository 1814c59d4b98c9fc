"""Sums of matrix products against fp64, at sizes that fill no tile and at sizes that do."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.pooled import taken_from_pool
from models.native.test_ops import COMPILED, EITHER, way  # noqa: F401
from regimen.models.native import products
from regimen.models.native.products import Input, add_outer, back, forth, multiply

TYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
SIZES = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 96, 130, 200]))


@pytest.fixture(autouse=True)
def on_any_processor(monkeypatch):
    """Whether they are faster is another question."""
    monkeypatch.setattr(products, "_faster", lambda dtype: True)


def some(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def near(found, expected, dtype=torch.float32, step=2e-6):
    scale = float(expected.abs().max()) or 1.0
    step = step if dtype == torch.float32 else 2**-8
    assert found.shape == expected.shape
    assert float((found.double() - expected).abs().max()) <= step * scale


@EITHER
@TYPES
@given(data=st.data())
@examples(40)
def test_a_sum_of_products(way, dtype, data):  # noqa: F811
    rows, columns = data.draw(SIZES), data.draw(SIZES)
    weights = data.draw(st.sampled_from([torch.float32, torch.bfloat16]))
    terms, expected = [], torch.zeros(rows, columns, dtype=torch.float64)
    for i in range(data.draw(st.integers(1, 3))):
        inner, scale = data.draw(SIZES), data.draw(st.sampled_from([1.0, 0.5]))
        inner += inner % 2 if way else 0  # odd numbers of bf16 go to torch
        a = some(rows, inner, dtype=dtype, seed=i)
        turned = data.draw(st.booleans())
        weight = some(*((columns, inner) if turned else (inner, columns)), seed=9 + i).to(weights)
        terms.append((a, (forth if turned else back)(weight, scale=scale)))
        used = weight.to(dtype).double()
        expected += scale * a.double() @ (used.t() if turned else used)
    bias = some(columns, seed=5) if data.draw(st.booleans()) else None
    expected += 0 if bias is None else bias.double()
    exact = torch.full((rows, columns), torch.nan)
    found = multiply(terms, bias_N=bias)
    assert found.dtype == dtype
    # torch rounds each product to bf16, and the sum: as far apart as the largest of them
    limit = 4 * max(1.0, float(expected.abs().max())) if way is False else 1.0
    if way or dtype == torch.float32:
        near(multiply(terms, out=exact, bias_N=bias), expected)
        near(found, expected, dtype)
        whole = multiply(terms, bias_N=bias, dtype=torch.float32)
        assert whole.dtype == torch.float32
        near(whole, expected)
    else:
        assert float((found.double() - expected).abs().max()) <= limit * 2**-5 * (1 + inner**0.5)


@EITHER
@TYPES
@pytest.mark.parametrize("ranks", [(4,), (3, 5), (16, 16, 16)])
def test_matrices_on_top_of_each_other(way, dtype, ranks):  # noqa: F811
    x, parts = some(20, 32, dtype=dtype), [some(r, 32, seed=i) for i, r in enumerate(ranks)]
    stacked = torch.cat(parts)
    expected = x.double() @ stacked.to(dtype).double().t()
    near(multiply([(x, forth(*parts))]), expected, dtype)
    near(multiply([(multiply([(x, forth(*parts))]), back(*parts))]),
         multiply([(x, forth(*parts))]).double() @ stacked.to(dtype).double(), dtype)  # fmt: skip


@EITHER
@TYPES
def test_columns_of_a_matrix_are_read_and_written_where_they_stand(way, dtype):  # noqa: F811
    whole, weight = some(13, 24, dtype=dtype), some(8, 6, seed=1)
    out = torch.zeros(13, 20, dtype=dtype)
    multiply([(whole[:, 2:8], forth(weight, scale=0.5))], out=out[:, 4:12])
    expected = 0.5 * whole[:, 2:8].double() @ weight.to(dtype).double().t()
    near(out[:, 4:12], expected, dtype)
    assert not out[:, :4].any()
    assert not out[:, 12:].any()


@EITHER
@TYPES
@given(data=st.data())
@examples(40)
def test_gradients_of_weights_are_summed_in_fp32(way, dtype, data):  # noqa: F811
    tokens, outputs, inputs = (data.draw(SIZES) for _ in range(3))
    grad, x = some(tokens, outputs, dtype=dtype), some(tokens, inputs, dtype=dtype, seed=1)
    before, add = some(outputs, inputs, seed=2), data.draw(st.booleans())
    scale = data.draw(st.sampled_from([1.0, 0.5]))
    total = before.clone() if add else torch.full_like(before, torch.nan)
    add_outer(total, grad, Input(x), scale, add=add)
    expected = scale * grad.double().t() @ x.double() + (before.double() if add else 0)
    near(total, expected, torch.float32 if way else dtype)


@pytest.mark.parametrize("way", [COMPILED], indirect=True)
@TYPES
def test_the_number_of_threads_changes_nothing(way, dtype):  # noqa: F811
    x, weight = some(211, 1500, dtype=dtype), some(130, 1500, seed=1)
    grad = some(211, 130, dtype=dtype, seed=2)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            total = torch.zeros(130, 1500)
            add_outer(total, grad, Input(x), add=True)
            both = multiply([(x, forth(weight))]), multiply([(grad, back(weight))])
            results.append((*both, total))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("way", [COMPILED], indirect=True)
@TYPES
def test_a_wide_factor_is_packed_piece_by_piece(way, dtype):  # noqa: F811
    weight, x = some(9000, 300), some(5, 300, dtype=dtype, seed=1)
    used = weight.to(dtype).double()
    logits = multiply([(x, forth(weight))], out=torch.empty(5, 9000))
    near(logits, x.double() @ used.t())
    grad = some(5, 9000, dtype=dtype, seed=2)
    found = multiply([(grad, back(weight))], out=torch.empty(5, 300))
    near(found, grad.double() @ used, step=1e-5)


@EITHER
def test_what_is_no_number_stays_none(way):  # noqa: F811
    x = torch.ones(3, 8)
    x[1, 2] = torch.nan
    found = multiply([(x, forth(torch.ones(5, 8)))])
    assert found.isnan().all(1).tolist() == [False, True, False]


def test_pairs_that_do_not_fill_a_row_go_to_torch(monkeypatch):
    monkeypatch.setattr(products, "_multiply", None)
    x, weight = some(4, 7, dtype=torch.bfloat16), some(5, 7, seed=1)
    expected = x.double() @ weight.bfloat16().double().t()
    near(multiply([(x, forth(weight))]), expected, torch.bfloat16)


def test_the_choice_follows_from_the_processor_alone(monkeypatch):
    monkeypatch.undo()
    choice = products._faster.__wrapped__
    for vendor, flags, fp32 in [
        ("AuthenticAMD", {"avx512f"}, True),
        ("AuthenticAMD", {"avx2"}, False),
        ("GenuineIntel", {"avx512f"}, False),
    ]:
        monkeypatch.setattr(products, "cpu_facts", lambda v=vendor, f=flags: (v, frozenset(f)))
        assert choice(torch.float32) is fp32
    tiles = ("GenuineIntel", frozenset({"avx512f", "avx512_bf16", "amx_bf16"}))
    monkeypatch.setattr(products, "cpu_facts", lambda: tiles)
    if products.built().library is not None:
        assert not choice(torch.bfloat16)


@pytest.mark.parametrize("way", [COMPILED], indirect=True)
@pytest.mark.parametrize("rows", [1, 5, 13])
@pytest.mark.parametrize(("deep", "flat"), [(513, 512), (1025, 300), (600, 512)])
@TYPES
def test_terms_of_other_depths_are_cut_apart(way, dtype, deep, flat, rows):  # noqa: F811
    """A deep term is cut into pieces that are smaller than a flat term that is whole."""
    each = 2 if dtype == torch.bfloat16 else 1
    terms, expected = [], 0
    for i, inner in enumerate((deep * each, flat * each, deep * each)):
        a, weight = some(rows, inner, dtype=dtype, seed=i), some(70, inner, seed=9 + i)
        terms.append((a, forth(weight)))
        expected = expected + a.double() @ weight.to(dtype).double().t()
    for _ in range(20):
        near(multiply(terms, out=torch.empty(rows, 70)), expected, step=1e-5)


@pytest.mark.parametrize("autocast", [False, True])
def test_without_products_in_bf16_it_is_multiplied_in_fp32(autocast, monkeypatch):
    """To the last bit that bf16 has: sums are not rounded on the way."""
    monkeypatch.setattr(products, "_faster", lambda dtype: False)
    monkeypatch.setattr(products, "bf16_on_cpu", lambda: False)
    low = torch.bfloat16
    x, w, more, grad = (
        some(*s, dtype=low, seed=i) for i, s in enumerate([(6, 40), (9, 40), (40, 9), (6, 9)])
    )
    expected = (x.float() @ w.float().t() + 0.5 * (x.float() @ more.float())).to(low)
    entered = torch.autocast("cpu", enabled=autocast)
    monkeypatch.setattr(products, "multiply", entered(multiply))
    monkeypatch.setattr(products, "add_outer", entered(add_outer))
    assert torch.equal(products.multiply([(x, forth(w)), (x, back(more, scale=0.5))]), expected)
    total = torch.ones(9, 40)
    products.add_outer(total, grad, Input(x), 0.5, add=True)
    torch.testing.assert_close(total, 1 + 0.5 * grad.float().t() @ x.float())
    low_total = torch.ones(9, 40, dtype=low)
    products.add_outer(low_total, grad, Input(x), 0.5, add=True)
    assert torch.equal(low_total, total.to(low))
    copied = products.Copied(w.float(), torch.ones(9), low, lambda block: block)
    assert copied.copy.dtype == torch.float32
    assert torch.equal(entered(copied.of)(x), ((x.float() @ w.float().t()).to(low) + 1))
    into = torch.ones(6, 9)
    entered(copied.add)(into, x)
    torch.testing.assert_close(into, 2 + x.float() @ w.float().t())


def test_what_is_multiplied_in_fp32_lies_in_the_pool(monkeypatch):
    """Copies of both factors, weights on top of each other, and the product before it is added."""
    monkeypatch.setattr(products, "_faster", lambda dtype: False)
    monkeypatch.setattr(products, "bf16_on_cpu", lambda: False)
    low, side = torch.bfloat16, 512
    with taken_from_pool() as sizes:
        x, w = some(side, side, dtype=low), some(side, side, dtype=low, seed=1)
        both = multiply([(x, forth(w, w))])
        assert torch.equal(both, (x.float() @ torch.cat([w, w]).float().t()).to(low))
        fp32 = 4 * side * side
        assert sorted(sizes) == [fp32, fp32, 2 * fp32, 2 * fp32]
        sizes.clear()
        total = torch.zeros(side, side, dtype=low)
        add_outer(total, x, Input(w), add=True)
        assert torch.equal(total, (x.float().t() @ w.float()).to(low))
        assert sizes == [fp32] * 3
