"""Adapters that change weights: by low ranks, by products of small matrices, by rotations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from regimen.settings.base import Conflict, Count, Section, Texts

Rank = Annotated[int, Field(ge=1, le=4096)]
Scale = Annotated[float, Field(gt=0, le=100_000)]
WholeScale = Annotated[int, Field(ge=1, le=100_000)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Open = Annotated[float, Field(gt=0, lt=1)]
Targets = Literal["all-linear", "attention", "mlp"] | Texts


class LoraSettings(Section):
    """LoRA: two small matrices beside each weight, whose product is added to it."""

    kind: Literal["lora"] = "lora"
    """The method."""

    r: Rank = 16
    """Rank of the update."""

    alpha: Scale = 32.0
    """The update is scaled by alpha / r."""

    dropout: Dropout = 0.0
    """Dropout before the adapter."""

    target_modules: Targets = "all-linear"
    """Modules that get an adapter: all linear ones, those of attention, those of the feed-forward
    networks, or ends of their names; a name that matches none is an error."""

    use_rslora: bool = False
    """Scale by alpha / sqrt(r) instead."""

    use_dora: bool = False
    """Train the magnitude of each weight vector apart (DoRA)."""

    init: Literal["random", "pissa", "olora", "orthogonal", "loftq", "eva"] = "random"
    """Where the two matrices begin: ``pissa`` and ``olora`` at the weight's own largest parts,
    which are taken out of the base while it is trained; ``loftq`` at what quantisation lost;
    ``eva`` at the main directions of the layers' inputs."""

    rho: Annotated[float, Field(ge=1, le=64)] = 2.0
    """With ``init: eva``, how many times ``r`` a layer may get."""

    learning_rate_ratio: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Learning rate of the second matrix over that of the first (LoRA+); 16 is usual."""

    def conflicts(self) -> Iterator[Conflict]:
        """DoRA's magnitudes are those of the base, which these initialisations change."""
        if self.use_dora and self.init in ("pissa", "olora"):
            yield Conflict(
                what="takes a part out of the weights whose magnitude use_dora trains",
                at=("init",),
                fix="Leave one of 'init' and 'use_dora' out.",
            )


class AdaLoraSettings(Section):
    """AdaLoRA: ranks move to the layers where they matter. Needs to know the number of steps."""

    kind: Literal["adalora"]
    """The method."""

    r: Rank = 8
    """Rank of a layer, on average, at the end."""

    initial_r: Rank = 12
    """Rank of every layer at the beginning."""

    alpha: Scale = 32.0
    """The update is scaled by alpha over the rank."""

    dropout: Dropout = 0.0
    """Dropout before the adapter."""

    warmup_share: Dropout = 0.1
    """Share of the steps before ranks begin to fall."""

    final_share: Dropout = 0.3
    """Share of the steps in which ranks stay what they are."""

    every: Count = 1
    """Steps between two allocations of ranks."""

    beta1: Open = 0.85
    """Of the moving mean of sensitivity."""

    beta2: Open = 0.85
    """Of the moving mean of uncertainty."""

    orthogonality: Annotated[float, Field(ge=0, le=1000)] = 0.5
    """Weight of the penalty that keeps the matrices orthogonal."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""

    def conflicts(self) -> Iterator[Conflict]:
        """Ranks fall, and in some steps."""
        if self.initial_r <= self.r:
            yield Conflict(
                what=f"has to be larger than r, {self.r}: ranks fall",
                at=("initial_r",),
                expected=f"a whole number of at least {self.r + 1}",
            )
        if self.warmup_share + self.final_share >= 1:
            yield Conflict(
                what="leaves, with warmup_share, no step in which ranks fall",
                at=("final_share",),
                expected="less than 1 together",
            )


class VeraSettings(Section):
    """VeRA: random matrices that all layers share, and two trained vectors for each."""

    kind: Literal["vera"]
    """The method."""

    r: Rank = 256
    """Rank of the shared matrices."""

    dropout: Dropout = 0.0
    """Dropout before the adapter."""

    d_initial: Open = 0.1
    """First value of the vector between the matrices."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


class LohaSettings(Section):
    """LoHa: the update is an entrywise product of two products of small matrices."""

    kind: Literal["loha"]
    """The method."""

    r: Rank = 8
    """Rank of each of the two."""

    alpha: WholeScale = 8
    """The update is scaled by alpha / r."""

    dropout: Dropout = 0.0
    """Share of the ranks that is left out at random."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


class LokrSettings(Section):
    """LoKr: the update is a Kronecker product of two small matrices."""

    kind: Literal["lokr"]
    """The method."""

    r: Rank = 8
    """Rank of the larger of the two."""

    alpha: WholeScale = 8
    """The update is scaled by alpha / r."""

    dropout: Dropout = 0.0
    """Share of the ranks that is left out at random."""

    decompose_factor: Annotated[int, Field(ge=-1, le=100_000)] = -1
    """Size of the smaller matrix; about the root of the weight's when -1."""

    decompose_both: bool = False
    """The smaller matrix is a product of rank r too."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


class OftSettings(Section):
    """OFT: weights are turned by orthogonal blocks."""

    kind: Literal["oft"]
    """The method."""

    block_size: Annotated[int, Field(ge=2, le=4096)] = 32
    """Side of a block; has to divide the inputs of every layer."""

    block_share: bool = False
    """One block for all places of a layer."""

    coft: bool = False
    """Keep the rotation near the identity."""

    eps: Open = 6e-5
    """How near, with ``coft``."""

    dropout: Dropout = 0.0
    """Share of the blocks that is left out at random."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


class BoftSettings(Section):
    """BOFT: weights are turned by a butterfly of orthogonal blocks."""

    kind: Literal["boft"]
    """The method."""

    block_size: Annotated[int, Field(ge=2, le=4096)] = 4
    """Side of a block; has to divide the inputs of every layer."""

    butterfly_factor: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of sparse rotations, one after another."""

    dropout: Dropout = 0.0
    """Share of the blocks that is left out at random."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""
