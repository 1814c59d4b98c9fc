"""A model's decoder layers one after another, over inputs that are kept for one layer at a time.

What a layer takes beside its states (angles, masks) is noted in one pass of the model; from then on
layers run alone, so that beside the model there are the states of the calibration tokens before one
layer, and what is summed over the inputs of that layer.

Shape letters: N windows, B windows of a batch, L tokens of a window, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regimen.errors import ModelError
from regimen.memory.quantisation.seen import Seen
from regimen.models.forward import backbone_of, place_of


class _Enough(Exception):
    """The first layer has been reached; nothing after it has to be computed."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a layer is called with beside its states, and whether these come by name."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    named: bool

    def run(self, layer: nn.Module, states_BLD: Tensor) -> Tensor:
        """The layer's output states."""
        if self.named:
            out = layer(*self.args, hidden_states=states_BLD, **self.kwargs)
        else:
            out = layer(states_BLD, *self.args, **self.kwargs)
        states: Tensor = out[0] if isinstance(out, tuple) else out
        return states


def decoder_layers(network: Any) -> list[tuple[str, nn.Module]]:
    """Names (in the whole model) and modules of the decoder layers.

    Raises:
        ModelError: ``quantise-no-layers`` where the model has no list of them.
    """
    lists = [
        (name, module)
        for name, module in backbone_of(network).named_modules()
        if isinstance(module, nn.ModuleList) and "." not in name
    ]
    names = {id(module): name for name, module in network.named_modules()}
    if not lists:
        raise ModelError(
            "The model has no list of decoder layers to quantise.",
            slug="quantise-no-layers",
            got=type(network).__name__,
            expected="a Hugging Face decoder with its layers in a ModuleList",
        )
    _, layers = max(lists, key=lambda pair: len(pair[1]))
    return [(names[id(layer)], layer) for layer in layers]


def linears_of(layer: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers in a decoder layer by their names there."""
    return {name: module for name, module in layer.named_modules() if type(module) is nn.Linear}


@dataclass(slots=True)
class Stream:
    """The calibration's states before the next layer, batch by batch."""

    layers: Sequence[tuple[str, nn.Module]]
    states: list[Tensor]
    frames: dict[int, list[Frame]]
    """By windows of a batch: of each layer."""

    @staticmethod
    @torch.no_grad()
    def begin(network: Any, windows_NL: Tensor, batch: int) -> Stream:
        """Run the model up to its first layer.

        Args:
            network: in evaluation mode.
            windows_NL: ids of the calibration text.
            batch: windows that go through a layer at once.
        """
        layers = decoder_layers(network)
        states: list[Tensor] = []
        frames: dict[int, list[Frame]] = {}
        place = place_of(network)
        for ids_BL in torch.split(windows_NL.to(place), batch):
            if len(ids_BL) not in frames:
                frames[len(ids_BL)] = _frames(network, layers, ids_BL)
            states.append(_first(network, layers[0][1], ids_BL))
        return Stream(layers, states, frames)

    @torch.no_grad()
    def see(self, number: int, names: Sequence[str], *, gram: bool) -> dict[str, Seen]:
        """What the linear layers of a decoder layer read; those that read nothing are left out.

        Layers that read the same tensor share what is seen.
        """
        layer = self.layers[number][1]
        modules = dict(layer.named_modules())
        found: dict[str, Seen] = {}
        read: list[tuple[Tensor, str]] = []  # in this pass, with the first layer that read it

        def note(name: str) -> Any:
            def hook(module: Any, args: tuple[Any, ...]) -> None:
                first = next((other for x, other in read if x is args[0]), None)
                if first is not None:
                    found[name] = found[first]
                    return
                read.append((args[0], name))
                if name not in found:
                    device = args[0].device
                    found[name] = Seen.of(module.in_features, gram=gram, device=device)
                found[name].add(args[0])

            return hook

        handles = [modules[name].register_forward_pre_hook(note(name)) for name in names]
        try:
            for states in self.states:
                read.clear()
                self.run(number, states)
        finally:
            for handle in handles:
                handle.remove()
        return found

    @torch.no_grad()
    def run(self, number: int, states_BLD: Tensor) -> Tensor:
        """What a layer makes of states."""
        return self.frames[len(states_BLD)][number].run(self.layers[number][1], states_BLD)

    def advance(self, number: int) -> None:
        """Put the states through a layer, as it is now."""
        for place, states in enumerate(self.states):
            self.states[place] = self.run(number, states)


def _named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, Frame]:
    rest = {**kwargs, "use_cache": False} if "use_cache" in kwargs else dict(kwargs)
    if "hidden_states" in rest:
        states: Tensor = rest.pop("hidden_states")
        return states, Frame(args, rest, True)
    return args[0], Frame(args[1:], rest, False)


@contextmanager
def _watching(modules: Sequence[nn.Module], note: Any) -> Iterator[None]:
    handles = [m.register_forward_pre_hook(note, with_kwargs=True) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _frames(network: Any, layers: Sequence[tuple[str, nn.Module]], ids_BL: Tensor) -> list[Frame]:
    found: dict[int, Frame] = {}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found[id(module)] = _named(args, kwargs)[1]

    with _watching([layer for _, layer in layers], note):
        backbone_of(network)(input_ids=ids_BL, use_cache=False)
    return [found[id(layer)] for _, layer in layers]


def _first(network: Any, layer: nn.Module, ids_BL: Tensor) -> Tensor:
    found: list[Tensor] = []

    def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(_named(args, kwargs)[0])
        raise _Enough

    with _watching([layer], note), suppress(_Enough):
        backbone_of(network)(input_ids=ids_BL, use_cache=False)
    return found[0]
