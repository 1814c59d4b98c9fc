"""Methods of parameter-efficient adaptation: one section for each, chosen by its ``kind``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Strict, Tag

from regimen.settings.base import Conflict, Count, CountOrNone, Section, Text, Texts
from regimen.settings.low_rank import (
    AdaLoraSettings,
    BoftSettings,
    Dropout,
    LohaSettings,
    LokrSettings,
    LoraSettings,
    OftSettings,
    Rank,
    Scale,
    VeraSettings,
)


class Ia3Settings(Section):
    """(IA)3: keys, values and inner activations are scaled by trained vectors."""

    kind: Literal["ia3"]
    """The method."""

    target_modules: Texts | None = None
    """Layers whose output is scaled; those of keys and values when not given."""

    feedforward_modules: Texts | None = None
    """Layers whose input is scaled; those that lead back from the inner width of the feed-forward
    networks when not given."""


Positions = Annotated[int, Field(ge=1, le=100_000)]


class PromptSettings(Section):
    """Prompt tuning: embeddings that stand before every row are trained."""

    kind: Literal["prompt"]
    """The method."""

    num_virtual_tokens: Positions = 20
    """How many."""

    init: Literal["vocabulary", "random", "text"] = "vocabulary"
    """Where they begin: at random tokens, at random numbers, or at the tokens of ``text``."""

    text: Text | None = None
    """Text whose embeddings they begin with, repeated or cut."""

    tokenizer: Text | None = None
    """Directory of the tokenizer of ``text``; the model's when not given."""

    def conflicts(self) -> Iterator[Conflict]:
        """A text where one is used, and only there."""
        if (self.init == "text") != (self.text is not None):
            words = "is missing" if self.text is None else "is not used"
            yield Conflict(
                what=f"{words}: init is {self.init!r}",
                at=("text",),
                fix="Set both 'init: text' and 'text', or none of them.",
            )


class PTuningSettings(Section):
    """P-tuning: embeddings before every row that a small network makes, which is trained."""

    kind: Literal["p_tuning"]
    """The method."""

    num_virtual_tokens: Positions = 20
    """How many."""

    encoder: Literal["mlp", "lstm"] = "mlp"
    """The network."""

    hidden_size: Count | None = None
    """Its width; the model's when not given."""

    layers: Annotated[int, Field(ge=1, le=64)] = 2
    """Its layers."""

    dropout: Dropout = 0.0
    """Dropout in it."""


class PrefixSettings(Section):
    """Prefix tuning: keys and values before every row, in every layer, are trained."""

    kind: Literal["prefix"]
    """The method."""

    num_virtual_tokens: Positions = 20
    """How many."""

    init: Literal["random", "zero"] = "random"
    """Where they begin."""

    projection: bool = False
    """A small network makes them, which is trained."""

    hidden_size: Count | None = None
    """Its width; the model's when not given."""


class BottleneckSettings(Section):
    """Bottleneck adapters: small networks between the parts of a layer."""

    kind: Literal["bottleneck"]
    """The method."""

    placement: Literal["houlsby", "pfeiffer", "parallel"] = "pfeiffer"
    """After attention and the feed-forward network, after the latter alone, or beside it."""

    inner: Rank = 64
    """Units of the network."""

    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Its activation."""

    scale: Scale = 1.0
    """Of what it adds."""


class LayerNormSettings(Section):
    """The scales and biases of norms are trained, and nothing else."""

    kind: Literal["layernorm"]
    """The method."""

    target_modules: Texts | None = None
    """Ends of names of norms; all norms when not given."""


class BitFitSettings(Section):
    """BitFit: the model's biases are trained, and nothing else. A whole model is saved."""

    kind: Literal["bitfit"]
    """The method."""


class FreezeSettings(Section):
    """The last layers are trained, and the others frozen. A whole model is saved."""

    kind: Literal["freeze"]
    """The method."""

    layers: CountOrNone = 2
    """Last layers that are trained, with the norm after them."""

    modules: Texts = ()
    """Ends of names of modules that are trained as well."""

    embeddings: bool = False
    """Train the embedding and the vocabulary projection."""


class LisaSettings(Section):
    """LISA: a few layers at a time are trained, drawn anew every so often. A whole model is
    saved."""

    kind: Literal["lisa"]
    """The method."""

    layers: Count = 2
    """Layers at a time; embeddings are always trained."""

    interval: Count = 20
    """Steps between draws."""


class TokenSettings(Section):
    """Rows of the embedding are trained: those of new tokens, and of some others."""

    kind: Literal["tokens"]
    """The method."""

    tokens: Annotated[tuple[Text, ...], Strict(False)] = ()
    """Tokens, as the tokenizer writes them, whose rows are trained beside those of new ones."""


class UnknownAdapter(Section):
    """A section whose ``kind`` is none of the methods: only that is told."""

    kind: Literal[
        "lora", "adalora", "vera", "loha", "lokr", "oft", "boft", "ia3", "prompt", "p_tuning",
        "prefix", "bottleneck", "layernorm", "bitfit", "freeze", "lisa", "tokens",
    ]  # fmt: skip
    """The method."""


KINDS: tuple[str, ...] = get_args(UnknownAdapter.model_fields["kind"].annotation)


def _kind(value: Any) -> str:
    """Which section a value is; LoRA where none is named."""
    kind = value.get("kind", "lora") if isinstance(value, dict) else getattr(value, "kind", "lora")
    return kind if kind in KINDS else "unknown"


AdapterSettings = Annotated[
    Annotated[LoraSettings, Tag("lora")]
    | Annotated[AdaLoraSettings, Tag("adalora")]
    | Annotated[VeraSettings, Tag("vera")]
    | Annotated[LohaSettings, Tag("loha")]
    | Annotated[LokrSettings, Tag("lokr")]
    | Annotated[OftSettings, Tag("oft")]
    | Annotated[BoftSettings, Tag("boft")]
    | Annotated[Ia3Settings, Tag("ia3")]
    | Annotated[PromptSettings, Tag("prompt")]
    | Annotated[PTuningSettings, Tag("p_tuning")]
    | Annotated[PrefixSettings, Tag("prefix")]
    | Annotated[BottleneckSettings, Tag("bottleneck")]
    | Annotated[LayerNormSettings, Tag("layernorm")]
    | Annotated[BitFitSettings, Tag("bitfit")]
    | Annotated[FreezeSettings, Tag("freeze")]
    | Annotated[LisaSettings, Tag("lisa")]
    | Annotated[TokenSettings, Tag("tokens")]
    | Annotated[UnknownAdapter, Tag("unknown")],
    Discriminator(_kind),
]
"""The section of a method."""

OF_THE_BASE = ("bitfit", "freeze", "lisa")
"""Kinds that train weights of the base."""
