"""Quantised frozen bases, and which methods can be trained on which of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from regimen.settings.adapters import OF_THE_BASE
from regimen.settings.base import Conflict, Section

Kind = Literal["nf4", "fp4", "int8", "int8_torchao", "int4_torchao"]
"""The kinds of ``memory.bases``."""

KINDS: tuple[str, ...] = get_args(Kind)
FOUR_BITS = ("nf4", "fp4")
"""Kinds that bitsandbytes packs, two weights in a byte."""


class QuantiseSettings(Section):
    """A quantised base with options; its name alone stands for the defaults."""

    kind: Kind
    """What the weights are kept in."""

    double_quant: bool = True
    """The scales are quantised too: 4.1 bits a weight instead of 4.5; for nf4 and fp4."""

    def conflicts(self) -> Iterator[Conflict]:
        """Only packed kinds have scales to quantise."""
        if "double_quant" in self.model_fields_set and self.kind not in FOUR_BITS:
            yield Conflict(
                what=f"is for {' and '.join(FOUR_BITS)}, and the kind is {self.kind}",
                at=("double_quant",),
                fix="Remove it.",
            )


Quantise = Kind | QuantiseSettings
"""A kind's name, or a section with options."""

OWN = "trains weights of the base, which 'quantise' keeps in few bits"
PACKED = "reads the shape of the weight, which bitsandbytes packs in 4 bits"

REFUSED: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    **dict.fromkeys(OF_THE_BASE, (KINDS, OWN, "")),
    "loha": (FOUR_BITS, PACKED, "int8"),
    "lokr": (FOUR_BITS, PACKED, "int8"),
}
"""Kinds of adapters: the bases that they cannot be trained on, why, and the nearest that they can;
every other pair works."""


def base_kind(quantise: Any) -> str | None:
    """The kind that a ``Quantise`` names."""
    return quantise if quantise is None or isinstance(quantise, str) else str(quantise.kind)


def of_a_base(adapter: Any, quantise: Any) -> Iterator[Conflict]:
    """What an adapter, or None, and its base demand of each other; conflicts of the training."""
    base = base_kind(quantise)
    if adapter is None:
        if base is not None:
            yield Conflict(
                what="needs an adapter: weights in few bits cannot be trained",
                at=("quantise",),
                fix="Add an 'adapter' section, for example {kind: lora}.",
            )
        return
    init = getattr(adapter, "init", "")
    if init == "loftq" and base is None:
        yield Conflict(
            what="begins at what quantisation lost, and nothing is quantised",
            at=("adapter", "init"),
            fix="Set 'quantise: nf4', or remove 'init'.",
        )
    if base is None:
        return
    bases, why, nearest = REFUSED.get(adapter.kind, ((), "", ""))
    if base in bases:
        other = f"Set 'quantise: {nearest}'" if nearest else "Remove 'quantise'"
        yield Conflict(
            what=why,
            at=("adapter", "kind"),
            fix=f"{other}, or choose another kind, for example lora.",
        )
    if init in ("pissa", "olora"):
        yield Conflict(
            what="takes a part out of the base's weights, which 'quantise' keeps in few bits",
            at=("adapter", "init"),
            fix="Remove 'quantise', or 'init'.",
        )
