"""Updates that are products of small matrices other than LoRA's (LyCORIS, Yeh et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from regimen.adapters.lora import Targets
from regimen.adapters.spec import Spec
from regimen.adapters.targets import resolved

PACKED = ("nf4", "fp4")
"""Bases whose packed weights do not have the shape from which PEFT takes the factors'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loha(Spec):
    """The update is an entrywise product of two products of rank r (Hyeon-Woo et al. 2021).

    Args:
        r: rank of each of the two.
        alpha: the scale times r.
        dropout: share of the ranks that is left out.
        target_modules: a preset or ends of names.
    """

    never_on: ClassVar[tuple[str, ...]] = PACKED
    part: ClassVar[str] = "hada_"

    r: int = 8
    alpha: int = 8
    dropout: float = 0.0
    target_modules: Targets = "all-linear"

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import LoHaConfig, TaskType

        return LoHaConfig(
            task_type=TaskType.CAUSAL_LM,
            r=self.r,
            alpha=self.alpha,
            rank_dropout=self.dropout,
            target_modules=resolved(model, self.target_modules),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lokr(Spec):
    """The update is a Kronecker product, one factor of which has rank r (Edalati et al. 2022).

    Args:
        r: rank of the larger factor.
        alpha: the scale times r.
        dropout: share of the ranks that is left out.
        decompose_factor: size of the smaller factor; the nearest to the root of W's if -1.
        decompose_both: the smaller factor has rank r too.
        target_modules: a preset or ends of names.
    """

    never_on: ClassVar[tuple[str, ...]] = PACKED
    part: ClassVar[str] = "lokr_"

    r: int = 8
    alpha: int = 8
    dropout: float = 0.0
    decompose_factor: int = -1
    decompose_both: bool = False
    target_modules: Targets = "all-linear"

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import LoKrConfig, TaskType

        return LoKrConfig(
            task_type=TaskType.CAUSAL_LM,
            r=self.r,
            alpha=self.alpha,
            rank_dropout=self.dropout,
            decompose_factor=self.decompose_factor,
            decompose_both=self.decompose_both,
            target_modules=resolved(model, self.target_modules),
        )
