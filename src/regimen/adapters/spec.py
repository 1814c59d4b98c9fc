"""What every method of parameter-efficient adaptation says about itself."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from regimen.errors import AdapterError

TRAINABLE_TOKENS = "trainable_tokens"
"""A part of the name of the weights of new tokens' rows."""

ATTACHED = "adapter_spec"
"""The attribute of an adapted model that holds its ``Spec``."""

HASHES = "adapter_base_hashes"
"""The attribute with what tells its base from others."""

SEED = "adapter_seed"
"""The attribute with the seed that it was put in with."""


HARMLESS = (
    "fan_in_fan_out is set to",  # PEFT then does what is right for the layer
    "Unsupported layer type",  # layernorm tuning takes any norm with weights
    "Failed to load the CUDA extension",  # BOFT then runs without it, and with one factor,
    "Setting boft_n_butterfly_factor to 1",  # which is checked before
    "lora with eva initialization used with",  # that could save memory, where one has little
    ".*tensor\\(s\\) have invalid shape",  # AdaLoRA leaves some layers without a rank,
    "The following rank_pattern keys did not match",  # and PEFT reads its own names back so
    "Model has .tie_word_embeddings=True. and a tied layer",  # rows of tokens are tied by PEFT
)
"""Warnings of PEFT about what is as it should be."""


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, PEFT does not warn of what is as it should be."""
    with warnings.catch_warnings():
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        yield


def write(adapted: Any, directory: Path, **more: Any) -> None:
    """Write PEFT's files, without the embedding: rows of new tokens are part of the adapter."""
    adapted.save_pretrained(directory, save_embedding_layers=False, **more)


class Upkeep:
    """What a method does around the optimizer's steps; by itself, nothing.

    ``state`` is what a checkpoint has to keep beside the weights.
    """

    def before(self, step: int) -> None:
        """Before step ``step``, counted from 0."""

    def penalty(self) -> Tensor | None:
        """What is added to the loss of a step, once."""
        return None

    def after(self, step: int) -> None:
        """After the optimizer stepped, while the gradients are still there."""

    def state(self) -> dict[str, Any]:
        """What it goes on from."""
        return {}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave."""


NO_UPKEEP = Upkeep()
"""For everything that is not an adapter, and for most adapters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec(ABC):
    """Options of a method; a subclass adds fields and says how PEFT is to be configured.

    The class attributes say what the method can do: ``merges`` whether its weights can become part
    of the base's; ``virtual`` whether it puts trained positions before every row; ``takes_rows``
    whether a linear method trains rows of new tokens beside its own weights; ``own`` whether it
    trains weights of the base, and so leaves a whole model; ``part`` a part of the names of its
    weights; ``never_on`` the kinds of quantised bases that it cannot be trained on.
    """

    never_on: ClassVar[tuple[str, ...]] = ()
    merges: ClassVar[bool] = True
    virtual: ClassVar[bool] = False
    takes_rows: ClassVar[bool] = False
    own: ClassVar[bool] = False
    part: ClassVar[str] = "lora_"

    @abstractmethod
    def config(self, model: Any) -> Any:
        """PEFT's configuration for a model.

        Raises:
            AdapterError: the model has nothing that this method adapts.
        """

    def finish(self, adapted: Any) -> Any:
        """The adapted model, with what is done once PEFT has put its modules in."""
        return adapted

    def see(self, adapted: Any, batches: Callable[[], Iterable[Mapping[str, Tensor]]]) -> None:
        """What is done once the rows are there, before the first step; ``batches`` are padded."""
        return None

    def save(self, adapted: Any, directory: Path) -> None:
        """Write the adapter as PEFT loads it onto the base as it was."""
        write(adapted, directory)

    def upkeep(self, adapted: Any, steps: int | None) -> Upkeep:
        """What it does around steps; ``steps`` of the whole training, None where not known.

        Raises:
            AdapterError: it must know the steps.
        """
        return NO_UPKEEP

    def rates(self) -> Mapping[str, float]:
        """Factors of the learning rate, by a part of a parameter's name."""
        return {}


def needs_modules(found: Iterable[str], *, method: str, what: str, model: Any) -> list[str]:
    """The names that were found; an error where there are none.

    Raises:
        AdapterError: there are none.
    """
    names = sorted(set(found))
    if not names:
        raise AdapterError(
            f"The model has no {what}, which {method} adapts.",
            slug="adapter-refused",
            got=str(model.config.model_type),
            fix="Choose another adapter.kind, for example lora.",
        )
    return names


def spec_of(model: Any) -> Spec | None:
    """The method that a model's adapter was put in with; None for a loaded one, or without one."""
    found = getattr(model, ATTACHED, None)
    assert found is None or isinstance(found, Spec)
    return found


def upkeep_of(model: Any, steps: int | None) -> Upkeep:
    """What the method of a model's adapter does around steps; nothing without one.

    Raises:
        AdapterError: it must know the number of steps.
    """
    spec = spec_of(model)
    return NO_UPKEEP if spec is None else spec.upkeep(model, steps)


def see_rows(model: Any, batches: Callable[[], Iterable[Mapping[str, Tensor]]]) -> None:
    """Let the method of a model's adapter look at the rows before the first step."""
    spec = spec_of(model)
    if spec is not None:
        spec.see(model, batches)
