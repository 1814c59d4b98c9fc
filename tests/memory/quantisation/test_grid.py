"""Grids and packing: errors bounded by half a step, and the numbers of compressed-tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regimen.memory.quantisation.grid import ROW, TENSOR, Grid, fit, round_to_nearest
from regimen.memory.quantisation.packing import packed, unpacked, words

BITS = st.integers(2, 8)


def weights(seed: int, outputs: int = 6, inputs: int = 24) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(outputs, inputs, generator=draw) * torch.rand(outputs, 1, generator=draw)


@given(st.integers(1, 8), st.integers(1, 70), st.integers(1, 4), st.integers(0, 99))
def test_packing_goes_back(bits: int, columns: int, rows: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)
    codes = torch.randint(low, high, (rows, columns), generator=draw).to(torch.int8)
    made = packed(codes, bits)
    assert made.shape == (rows, words(columns, bits))
    assert torch.equal(unpacked(made, bits, columns), codes)


@given(BITS, st.sampled_from([ROW, TENSOR, 4, 12]), st.booleans(), st.integers(0, 99))
@settings(deadline=None)
def test_a_weight_moves_half_a_step_at_most(
    bits: int, size: int, symmetric: bool, seed: int
) -> None:
    weight = weights(seed)
    codes = round_to_nearest(weight, Grid(bits, size, symmetric))
    grouped = (codes.dense() - weight).abs().view(6, codes.scale_OG.shape[1], -1)
    # a symmetric grid has one number less above zero than below
    most = 1.0 if symmetric else 0.5
    assert (grouped <= codes.scale_OG[..., None] * most * 1.001 + 1e-7).all()
    assert int(codes.codes_OI.min()) >= -(1 << (bits - 1))
    assert int(codes.codes_OI.max()) < 1 << (bits - 1)


@given(BITS, st.integers(0, 20))
def test_zero_stays_zero(bits: int, seed: int) -> None:
    weight = weights(seed).abs() + 0.5
    weight[:, ::3] = 0.0
    dense = round_to_nearest(weight, Grid(bits, 12, False)).dense()
    assert (dense[:, ::3] == 0).all()


@given(st.integers(2, 7), st.integers(0, 20))
@settings(deadline=None)
def test_more_bits_and_smaller_groups_err_less(bits: int, seed: int) -> None:
    weight = weights(seed, 16, 64)

    def error(grid: Grid) -> float:
        return float((round_to_nearest(weight, grid).dense() - weight).square().sum())

    assert error(Grid(bits + 1, 16, False)) < error(Grid(bits, 16, False))
    assert error(Grid(bits, 8, False)) < error(Grid(bits, ROW, False))


def test_a_group_that_does_not_divide_the_inputs_is_made_smaller() -> None:
    assert Grid(4, 128).fitting(688).group_size == 86
    assert Grid(4, 128).fitting(256).group_size == 128
    assert Grid(4, ROW).fitting(7).group_size == ROW


def test_scales_are_exact_in_the_type_they_are_stored_in() -> None:
    scale, _ = fit(weights(1), Grid(4, 12, False), torch.bfloat16)
    assert torch.equal(scale, scale.bfloat16().float())
    assert not torch.equal(scale, fit(weights(1), Grid(4, 12, False))[0])


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("columns", [1, 31, 32, 45, 64])
def test_packing_is_that_of_compressed_tensors(bits: int, columns: int) -> None:
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    draw = torch.Generator().manual_seed(bits)
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)
    codes = torch.randint(low, high, (5, columns), generator=draw).to(torch.int8)
    assert torch.equal(packed(codes, bits), helpers.pack_to_int32(codes, bits))
    across = helpers.pack_to_int32(codes, bits, packed_dim=0)
    assert torch.equal(packed(codes.T, bits).T, across)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_scales_and_zeros_are_those_of_compressed_tensors(bits: int, symmetric: bool) -> None:
    quantization = pytest.importorskip("compressed_tensors.quantization")
    utils = pytest.importorskip("compressed_tensors.quantization.utils")
    weight = weights(3, 8, 12)
    told = quantization.QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy="channel")
    low, high = torch.aminmax(weight, dim=1, keepdim=True)
    scale, zero = utils.calculate_qparams(low, high, told)
    ours, our_zero = fit(weight, Grid(bits, ROW, symmetric))
    torch.testing.assert_close(ours, scale)
    if our_zero is not None:
        assert torch.equal(our_zero, zero.to(torch.int8))
