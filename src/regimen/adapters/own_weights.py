"""Training some of the model's own weights: biases, some layers, layers in turn.

Nothing is put in, so nothing can be taken out again: what is saved is a whole model.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from regimen.adapters.spec import SEED, Spec, Upkeep, needs_modules
from regimen.adapters.targets import matches
from regimen.errors import AdapterError, near
from regimen.models.buffers import kept_now


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWeights(Spec):
    """A method that trains some of the model's own weights."""

    merges: ClassVar[bool] = False
    own: ClassVar[bool] = True

    def config(self, model: Any) -> Any:
        """PEFT has no part in it."""
        raise TypeError(f"{type(self).__name__} is not one of PEFT's methods")

    def chosen(self, model: Any) -> list[str]:
        """Names of the weights that are trained.

        Raises:
            AdapterError: the model has none of them.
        """
        raise TypeError(f"{type(self).__name__} does not say what it trains")


@dataclass(frozen=True, slots=True, kw_only=True)
class BitFit(OwnWeights):
    """All biases, and nothing else (Zaken et al. 2021)."""

    def chosen(self, model: Any) -> list[str]:
        """As ``OwnWeights``."""
        found = [name for name, _ in model.named_parameters() if name.endswith("bias")]
        return needs_modules(found, method="BitFit", what="bias", model=model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze(OwnWeights):
    """The last layers, or weights whose names are given; the others are frozen.

    Args:
        layers: last decoder layers that are trained, with the norm after them.
        modules: ends of names of modules that are trained as well.
        embeddings: train the embedding, and the vocabulary projection.
    """

    takes_rows: ClassVar[bool] = False

    layers: int = 2
    modules: tuple[str, ...] = ()
    embeddings: bool = False

    def chosen(self, model: Any) -> list[str]:
        """As ``OwnWeights``."""
        known = dict(model.named_modules())
        for name in self.modules:
            if not any(matches(module, name) for module in known):
                ends = {module.rpartition(".")[2] for module in known if module}
                raise AdapterError(
                    "A module that is to be trained is not in the model.",
                    slug="adapter-target-missing",
                    got=repr(name),
                    fix=near(name, ends),
                )
        blocks = decoder_layers(model)
        if self.layers > len(blocks):
            raise AdapterError(
                "The model has fewer layers than are to be trained.",
                slug="adapter-layers",
                got=f"layers: {self.layers}, and {len(blocks)} in the model",
                expected=f"at most {len(blocks)}",
            )
        late = {id(p) for block in blocks[len(blocks) - self.layers :] for p in block.parameters()}
        if self.layers:  # and what is in no layer: the norm after them
            inside = {id(p) for block in blocks for p in block.parameters()}
            late |= {id(p) for p in model.parameters()} - inside
        outside = embedding_weights(model)
        wanted = (late - outside) | (outside if self.embeddings else set())
        found = [
            name
            for name, parameter in model.named_parameters()
            if id(parameter) in wanted
            or any(matches(name.rpartition(".")[0], end) for end in self.modules)
        ]
        return needs_modules(found, method="freezing", what="weight that is left", model=model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lisa(OwnWeights):
    """A few layers at a time, drawn anew every so often; embeddings always (Pan et al. 2024).

    Args:
        layers: trained at a time.
        interval: steps between draws.
    """

    layers: int = 2
    interval: int = 20

    def chosen(self, model: Any) -> list[str]:
        """As ``OwnWeights``: all of them, in turn."""
        decoder_layers(model)
        return [name for name, _ in model.named_parameters()]

    def upkeep(self, adapted: Any, steps: int | None) -> Upkeep:
        """As ``Spec``."""
        blocks = decoder_layers(adapted)
        return _Draws(self, list(blocks), int(getattr(adapted, SEED)))


class _Draws(Upkeep):
    """Which layers are trained; a function of seed and step alone."""

    def __init__(self, spec: Lisa, blocks: list[nn.Module], seed: int) -> None:
        self.spec, self.blocks, self.seed = spec, blocks, seed
        self.drawn = -1

    def before(self, step: int) -> None:
        """Draws at the first step of an interval, and when training goes on within one."""
        turn = step // self.spec.interval
        if turn == self.drawn:
            return
        self.drawn = turn
        count = min(self.spec.layers, len(self.blocks))
        buffers = kept_now()
        some = random.Random(f"layers {self.seed} {turn}").sample(range(len(self.blocks)), count)
        for number, block in enumerate(self.blocks):
            block.requires_grad_(number in some)
            if buffers is not None and number not in some:
                buffers.drop(block.parameters())


def decoder_layers(model: Any) -> nn.ModuleList:
    """The decoder layers: the longest list of modules that is in no other.

    Raises:
        AdapterError: there is none.
    """
    lists = {name: it for name, it in model.named_modules() if isinstance(it, nn.ModuleList)}
    outer = [it for name, it in lists.items() if not any(name.startswith(f"{o}.") for o in lists)]
    if not outer:
        raise AdapterError(
            "The model has no list of layers.",
            slug="adapter-refused",
            got=str(model.config.model_type),
            fix="Choose another adapter.kind, for example lora.",
        )
    return max(outer, key=len)


def embedding_weights(model: Any) -> set[int]:
    """The embedding's weights and the vocabulary projection's, by ``id``."""
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    return {id(p) for module in modules if module is not None for p in module.parameters()}
