"""Quantised frozen bases by name, as a visible table: how each is made, and what it can do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from regimen.errors import MissingExtraError


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A kind of quantised base.

    Args:
        library: that makes and multiplies it.
        make: transformers' configuration, from the type that products are formed in and whether
            scales are quantised too.
        bits: of a code, by which the weight is rounded.
        stored: bits that a code takes in memory.
        scale: bits that a weight's share of scales takes in memory: from ``double_quant``.
        block: weights that share a scale; 0 for a row of the matrix.
        double: whether scales can be quantised too.
        tested: devices on which it is tested.
        note: what is different from what one may expect; empty if nothing is.
    """

    library: str
    make: Callable[[torch.dtype, bool], Any]
    bits: int
    stored: int
    scale: Callable[[bool], float]
    block: int
    double: bool = False
    tested: tuple[str, ...] = ("cpu",)
    note: str = ""

    def bits_per_weight(self, double_quant: bool = True) -> float:
        """Bits that a weight takes in memory, with its share of scales."""
        return self.stored + self.scale(double_quant and self.double)


def _four_bits(kind: str) -> Callable[[torch.dtype, bool], Any]:
    def make(compute: torch.dtype, double: bool) -> Any:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type=kind,
            bnb_4bit_use_double_quant=double,
            bnb_4bit_compute_dtype=compute,
        )

    return make


def _eight_bits(compute: torch.dtype, double: bool) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]


def _torchao_int8(compute: torch.dtype, double: bool) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return TorchAoConfig(Int8WeightOnlyConfig())


def _torchao_int4(compute: torch.dtype, double: bool) -> Any:
    from torchao.quantization import IntxWeightOnlyConfig, PerGroup
    from transformers import TorchAoConfig

    narrow: Any = torch.int4  # type: ignore[attr-defined]
    return TorchAoConfig(IntxWeightOnlyConfig(weight_dtype=narrow, granularity=PerGroup(32)))


def _absmax(double: bool) -> float:
    """A scale of 32 bits for 64 weights; or one of 8 bits, with one of 32 for 256 of these."""
    return 8 / 64 + 32 / (64 * 256) if double else 32 / 64


BASES: Mapping[str, Base] = {
    # Dettmers et al. 2023, QLoRA
    "nf4": Base(
        library="bitsandbytes",
        make=_four_bits("nf4"),
        bits=4,
        stored=4,
        scale=_absmax,
        block=64,
        double=True,
    ),
    "fp4": Base(
        library="bitsandbytes",
        make=_four_bits("fp4"),
        bits=4,
        stored=4,
        scale=_absmax,
        block=64,
        double=True,
    ),
    # Dettmers et al. 2022, LLM.int8
    "int8": Base(
        library="bitsandbytes",
        make=_eight_bits,
        bits=8,
        stored=8,
        scale=lambda double: 0.0,
        block=0,
        note="weights alone are rounded: activations stay as they are, so that a row's result does "
        "not depend on its neighbours",
    ),
    "int8_torchao": Base(
        library="torchao",
        make=_torchao_int8,
        bits=8,
        stored=8,
        scale=lambda double: 0.0,
        block=0,
    ),
    "int4_torchao": Base(
        library="torchao",
        make=_torchao_int4,
        bits=4,
        stored=8,
        scale=lambda double: (32 + 8) / 32,
        block=32,
        note="rounded to 4 bits and kept in 8: torchao's packed 4-bit tensors need CUDA and have "
        "no gradient, so this is the rounding of 4 bits at more than the memory of 8",
    ),
}
"""Kinds by name. torchao's configurations with dynamic activations are not among them: they cut the
gradient below them without an error, as do its packed 4-bit products."""


def configuration(kind: str, compute: torch.dtype, *, double_quant: bool = True) -> Any:
    """transformers' configuration of a kind; 4-bit products are formed in ``compute``.

    Raises:
        MissingExtraError: its library is not installed.
    """
    base = BASES[kind]
    if find_spec(base.library) is None:
        wanted = "bitsandbytes" if base.library == "bitsandbytes" else "'regimen[torchao]'"
        raise MissingExtraError(
            f"A base in {kind} needs {base.library}, which is not installed.",
            slug=f"missing-{base.library}",
            fix=f"pip install {wanted}, or choose another kind.",
        )
    with _quiet():
        return base.make(compute, double_quant)


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, no library logs: torchao tells of the CUDA parts that it does not find."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
