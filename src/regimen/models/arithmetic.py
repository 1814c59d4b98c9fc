"""How much arithmetic a batch takes: the matrix products that a step needs, none of them twice.

A product of (M, K) with (K, N) is 2 M K N floating-point operations (FLOP). The backward pass of a
layer takes as much again for the gradient of its input and as much for that of its weight, where
these are needed (Kaplan et al. 2020, section 2.1); what is computed again to save memory is not
counted (Chowdhery et al. 2022, *PaLM*, appendix B). Where these count every token everywhere, here
the vocabulary projection counts the supervised rows alone, and the last gated network the rows that
somebody reads: no others are computed. Norms, activations and the softmax are not counted.

Shape letters: T tokens, N supervised rows, D width, V vocabulary, E experts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from regimen.models.chunks import chunk_rows
from regimen.models.forward import LanguageModel, backbone_of, base_of
from regimen.models.fused import FEW, GatedMlp
from regimen.models.parts import ATTENTION, HEAD, REST, parts_below
from regimen.models.recompute import forgets_rows
from regimen.tokens.ragged import Plan, RaggedBatch, Segment, ragged_batch

KINDS = ("forward", "input gradient", "weight gradient")
Product = tuple[str, int, int, int]
"""A kind, and rows, inputs and outputs of a layer: what has a speed of its own."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer: (rows, inputs) to (rows, outputs).

    ``share`` of the tokens go through it (below 1 for an expert); ``last`` says that only the rows
    that are read may do.
    """

    part: str
    inputs: int
    outputs: int
    grad_input: bool
    grad_weight: bool
    share: float = 1.0
    last: bool = False

    def products(self, rows: int) -> Iterator[Product]:
        """The products of the two passes."""
        wanted = (True, self.grad_input, self.grad_weight)
        for kind, needed in zip(KINDS, wanted, strict=True):
            if needed and rows:
                yield kind, rows, self.inputs, self.outputs


@dataclass(frozen=True, slots=True)
class Flop:
    """Floating-point operations of a part in the two passes."""

    forward: float = 0.0
    backward: float = 0.0

    @property
    def total(self) -> float:
        """Of both."""
        return self.forward + self.backward

    def __add__(self, other: Flop) -> Flop:
        return Flop(self.forward + other.forward, self.backward + other.backward)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a model computes for a batch.

    ``windows`` has one entry for each attention layer: the positions that a query sees, or None for
    all before it. ``heads`` and ``head_width`` are those of the queries.
    """

    layers: tuple[Layer, ...]
    head: Layer
    windows: tuple[int | None, ...]
    heads: int
    head_width: int
    reads_few: bool

    def flop(self, batch: RaggedBatch) -> dict[str, Flop]:
        """Floating-point operations of a batch, by part."""
        found: dict[str, Flop] = {}
        for layer, count in Counter((*self.layers, self.head)).items():
            rows = self._rows(layer, batch) * layer.share * count
            once = 2.0 * rows * layer.inputs * layer.outputs
            flop = Flop(once, once * (layer.grad_input + layer.grad_weight))
            found[layer.part] = found.get(layer.part, Flop()) + flop
        mixed = 4.0 * self.heads * self.head_width * sum(pairs(batch.plan, w) for w in self.windows)
        found[ATTENTION] = found.get(ATTENTION, Flop()) + Flop(mixed, 2 * mixed)
        return found

    def products(self, batch: RaggedBatch, dtype: torch.dtype = torch.float32) -> Counter[Product]:
        """How often each product of a linear layer is formed; the head's are a chunk's."""
        found: Counter[Product] = Counter()
        for layer, count in Counter(self.layers).items():
            rows = max(1, round(self._rows(layer, batch) * layer.share))
            for product in layer.products(rows):
                found[product] += count
        supervised = len(batch.target_N)
        pieces = max(1, -(-supervised // chunk_rows(self.head.outputs, dtype.itemsize)))
        for product in self.head.products(-(-supervised // pieces)):
            found[product] += pieces
        return found

    def _rows(self, layer: Layer, batch: RaggedBatch) -> int:
        if layer is self.head:
            return len(batch.target_N)
        if layer.last and self.reads_few:
            read = len(torch.unique(batch.source_row_N))
            return read if read <= FEW * batch.num_tokens else batch.num_tokens
        return batch.num_tokens


def flop_of(product: Product) -> float:
    """Floating-point operations of a product."""
    _, rows, inputs, outputs = product
    return 2.0 * rows * inputs * outputs


def pairs(plan: Plan, window: int | None) -> int:
    """Pairs of a query and a key that it sees, over the segments of a batch."""
    total = 0
    for segment, length in enumerate(plan.lengths):
        end = sum(plan.lengths[s] for s in plan.path(segment))
        seen = np.arange(end - length, end) + 1
        total += int(seen.sum() if window is None else np.minimum(seen, window).sum())
    return total


def arithmetic(model: LanguageModel) -> Arithmetic:
    """What a model computes; one forward pass of three tokens shows where gradients flow."""
    base, backbone = base_of(model.model), backbone_of(model.model)
    config = base.config.get_text_config()
    parts = list(parts_below(backbone))
    owners = {id(m): (part, top) for part, _, top in parts for m in top.modules()}
    flows = _flows(model, backbone)
    layers = []
    for name, module in backbone.named_modules():
        part, top = owners.get(id(module), (REST, None))
        last = isinstance(top, GatedMlp) and top.last
        for inputs, outputs, share, weight in _weights(name, module, config):
            flow = flows.get(id(module), True)
            layers.append(Layer(part, inputs, outputs, flow, weight, share, last))
    head = model.head()
    vocabulary, width = head.weight_VD.shape
    heads = int(getattr(config, "num_attention_heads", None) or 1)
    return Arithmetic(
        layers=tuple(layers),
        head=Layer(HEAD, width, vocabulary, True, head.weight_VD.requires_grad),
        windows=_windows(config, sum(part == ATTENTION for part, _, _ in parts)),
        heads=heads,
        head_width=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
        reads_few=model.ragged and not forgets_rows(backbone),
    )


def _weights(name: str, module: Any, config: Any) -> Iterator[tuple[int, int, float, bool]]:
    """Inputs, outputs, share of the tokens and whether the weight is trained, of each matrix."""
    used = float(getattr(config, "num_experts_per_tok", None) or 1)
    weight = module._parameters.get("weight")
    if weight is not None and not isinstance(module, torch.nn.Embedding):
        sizes = (getattr(module, "in_features", None), getattr(module, "out_features", None))
        if None in sizes and weight.ndim == 2 and type(module).__name__ == "Conv1D":
            sizes = tuple(weight.shape)  # transformers' Conv1D is a linear layer, transposed
        if None not in sizes:
            many = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", 0)
            share = used / many if many and "experts" in name.split(".") else 1.0
            yield int(sizes[0]), int(sizes[1]), share, weight.requires_grad  # type: ignore[arg-type]
    if "expert" in type(module).__name__.lower():
        for stacked in module._parameters.values():
            if stacked is not None and stacked.ndim == 3:
                _, inputs, outputs = stacked.shape
                yield inputs, outputs, used, stacked.requires_grad


def _flows(model: LanguageModel, backbone: Any) -> dict[int, bool]:
    """Whether a gradient flows into the input of each module, by the module's ``id``."""
    found: dict[int, bool] = {}

    def note(module: Any, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], torch.Tensor):
            found[id(module)] = args[0].requires_grad

    leaves = [m for m in backbone.modules() if m._parameters.get("weight") is not None]
    handles = [m.register_forward_pre_hook(note) for m in leaves]
    device = next(model.model.parameters()).device
    with torch.enable_grad():
        model.hidden(ragged_batch([Segment([0, 0, 0], [0.0, 0.0, 0.0])]).to(device))
    for handle in handles:
        handle.remove()
    return found


def _windows(config: Any, layers: int) -> tuple[int | None, ...]:
    """The window of each attention layer, as the config tells it."""
    size = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        size = None
    kinds: Mapping[int, str] = dict(enumerate(getattr(config, "layer_types", None) or ()))
    return tuple(
        size if kinds.get(layer, "sliding_attention") == "sliding_attention" else None
        for layer in range(layers)
    )
