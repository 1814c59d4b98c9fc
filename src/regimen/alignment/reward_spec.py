"""What the scores of a reward model mean: the file beside its weights, and one number from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from regimen.errors import ModelError
from regimen.files import atomic_write, json_text

FILE = "reward.json"

Combine = Literal["mean", "min"]
"""How the members of an ensemble become one score: their mean, or the lowest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSpec:
    """What each score of a model is.

    ``dimensions`` have ``members`` scores each, one dimension after another. ``levels`` and
    ``borders`` are those of ordinal rewards: the score lies between the borders of its level.
    ``pad_id`` is the id that is not read.
    """

    method: str
    dimensions: tuple[str, ...]
    members: int = 1
    pad_id: int
    levels: tuple[float, ...] = ()
    borders: tuple[float, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each score: the dimension's, with the member's number in an ensemble."""
        if self.members == 1:
            return self.dimensions
        return tuple(f"{d}/{m}" for d in self.dimensions for m in range(self.members))

    def apart(self, score_NH: Tensor) -> Tensor:
        """Scores by dimension and member: (N, D, M)."""
        return score_NH.reshape(len(score_NH), len(self.dimensions), self.members)


def write_spec(spec: RewardSpec, directory: Path) -> None:
    """Write it beside the weights."""
    atomic_write(directory / FILE, json_text(asdict(spec)))


def read_spec(directory: Path) -> RewardSpec:
    """What a folder's scores are.

    Raises:
        ModelError: ``no-reward-model``, where the folder does not say.
    """
    try:
        told = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            "This folder holds no reward model.",
            slug="no-reward-model",
            got=f"{directory} without {FILE}",
            expected="the folder 'final' of an `align` with a reward method",
            fix="Train one with align.method: reward, or name its folder.",
        ) from error
    lists = {name: tuple(told[name]) for name in ("dimensions", "levels", "borders")}
    return RewardSpec(**{**told, **lists})


def weights_of(spec: RewardSpec, weights: Mapping[str, float]) -> Tensor:
    """The weight of each dimension; all count once where no weight is given: (D,).

    Raises:
        ModelError: ``unknown-dimension``.
    """
    unknown = sorted(set(weights) - set(spec.dimensions))
    if unknown:
        raise ModelError(
            "The reward model has no such dimension.",
            slug="unknown-dimension",
            got=", ".join(unknown),
            expected=", ".join(spec.dimensions),
            fix="Weigh the dimensions that it has.",
        )
    given = weights or dict.fromkeys(spec.dimensions, 1.0)
    return torch.tensor([float(given.get(name, 0.0)) for name in spec.dimensions])


def members_of(spec: RewardSpec, score_NH: Tensor, weights: Mapping[str, float]) -> Tensor:
    """What each member says: the weighted sum of its dimensions: (N, M)."""
    return torch.einsum(
        "ndm,d->nm", spec.apart(score_NH.double()), weights_of(spec, weights).double()
    )


def combined(member_NM: Tensor, how: Combine) -> tuple[Tensor, Tensor]:
    """One score from the members, and their disagreement: (N,), (N,).

    The mean; or the worst case, which a policy cannot raise by pleasing one member alone (Coste et
    al. 2023, *Reward Model Ensembles Help Mitigate Overoptimization*, arXiv 2310.02743, eq. 2).
    Their disagreement is the standard deviation, 0 of one member.
    """
    one_N = member_NM.mean(1) if how == "mean" else member_NM.amin(1)
    return one_N, member_NM.std(1, correction=0)
