"""Hyper-parameters of optimizers, and what each optimizer demands of the rest of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, Strict

from regimen.settings.base import Conflict, Count, Section

OptimizerName = Literal[
    "adamw",
    "adamw_8bit",
    "adamw_paged",
    "adamw_8bit_paged",
    "adamw_8bit_torchao",
    "adamw_4bit_torchao",
    "adafactor",
    "lion",
    "muon",
    "galore",
    "apollo",
    "apollo_mini",
    "lomo",
    "adalomo",
    "badam",
    "sgd",
]
"""The optimizers; a test holds them against the table that training has."""

_ADAM = ("betas", "eps")
_FACTORED = ("beta2_decay", "clip_threshold")

TAKES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **{name: _ADAM for name in get_args(OptimizerName) if name.startswith("adamw")},
        "adafactor": _FACTORED,
        "lion": ("betas",),
        "muon": ("momentum", *_ADAM),
        "galore": (*_ADAM, "rank", "update_gap", "scale"),
        "apollo": (*_ADAM, "rank", "update_gap", "scale"),
        "apollo_mini": (*_ADAM, "update_gap", "scale"),
        "lomo": (),
        "adalomo": _FACTORED,
        "badam": (*_ADAM, "block_steps"),
        "sgd": ("momentum",),
    }
)
"""Which hyper-parameters an optimizer has."""

FUSED = ("lomo", "adalomo")
"""Optimizers that step inside the backward pass."""

TURNS = ("badam",)
"""Optimizers that train parameters in turns."""

Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSettings(Section):
    """Hyper-parameters of the optimizer; what is not given is as usual for it."""

    betas: Annotated[tuple[Decay, Decay], Strict(False)] | None = None
    """Rates of the first and second moment of Adam; of the step and the momentum of ``lion``."""

    eps: Annotated[float, Field(gt=0, le=1)] | None = None
    """Added to the root of Adam's second moment."""

    momentum: Decay | None = None
    """Share of the momentum that stays from step to step, of ``muon`` and ``sgd``."""

    beta2_decay: Annotated[float, Field(ge=-10, lt=0)] | None = None
    """Exponent d of ``adafactor`` and ``adalomo``: the second moment moves by t**d in step t."""

    clip_threshold: Annotated[float, Field(gt=0, le=1_000)] | None = None
    """Largest root mean square of an update of ``adafactor`` and ``adalomo``."""

    rank: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Dimensions that ``galore`` and ``apollo`` keep their moments in."""

    update_gap: Count | None = None
    """Steps after which ``galore`` and ``apollo`` change what they project onto."""

    scale: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Factor of the updates of matrices of ``galore`` and ``apollo``."""

    block_steps: Count | None = None
    """Steps after which ``badam`` trains the next layer."""

    def chosen(self) -> dict[str, Any]:
        """The hyper-parameters that are given."""
        return {name: value for name, value in self if value is not None}


def of_an_optimizer(
    name: str, chosen: OptimizerSettings | None, *, accumulation: int, adapter: str | None
) -> Iterator[Conflict]:
    """What an optimizer demands of its hyper-parameters, the micro-batches and the adapter."""
    takes = TAKES[name]
    for given in () if chosen is None else chosen.chosen():
        if given not in takes:
            others = [other for other, has in TAKES.items() if given in has]
            yield Conflict(
                what=f"is nothing that {name} has",
                at=("optimizer_settings", given),
                expected=f"some of {', '.join(takes)}" if takes else "none: it has none",
                fix=f"Remove it, or set 'optimizer' to one of {', '.join(others)}.",
            )
    if name in FUSED and accumulation > 1:
        yield Conflict(
            what=f"is {accumulation}, and {name} steps inside the backward pass of each "
            "micro-batch",
            at=("gradient_accumulation_steps",),
            expected="1",
            fix="Remove it and raise 'tokens_per_batch', or set 'optimizer' to adafactor, which "
            "keeps as little between steps.",
        )
    if (name in FUSED + TURNS and adapter == "adalora") or (name in TURNS and adapter == "lisa"):
        why = (
            "trains layers in turns itself"
            if adapter == "lisa"
            else "reads the gradients of all its weights after each step"
        )
        yield Conflict(
            what=f"is {name}, and the adapter {adapter} {why}",
            at=("optimizer",),
            fix="Set it to adamw, adamw_8bit or adafactor, or choose the adapter lora.",
        )
