"""Settings of the study ``adapters``: methods, each with a grid of learning rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, Strict

from regimen.settings.adapters import AdapterSettings
from regimen.settings.base import Conflict, Count, CountOrNone, Section, Text
from regimen.settings.build import SourceSettings
from regimen.settings.quantised import Quantise, of_a_base

FULL, LORA = "full", "lora"
"""The methods that the others are compared with; both have to be there."""

Rate = Annotated[float, Field(gt=0, le=10)]

METHODS: Mapping[str, Mapping[str, Any]] = {
    FULL: {"learning_rates": (3e-4, 1e-3, 3e-3)},
    LORA: {"adapter": {"kind": "lora", "r": 14}, "learning_rates": (1e-3, 3e-3, 1e-2)},
    "lora-attention": {
        "adapter": {"kind": "lora", "r": 32, "target_modules": "attention"},
        "learning_rates": (1e-3, 3e-3, 1e-2),
    },
    "dora": {
        "adapter": {"kind": "lora", "r": 13, "use_dora": True},
        "learning_rates": (1e-3, 3e-3, 1e-2),
    },
    "pissa": {
        "adapter": {"kind": "lora", "r": 14, "init": "pissa"},
        "learning_rates": (3e-4, 1e-3, 3e-3),
    },
    "bottleneck": {
        "adapter": {"kind": "bottleneck", "inner": 128},
        "learning_rates": (1e-3, 3e-3, 1e-2, 3e-2),
    },
    "prefix": {
        "adapter": {"kind": "prefix", "num_virtual_tokens": 128},
        "learning_rates": (3e-2, 1e-1, 3e-1, 1.0),
    },
    "lora-nf4": {
        "adapter": {"kind": "lora", "r": 48},
        "quantise": "nf4",
        "learning_rates": (1e-3, 3e-3, 1e-2),
    },
    "last-layer": {
        "adapter": {"kind": "freeze", "layers": 1},
        "learning_rates": (1e-3, 3e-3, 1e-2),
    },
    "ia3": {"adapter": {"kind": "ia3"}, "learning_rates": (1e-1, 3e-1, 1.0)},
}
"""Methods sized for the tiny base: as many trained parameters as LoRA of rank 14 (6%), or as much
memory; (IA)3, which is small by nature, beside them. An alpha of 32 is LoRA's own default."""


def tried_twice(rates: Sequence[float]) -> Iterator[Conflict]:
    """A rate is tried once."""
    twice = [rate for rate in rates if rates.count(rate) > 1]
    if twice:
        yield Conflict(
            what=f"has {twice[0]:g} twice",
            at=("learning_rates",),
            expected="different numbers",
        )


class ArmSettings(Section):
    """One method of the study."""

    adapter: AdapterSettings | None = None
    """What is trained, as in ``tune``; all weights when not given."""

    quantise: Quantise | None = None
    """As in ``tune``."""

    learning_rates: Annotated[tuple[Rate, ...], Strict(False), Field(min_length=1)]
    """Peak learning rates to choose from; the order does not matter."""

    def conflicts(self) -> Iterator[Conflict]:
        """As for ``tune``; a rate is tried once."""
        yield from of_a_base(self.adapter, self.quantise)
        yield from tried_twice(self.learning_rates)


class AdaptersStudy(Section):
    """Methods of adaptation at equal trained parameters and at equal memory."""

    target: SourceSettings
    """The job's tasks; ``build`` and ``tune`` describe the generalist that every method starts
    from."""

    rows: Count = 3000
    """Training rows of the job."""

    few_rows: CountOrNone = 100
    """Training rows with which full tuning and LoRA are compared once more; 0 leaves it out."""

    items: Annotated[int, Field(ge=1, le=100_000)] = 2
    """Rows of each task of the job that are kept for the evaluation; as many again are kept for
    the choice of the learning rate."""

    rate_seeds: Count = 2
    """Seeds on which the learning rate of a method is chosen, beside those of the study: the
    trainings that choose have no part in the results."""

    general_tokens: Count = 150_000
    """Tokens that the generalist trains on; ``study.tokens`` are those of every method."""

    methods: Annotated[dict[Text, ArmSettings], Field(min_length=2)] = Field(
        default_factory=lambda: {
            name: ArmSettings.model_validate(fields) for name, fields in METHODS.items()
        }
    )
    """Methods by name. ``full`` is full tuning and ``lora`` what equal parameters and equal memory
    are measured by; those of the recipe when not given."""

    def conflicts(self) -> Iterator[Conflict]:
        """Full tuning and LoRA are there; nothing else is full tuning."""
        for name, example in ((FULL, "{learning_rates: [3e-4]}"), (LORA, _EXAMPLE)):
            if name not in self.methods:
                yield Conflict(
                    what=f"has no {name!r}, which the others are compared with",
                    at=("methods",),
                    fix=f"Add '{name}: {example}'.",
                )
        for name, arm in self.methods.items():
            if name == FULL and arm.adapter is not None:
                yield Conflict(
                    what="is full tuning, and names an adapter",
                    at=("methods", name, "adapter"),
                    fix="Remove it, or give this method another name.",
                )
            if name != FULL and arm.adapter is None:
                yield Conflict(
                    what=f"names no adapter, and full tuning is called {FULL!r}",
                    at=("methods", name),
                    fix="Add an 'adapter' section, for example {kind: lora}.",
                )
        if self.few_rows and self.few_rows >= self.rows:
            yield Conflict(
                what=f"{self.few_rows} are no fewer than rows, {self.rows}",
                at=("few_rows",),
                expected=f"less than {self.rows}, or 0",
            )


_EXAMPLE = "{adapter: {kind: lora}, learning_rates: [3e-3]}"
