"""Settings of ``compress``: post-training quantisation, and of tuning that knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Strict, Tag

from regimen.settings.base import Conflict, Count, Section, Text, TextSettings

Bits = Annotated[int, Field(ge=2, le=8)]
Size = Annotated[int, Field(ge=1, le=1_000_000)]


class ActivationSettings(Section):
    """Inputs of the linear layers are rounded too, symmetric."""

    bits: Bits = 8
    """Bits of a number."""

    granularity: Literal["tensor", "token", "group"] = "token"
    """What shares a scale: all inputs of a layer, those of a token, a group of those."""

    group_size: Size = 128
    """Inputs of a ``group``."""

    dynamic: bool = True
    """Scales follow the inputs as they come; else they are fixed by the calibration text."""

    def conflicts(self) -> Iterator[Conflict]:
        """A fixed scale is one for all tokens."""
        if not self.dynamic and self.granularity != "tensor":
            yield Conflict(
                what=f"is false, and a scale for each {self.granularity} follows the inputs",
                at=("dynamic",),
                fix="Set granularity: tensor, or remove 'dynamic'.",
            )


class GridSettings(Section):
    """The numbers that weights are rounded to."""

    bits: Bits = 4
    """Bits of a weight; vLLM reads 4 and 8."""

    group_size: Size | Literal["channel", "tensor"] = 128
    """Inputs that share a scale, a whole output channel, or all weights of a layer. Where it does
    not divide a layer's inputs, the largest smaller number that does is taken, and told."""

    symmetric: bool = True
    """The zero is 0; else each group has a zero of its own, which is better at few bits."""

    activations: ActivationSettings | None = None
    """Round the inputs of the layers too; they stay as they are when not given."""


class RtnSettings(GridSettings):
    """Round each weight to the nearest number."""

    kind: Literal["rtn"]
    """The method."""

    name: Text | None = None
    """Name of its folder; method and bits when not given."""


class GptqSettings(GridSettings):
    """GPTQ: columns are rounded in turn, and those left make up for the loss."""

    kind: Literal["gptq"]
    """The method."""

    name: Text | None = None
    """Name of its folder; method and bits when not given."""

    act_order: bool = False
    """Columns of large inputs first."""

    damping: Annotated[float, Field(ge=0, le=10)] = 0.01
    """What is added to the diagonal of the inputs' second moments, as a share of its mean."""


class AwqSettings(GridSettings):
    """AWQ: channels of large inputs get larger weights, by a search."""

    kind: Literal["awq"]
    """The method."""

    name: Text | None = None
    """Name of its folder; method and bits when not given."""

    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    """Exponents that are tried, from 0 up to 1."""


class SmoothQuantSettings(GridSettings):
    """SmoothQuant: what is large moves from the inputs into the weights; both are rounded."""

    kind: Literal["smoothquant"]
    """The method."""

    name: Text | None = None
    """Name of its folder; method and bits when not given."""

    bits: Bits = 8
    """Bits of a weight."""

    group_size: Size | Literal["channel", "tensor"] = "channel"
    """As in the other methods."""

    activations: ActivationSettings | None = ActivationSettings()
    """How the inputs are rounded; null leaves them as they are."""

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How much of the inputs' size moves into the weights."""


class UnknownQuantizer(Section):
    """A section whose ``kind`` is none of the methods: only that is told."""

    kind: Literal["rtn", "gptq", "awq", "smoothquant"]
    """The method."""


KINDS: tuple[str, ...] = get_args(UnknownQuantizer.model_fields["kind"].annotation)


def _kind(value: Any) -> str:
    """Which section a value is."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if kind in KINDS else "unknown"


QuantizerSettings = RtnSettings | GptqSettings | AwqSettings | SmoothQuantSettings
"""The section of a method."""

AnyQuantizer = Annotated[
    Annotated[RtnSettings, Tag("rtn")]
    | Annotated[GptqSettings, Tag("gptq")]
    | Annotated[AwqSettings, Tag("awq")]
    | Annotated[SmoothQuantSettings, Tag("smoothquant")]
    | Annotated[UnknownQuantizer, Tag("unknown")],
    Discriminator(_kind),
]


class CalibrationSettings(Section):
    """The text whose inputs to the layers are looked at."""

    text: TextSettings | None = None
    """Plain text; the rows of the last tuning when not given."""

    sequences: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Windows of text."""

    length: Annotated[int, Field(ge=8, le=1_000_000)] = 512
    """Tokens of a window; no more than the model's context."""

    batch_size: Annotated[int, Field(ge=1, le=100_000)] = 8
    """Windows that go through a layer at once."""


class CompressSettings(Section):
    """Round the weights of the finished model, for use and export, by one method or several."""

    model: Text | None = None
    """Directory of a model; what the training ended with when not given."""

    methods: Annotated[tuple[AnyQuantizer, ...], Strict(False), Field(min_length=1)]
    """The methods; each gives a folder."""

    calibration: CalibrationSettings = CalibrationSettings()
    """The text that the methods look at."""

    held_out: TextSettings | None = None
    """Text on which the divergence from the full model and bits per byte are measured; neither is
    when not given."""

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type on disk of scales and of what is not rounded."""

    dense: bool = False
    """Write the rounded weights in ``dtype`` as well, for comparison and for tools that read
    nothing else; the inputs of layers are not rounded there."""

    max_length: Count | None = None
    """Tokens of held-out text that the model reads at once; its context when not given."""

    @property
    def names(self) -> tuple[str, ...]:
        """The folders of the methods."""
        return tuple(one.name or f"{one.kind}-{one.bits}" for one in self.chosen)

    @property
    def chosen(self) -> tuple[QuantizerSettings, ...]:
        """The methods, each known."""
        return tuple(one for one in self.methods if not isinstance(one, UnknownQuantizer))

    def conflicts(self) -> Iterator[Conflict]:
        """Folders have names of their own; another model has other ids than the rows."""
        for number, name in enumerate(self.names):
            if name in self.names[:number]:
                yield Conflict(
                    what=f"is the second of the name {name!r}",
                    at=("methods", number),
                    fix="Give it a 'name' of its own.",
                )
            if "/" in name or name.startswith(".") or name == "full":
                yield Conflict(
                    what=f"is called {name!r}, which is no name of a folder",
                    at=("methods", number, "name"),
                )
        if self.model is not None and self.calibration.text is None:
            yield Conflict(
                what="names a model, and there are no rows of a tuning to calibrate on",
                at=("model",),
                fix="Add calibration.text.",
            )


class AwareSettings(GridSettings):
    """Tune through weights as they will be rounded, with straight-through gradients."""


def of_aware(aware: Any, *, adapter: bool, quantised: bool) -> Iterator[Conflict]:
    """What quantisation-aware tuning demands of a training."""
    if aware is None:
        return
    if adapter or quantised:
        yield Conflict(
            what="rounds the weights that are trained, and the base is frozen here",
            at=("quantisation_aware",),
            fix="Remove 'adapter' and 'quantise', or remove 'quantisation_aware' and quantise "
            "after the tuning with a 'compress' section.",
        )
    if aware.activations is not None and not aware.activations.dynamic:
        yield Conflict(
            what="is false, and no calibration fixes the scales while the weights change",
            at=("quantisation_aware", "activations", "dynamic"),
            fix="Remove it.",
        )
