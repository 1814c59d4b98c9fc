"""GPTQ against its definition, and against rounding to nearest on what it was calibrated on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.errors import ModelError
from regimen.memory.quantisation import gptq as module
from regimen.memory.quantisation.gptq import gptq, gptq_or_nearest, output_error_O
from regimen.memory.quantisation.grid import ROW, Grid, fit, round_to_nearest

DAMPING = 0.01


def problem(seed: int, outputs: int = 5, inputs: int = 12, tokens: int = 64):
    """Weights, and X^T X of inputs that go together."""
    draw = torch.Generator().manual_seed(seed)
    mixed = torch.randn(inputs, inputs, generator=draw) + 2.0
    x = torch.randn(tokens, inputs, generator=draw) @ mixed
    return torch.randn(outputs, inputs, generator=draw), x.T @ x


def by_definition(weight, gram, grid, order):
    """Optimal Brain Quantisation of each row alone, columns in a given order.

    After a column is rounded, the others move by its loss over its entry of the inverse times its
    row of it, and the inverse loses the column by a step of Gaussian elimination (Frantar et al.
    2022, eq. 2 and 3).
    """
    scale, zero = fit(weight, grid)
    damped = gram.double() + torch.eye(len(gram)) * DAMPING * gram.double().diagonal().mean()
    codes = torch.zeros_like(weight)
    for row, values in enumerate(weight.double()):
        left, inverse = values.clone(), torch.linalg.inv(damped)
        offset = 0.0 if zero is None else float(zero[row, 0])
        step = float(scale[row, 0])
        for column in order:
            code = torch.clamp(torch.round(left[column] / step + offset), grid.low, grid.high)
            codes[row, column] = code
            loss = (left[column] - (code - offset) * step) / inverse[column, column]
            left = left - loss * inverse[column]
            pivot = inverse[column, column]
            inverse = inverse - torch.outer(inverse[:, column], inverse[column]) / pivot
            inverse[column, column] = 1.0  # of no more use
    return codes.to(torch.int8)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block", [128, 4])
def test_gptq_is_its_definition(monkeypatch, block, symmetric, act_order) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    for seed in range(4):
        weight, gram = problem(seed)
        grid = Grid(3, ROW, symmetric)
        order = range(12)
        if act_order:
            order = torch.argsort(gram.diagonal(), descending=True).tolist()
        found = gptq(weight, gram, grid, damping=DAMPING, act_order=act_order)
        assert torch.equal(found.codes_OI, by_definition(weight, gram, grid, order))


def test_groups_are_scaled_when_their_turn_comes(monkeypatch) -> None:
    weight, gram = problem(0)
    whole = gptq(weight, gram, Grid(3, 4, False))
    monkeypatch.setattr(module, "BLOCK", 4)
    again = gptq(weight, gram, Grid(3, 4, False))
    assert torch.equal(whole.codes_OI, again.codes_OI)
    torch.testing.assert_close(whole.scale_OG, again.scale_OG)
    given, _ = fit(weight, Grid(3, 4, False))
    assert torch.equal(whole.scale_OG[:, 0], given[:, 0])
    assert not torch.allclose(whole.scale_OG[:, 1:], given[:, 1:])


@given(
    st.integers(2, 8),
    st.sampled_from([ROW, 4, 6]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1000),
)
@examples(40)
def test_never_worse_than_rounding_to_nearest(bits, size, symmetric, act_order, seed) -> None:
    weight, gram = problem(seed)
    grid = Grid(bits, size, symmetric)
    found, plain_rows = gptq_or_nearest(weight, gram, grid, act_order=act_order)
    plain = round_to_nearest(weight, grid)
    ours = output_error_O(weight, found.dense(), gram)
    theirs = output_error_O(weight, plain.dense(), gram)
    assert (ours <= theirs * 1.001 + 1e-4).all()
    assert 0 <= plain_rows <= len(weight)


def test_it_is_much_better_where_inputs_go_together() -> None:
    weight, gram = problem(1, outputs=32, inputs=48, tokens=200)
    grid = Grid(3, ROW, False)
    ours = output_error_O(weight, gptq(weight, gram, grid).dense(), gram).sum()
    theirs = output_error_O(weight, round_to_nearest(weight, grid).dense(), gram).sum()
    assert ours < 0.5 * theirs


def test_inputs_that_do_not_go_together_change_nothing() -> None:
    weight, _ = problem(2)
    found = gptq(weight, torch.diag(torch.rand(12) + 0.1), Grid(4, ROW, False), damping=0.0)
    assert torch.equal(found.codes_OI, round_to_nearest(weight, Grid(4, ROW, False)).codes_OI)


def test_an_input_that_nobody_saw_is_rounded_plainly() -> None:
    weight, gram = problem(3)
    gram[4], gram[:, 4] = 0.0, 0.0
    grid = Grid(8, ROW, False)
    plain = round_to_nearest(weight, grid)
    assert torch.equal(gptq(weight, gram, grid).codes_OI[:, 4], plain.codes_OI[:, 4])


def test_inputs_that_are_no_numbers_are_an_error() -> None:
    weight, gram = problem(4)
    gram[0, 0] = float("nan")
    with pytest.raises(ModelError) as caught:
        gptq(weight, gram, Grid(4, ROW, False))
    assert caught.value.slug == "calibration-singular"
