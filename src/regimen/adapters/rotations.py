"""Orthogonal tuning: weights are turned, so that angles between their vectors stay."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any, ClassVar

import torch

from regimen.adapters.lora import Targets
from regimen.adapters.spec import Spec
from regimen.adapters.targets import linear_modules, resolved, sides
from regimen.errors import AdapterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Oft(Spec):
    """W is multiplied by a block-diagonal orthogonal matrix (Qiu et al. 2023, section 3).

    Args:
        block_size: side of the blocks; must divide the inputs of every layer.
        block_share: one block for all places of a layer.
        coft: keep the matrix near the identity, within ``eps`` (section 3.3).
        eps: how near.
        dropout: share of the blocks that is left out.
        target_modules: a preset or ends of names.
    """

    part: ClassVar[str] = "oft_"

    block_size: int = 32
    block_share: bool = False
    coft: bool = False
    eps: float = 6e-5
    dropout: float = 0.0
    target_modules: Targets = "all-linear"

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import OFTConfig, TaskType

        targets = resolved(model, self.target_modules)
        _divides(model, targets, self.block_size)
        return OFTConfig(
            task_type=TaskType.CAUSAL_LM,
            r=0,
            oft_block_size=self.block_size,
            block_share=self.block_share,
            coft=self.coft,
            eps=self.eps,
            module_dropout=self.dropout,
            target_modules=targets,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Boft(Spec):
    """The orthogonal matrix is a product of sparse ones, as in a butterfly (Liu et al. 2023).

    Args:
        block_size: side of the blocks; must divide the inputs of every layer.
        butterfly_factor: number of sparse matrices; more than one needs CUDA.
        dropout: share of the blocks that is left out.
        target_modules: a preset or ends of names.
    """

    part: ClassVar[str] = "boft_"

    block_size: int = 4
    butterfly_factor: int = 1
    dropout: float = 0.0
    target_modules: Targets = "all-linear"

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import BOFTConfig, TaskType

        if self.butterfly_factor > 1 and not torch.cuda.is_available():
            raise AdapterError(
                "Several factors of a butterfly need CUDA.",
                slug="adapter-butterfly",
                got=f"butterfly_factor {self.butterfly_factor}, and no CUDA",
                fix="Set butterfly_factor: 1.",
            )
        targets = resolved(model, self.target_modules)
        _divides(model, targets, self.block_size)
        return BOFTConfig(
            task_type=TaskType.CAUSAL_LM,
            boft_block_size=self.block_size,
            boft_n_butterfly_factor=self.butterfly_factor,
            boft_dropout=self.dropout,
            target_modules=targets,
        )


def _divides(model: Any, targets: list[str], size: int) -> None:
    """Raises AdapterError where blocks of a size do not fit the inputs of a layer."""
    widths = {
        name: sides(module)[0]
        for name, module in linear_modules(model).items()
        if any(name == end or name.endswith(f".{end}") for end in targets)
    }
    for name, width in widths.items():
        if width % size:
            raise AdapterError(
                "The blocks of an orthogonal adapter do not fit a layer.",
                slug="adapter-block-size",
                got=f"block_size {size}, and {width} inputs of {name}",
                expected=f"a divisor of {gcd(*widths.values())}",
            )
