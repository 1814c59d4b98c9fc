"""What an objective is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from regimen.models.head import Reduced
from regimen.models.teaching import Taught
from regimen.tokens.ragged import RaggedBatch

Metrics = Mapping[str, float | Tensor]
NLL = "nll"
"""The component that the head reducer's ``nll_sum`` is: alone in it, and times 1."""


@dataclass(frozen=True, slots=True)
class LossOut:
    """Sums of an objective's components over a batch, not yet divided, and what to log.

    ``metrics`` are sums as well; each is divided by the weight of the component it is named for,
    or by ``rows`` where no component has its name. One that is a tensor is read after the backward
    pass, so that nothing waits for it.
    """

    components: Mapping[str, Tensor]
    metrics: Metrics
    rows: float


class Objective(Protocol):
    """A loss. Pure: no model, device, settings or state beyond its own parameters."""

    @property
    def needs(self) -> frozenset[str]:
        """Names from ``regimen.models.head.NEEDS``."""

    def weights(self, batch: RaggedBatch) -> Mapping[str, float]:
        """The weight of each component in this batch; the loop sums them over the step."""

    def __call__(self, batch: RaggedBatch, reduced: Reduced) -> LossOut:
        """The sums of the components over this batch."""


@runtime_checkable
class OverStep(Protocol):
    """An objective that may compare each row with means over all rows of the optimizer step.

    A step of one micro-batch is compared with its own means. Of several micro-batches the loop adds
    up ``seen`` in a pass without gradient and learns from ``comparing``, so that a step is the same
    however its rows are cut into micro-batches.
    """

    @property
    def needs(self) -> frozenset[str]:
        """As that of ``Objective``."""

    @property
    def compares(self) -> bool:
        """Whether it does."""

    def seen(self, batch: RaggedBatch, reduced: Reduced) -> Tensor:
        """Sums over this batch, to be added up over the step; without gradient."""

    def comparing(self, seen: Tensor) -> Objective:
        """The objective that compares with what was seen of the whole step."""


@runtime_checkable
class Teaching(Protocol):
    """An objective that needs ``teacher_kl``: it knows a frozen teacher, as others a reference."""

    def taught(self, batch: RaggedBatch) -> Taught:
        """What the teacher says of the targets of a batch; without gradient."""
