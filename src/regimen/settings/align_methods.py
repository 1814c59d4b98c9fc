"""The methods of ``align`` and the hyper-parameters that each of them takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from regimen.settings.base import Conflict, Section, Text

LossName = Literal[
    "dpo",
    "dpo_norm",
    "dpop",
    "ipo",
    "hinge",
    "robust",
    "cpo",
    "simpo",
    "orpo",
    "kto",
    "bco",
    "rrhf",
    "slic",
    "unlikelihood",
    "sft",
]
"""Methods whose loss looks at answers, so that a weighted sum of them can be learnt."""

Conditioned = Literal["chain_of_hindsight", "quark"]
"""Methods that write what an answer is worth into the prompt."""

InRounds = Literal["raft"]
"""Methods that learn from answers which they sample themselves, round after round."""

MethodName = Literal[LossName, Conditioned, InRounds]
"""Every name that ``align.method`` takes."""

Weight = Annotated[float, Field(ge=0, le=1_000)]

_SCORED = ("beta", "label_smoothing", "divergence", "alpha")
TAKES: dict[str, tuple[str, ...]] = {
    "dpo": _SCORED,
    "dpo_norm": ("beta", "label_smoothing"),
    "dpop": ("beta", "penalty"),
    "ipo": ("beta", "length_normalised"),
    "hinge": ("beta", "divergence", "alpha"),
    "robust": _SCORED,
    "cpo": ("beta", "sft_weight", "label_smoothing"),
    "simpo": ("beta", "gamma", "label_smoothing"),
    "orpo": ("beta",),
    "kto": ("beta", "desirable_weight", "undesirable_weight"),
    "bco": ("beta", "desirable_weight", "undesirable_weight"),
    "rrhf": ("sft_weight",),
    "slic": ("delta", "sft_weight", "length_normalised"),
    "unlikelihood": ("unlikelihood_weight",),
    "sft": (),
    "chain_of_hindsight": ("good", "bad"),
    "quark": ("quantiles",),
    "raft": (),
}
"""The hyper-parameters of each method; a test holds them to the fields of its loss."""

_PAIRS, _LABELLED, _RANKED, _ANY = "pairs", "labelled", "ranked", "any"
FORMS: dict[str, str] = {
    **dict.fromkeys(
        ("dpo", "dpo_norm", "dpop", "ipo", "hinge", "robust", "cpo", "simpo", "orpo"), _PAIRS
    ),
    **dict.fromkeys(("kto", "bco"), _LABELLED),
    **dict.fromkeys(("rrhf", "slic"), _RANKED),
    **dict.fromkeys(("unlikelihood", "sft"), _ANY),
}
"""The rows that a method learns from; methods of two forms have no sum."""


class Hyperparameters(Section):
    """What methods have in common by name; each is the method's own default when not given."""

    beta: Annotated[float, Field(gt=0, le=100)] | None = None
    """How strongly the policy is held to the reference, or how steep the loss is. 0.1 for most, 0.3
    for ``dpop``, 2 for ``simpo``, 5 for ``dpo_norm``."""

    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    """Assumed share of preferences that are the wrong way round; 0, and 0.1 for ``robust``."""

    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] | None = None
    """What holds the policy to the reference in place of the reverse KL divergence (f-DPO)."""

    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of ``divergence: alpha``, between reverse (0) and forward KL (1); 0.5."""

    penalty: Weight | None = None
    """``dpop``: how much it costs that a chosen answer becomes less likely; 50."""

    gamma: Annotated[float, Field(ge=0, le=100)] | None = None
    """``simpo``: the margin that is asked for; 1."""

    delta: Annotated[float, Field(ge=0, le=10_000)] | None = None
    """``slic``: the margin that is asked for, in nats; 1."""

    length_normalised: bool | None = None
    """Log-likelihoods as means over tokens: true for ``ipo``, false for ``slic``."""

    desirable_weight: Weight | None = None
    """``kto``, ``bco``: weight of the desirable answers; 1."""

    undesirable_weight: Weight | None = None
    """``kto``, ``bco``: weight of the others; 1."""

    sft_weight: Weight | None = None
    """``cpo``, ``rrhf``, ``slic``: weight of the likelihood of the best answer in the loss; 1."""

    unlikelihood_weight: Weight | None = None
    """``unlikelihood``: weight of the unlikelihood of the other answers; 1."""

    good: Text | None = None
    """``chain_of_hindsight``: what a prompt ends with before a good answer."""

    bad: Text | None = None
    """``chain_of_hindsight``: what a prompt ends with before a bad answer."""

    quantiles: Annotated[int, Field(ge=2, le=100)] | None = None
    """``quark``: groups that answers are cut into by their scores; 5."""

    def given(self) -> dict[str, Any]:
        """The hyper-parameters that are set."""
        names = Hyperparameters.model_fields
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def method_conflicts(self, method: str) -> Iterator[Conflict]:
        """What the method does not take, and what needs another one."""
        takes = TAKES[method]
        listed = ", ".join(repr(name) for name in takes) or "no hyper-parameter"
        for name in self.given():
            if name not in takes:
                yield Conflict(
                    what=f"is nothing that {method} takes",
                    at=(name,),
                    expected=listed,
                    fix="Remove it, or choose another method.",
                )
        if self.alpha is not None and "alpha" in takes and self.divergence != "alpha":
            yield Conflict(
                what="is for 'divergence: alpha'",
                at=("alpha",),
                fix="Set 'divergence: alpha', or remove it.",
            )


class LossSettings(Hyperparameters):
    """One loss of a weighted sum."""

    name: LossName
    """The method."""

    weight: Annotated[float, Field(gt=0, le=1_000)] = 1.0
    """What its loss is multiplied by."""

    def conflicts(self) -> Iterator[Conflict]:
        """Hyper-parameters of its method alone."""
        yield from self.method_conflicts(self.name)
