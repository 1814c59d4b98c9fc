"""The methods of ``align`` and the hyper-parameters that each of them takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag

from regimen.settings.base import Conflict, Section, Text, Texts

LossName = Literal[
    "dpo",
    "odpo",
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

Reward = Literal["reward", "reward_ordinal", "reward_process"]
"""Methods whose result scores answers and gives none."""

MethodName = Literal[LossName, Conditioned, InRounds, Reward]
"""Every name that ``align.method`` takes."""

Weight = Annotated[float, Field(ge=0, le=1_000)]

_SCORED = ("beta", "label_smoothing", "divergence", "alpha")
TAKES: dict[str, tuple[str, ...]] = {
    "dpo": _SCORED,
    "odpo": ("beta", "offset_weight", "offset_scale"),
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
    "reward": (
        *("margin", "center_rewards_coefficient", "dimensions", "dimensions_of"),
        *("ensemble", "held_out"),
    ),
    "reward_ordinal": ("ensemble", "held_out"),
    "reward_process": ("ensemble", "held_out"),
}
"""The hyper-parameters of each method; a test holds them to the fields of its loss."""

REWARDS: tuple[Reward, ...] = ("reward", "reward_ordinal", "reward_process")
"""The methods that train reward models."""

_PAIRS, _LABELLED, _RANKED, _ANY = "pairs", "labelled", "ranked", "any"
FORMS: dict[str, str] = {
    **dict.fromkeys(
        ("dpo", "odpo", "dpo_norm", "dpop", "ipo", "hinge", "robust", "cpo", "simpo", "orpo"),
        _PAIRS,
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

    offset_weight: Annotated[float, Field(gt=0, le=1_000)] | None = None
    """``odpo``: how much a pair's margin counts in its offset; 1."""

    offset_scale: Literal["log", "identity"] | None = None
    """``odpo``: the offset is the natural logarithm of the margin, or the margin; ``log``."""

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

    margin: bool | None = None
    """``reward``: ask for the margins of the data, so that what is much better scores much higher;
    false."""

    center_rewards_coefficient: Annotated[float, Field(ge=0, le=1_000)] | None = None
    """``reward``: weight of the squared sum of a pair's scores, which holds scores around 0; 0, and
    0.01 is usual."""

    dimensions: Annotated[Texts, Field(min_length=1)] | None = None
    """``reward``: what is judged, such as ``[helpful, honest, harmless]``, each with a score of its
    own; one, ``reward``."""

    dimensions_of: Annotated[dict[Text, Texts], Field(min_length=1)] | None = None
    """``reward``: the dimensions that the rows of a source judge, where they do not say so."""

    ensemble: Annotated[int, Field(ge=2, le=100)] | None = None
    """Rewards: members, each a head of its own on the same model with a bootstrap sample of the
    rows; 1."""

    held_out: Annotated[float, Field(ge=0, le=0.9)] | None = None
    """Rewards: share of the prompts that are not learnt from but measured on; 0.1."""

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
        if method in REWARDS:
            yield from self._reward_conflicts()

    def _reward_conflicts(self) -> Iterator[Conflict]:
        """Every dimension once, and those of a source among them."""
        names = self.dimensions or ()
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            yield Conflict(what=f"names {', '.join(twice)} more than once", at=("dimensions",))
        for name in names:
            if "/" in name:
                yield Conflict(
                    what=f"has {name!r}, and a slash stands before the members of an ensemble",
                    at=("dimensions",),
                    fix="Write it without a slash.",
                )
        for source, some in (self.dimensions_of or {}).items():
            unknown = [name for name in some if name not in names]
            if unknown:
                yield Conflict(
                    what=f"names {', '.join(unknown)}, which 'dimensions' does not list",
                    at=("dimensions_of", source),
                    expected=", ".join(names) or "a list of names in 'dimensions'",
                    fix="Add it to 'dimensions', or correct its name.",
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


Losses = Annotated[tuple[LossSettings, ...], Strict(False), Field(min_length=1)]


def _how_written(value: Any) -> str:
    """Which of the two forms of ``method`` a value has; so that only its problems are told."""
    return "sum" if isinstance(value, list | tuple) else "name"


Method = Annotated[
    Annotated[MethodName, Tag("name")] | Annotated[Losses, Tag("sum")],
    Discriminator(_how_written),
]


class MethodSettings(Hyperparameters):
    """What is learnt: one method, or a weighted sum of losses."""

    method: Method
    """The method, or a list of losses."""

    @property
    def losses(self) -> tuple[LossSettings, ...]:
        """What is learnt as a weighted sum: one loss for a method; none for conditioned tuning."""
        if isinstance(self.method, tuple):
            return self.method
        if self.method not in FORMS:
            return ()
        # the fields were checked; a copy would lose the name's type
        return (LossSettings.model_validate({"name": self.method, **self.given()}),)

    @property
    def form(self) -> str:
        """The rows that are learnt from: pairs, labelled, ranked, or any of these."""
        forms = [FORMS[loss.name] for loss in self.losses]
        return next((form for form in forms if form != "any"), "any")

    def loss_conflicts(self) -> Iterator[Conflict]:
        """One method's hyper-parameters, or one form of rows for all losses."""
        if not isinstance(self.method, tuple):
            yield from self.method_conflicts(self.method)
            return
        for name in self.given():
            yield Conflict(
                what="stands beside a list of losses, which have their own",
                at=(name,),
                fix="Move it into the loss that it is for.",
            )
        forms = {FORMS[loss.name]: loss.name for loss in self.method}
        forms.pop("any", None)
        if len(forms) > 1:
            told = " and ".join(f"{name} ({form})" for form, name in sorted(forms.items()))
            yield Conflict(
                what=f"sums losses over different rows: {told}",
                at=("method",),
                fix="Sum losses that learn from the same rows.",
            )
