"""Methods of parameter-efficient adaptation: one section for each, chosen by its ``kind``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Strict, Tag

from regimen.settings.base import Conflict, Count, CountOrNone, Section, Text, Texts

Rank = Annotated[int, Field(ge=1, le=4096)]
Scale = Annotated[float, Field(gt=0, le=100_000)]
WholeScale = Annotated[int, Field(ge=1, le=100_000)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Open = Annotated[float, Field(gt=0, lt=1)]
Targets = Literal["all-linear", "attention", "mlp"] | Texts


class LoraSettings(Section):
    """LoRA: two small matrices beside each weight, whose product is added to it."""

    kind: Literal["lora"] = "lora"
    """The method."""

    r: Rank = 16
    """Rank of the update."""

    alpha: Scale = 32.0
    """The update is scaled by alpha / r."""

    dropout: Dropout = 0.0
    """Dropout before the adapter."""

    target_modules: Targets = "all-linear"
    """Modules that get an adapter: all linear ones, those of attention, those of the feed-forward
    networks, or ends of their names; a name that matches none is an error."""

    use_rslora: bool = False
    """Scale by alpha / sqrt(r) instead."""

    use_dora: bool = False
    """Train the magnitude of each weight vector apart (DoRA)."""

    init: Literal["random", "pissa", "olora", "orthogonal"] = "random"
    """Where the two matrices begin: ``pissa`` and ``olora`` at the weight's own largest parts,
    which are taken out of the base while it is trained."""

    learning_rate_ratio: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Learning rate of the second matrix over that of the first (LoRA+); 16 is usual."""

    def conflicts(self) -> Iterator[Conflict]:
        """DoRA's magnitudes are those of the base, which these initialisations change."""
        if self.use_dora and self.init in ("pissa", "olora"):
            yield Conflict(
                what="takes a part out of the weights whose magnitude use_dora trains",
                at=("init",),
                fix="Leave one of 'init' and 'use_dora' out.",
            )


class AdaLoraSettings(Section):
    """AdaLoRA: ranks move to the layers where they matter. Needs to know the number of steps."""

    kind: Literal["adalora"]
    """The method."""

    r: Rank = 8
    """Rank of a layer, on average, at the end."""

    initial_r: Rank = 12
    """Rank of every layer at the beginning."""

    alpha: Scale = 32.0
    """The update is scaled by alpha over the rank."""

    dropout: Dropout = 0.0
    """Dropout before the adapter."""

    warmup_share: Dropout = 0.1
    """Share of the steps before ranks begin to fall."""

    final_share: Dropout = 0.3
    """Share of the steps in which ranks stay what they are."""

    every: Count = 1
    """Steps between two allocations of ranks."""

    beta1: Open = 0.85
    """Of the moving mean of sensitivity."""

    beta2: Open = 0.85
    """Of the moving mean of uncertainty."""

    orthogonality: Annotated[float, Field(ge=0, le=1000)] = 0.5
    """Weight of the penalty that keeps the matrices orthogonal."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""

    def conflicts(self) -> Iterator[Conflict]:
        """Ranks fall, and in some steps."""
        if self.initial_r <= self.r:
            yield Conflict(
                what=f"has to be larger than r, {self.r}: ranks fall",
                at=("initial_r",),
                expected=f"a whole number of at least {self.r + 1}",
            )
        if self.warmup_share + self.final_share >= 1:
            yield Conflict(
                what="leaves, with warmup_share, no step in which ranks fall",
                at=("final_share",),
                expected="less than 1 together",
            )


class VeraSettings(Section):
    """VeRA: random matrices that all layers share, and two trained vectors for each."""

    kind: Literal["vera"]
    """The method."""

    r: Rank = 256
    """Rank of the shared matrices."""

    dropout: Dropout = 0.0
    """Dropout before the adapter."""

    d_initial: Open = 0.1
    """First value of the vector between the matrices."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


class LohaSettings(Section):
    """LoHa: the update is an entrywise product of two products of small matrices."""

    kind: Literal["loha"]
    """The method."""

    r: Rank = 8
    """Rank of each of the two."""

    alpha: WholeScale = 8
    """The update is scaled by alpha / r."""

    dropout: Dropout = 0.0
    """Share of the ranks that is left out at random."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


class LokrSettings(Section):
    """LoKr: the update is a Kronecker product of two small matrices."""

    kind: Literal["lokr"]
    """The method."""

    r: Rank = 8
    """Rank of the larger of the two."""

    alpha: WholeScale = 8
    """The update is scaled by alpha / r."""

    dropout: Dropout = 0.0
    """Share of the ranks that is left out at random."""

    decompose_factor: Annotated[int, Field(ge=-1, le=100_000)] = -1
    """Size of the smaller matrix; about the root of the weight's when -1."""

    decompose_both: bool = False
    """The smaller matrix is a product of rank r too."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


class OftSettings(Section):
    """OFT: weights are turned by orthogonal blocks."""

    kind: Literal["oft"]
    """The method."""

    block_size: Annotated[int, Field(ge=2, le=4096)] = 32
    """Side of a block; has to divide the inputs of every layer."""

    block_share: bool = False
    """One block for all places of a layer."""

    coft: bool = False
    """Keep the rotation near the identity."""

    eps: Open = 6e-5
    """How near, with ``coft``."""

    dropout: Dropout = 0.0
    """Share of the blocks that is left out at random."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


class BoftSettings(Section):
    """BOFT: weights are turned by a butterfly of orthogonal blocks."""

    kind: Literal["boft"]
    """The method."""

    block_size: Annotated[int, Field(ge=2, le=4096)] = 4
    """Side of a block; has to divide the inputs of every layer."""

    butterfly_factor: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of sparse rotations, one after another."""

    dropout: Dropout = 0.0
    """Share of the blocks that is left out at random."""

    target_modules: Targets = "all-linear"
    """As for LoRA."""


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
