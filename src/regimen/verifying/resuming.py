"""Contract of checkpoints: resumed = uninterrupted, to the bit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regimen.adapters.spec import Upkeep, upkeep_of
from regimen.models.forward import LanguageModel, prepare
from regimen.tokens.store import TokenRows, token_rows
from regimen.training.checkpoints import learnt, load_newest, save_checkpoint
from regimen.training.identity import identity_of
from regimen.training.loop import Hooks, train
from regimen.training.options import LoopOptions, State
from regimen.verifying.outcomes import Measurement, Outcome
from regimen.verifying.subject import Subject, scratch

STEPS, BREAK = 4, 2
"""Optimizer steps, and those after which the training is broken off."""


def resumed(subject: Subject) -> Outcome:
    """A training broken off and gone on with in a new model, against one that was not.

    The loop, the optimizer, the schedule and the noise are the stage's own. Compared are weights,
    the optimizer's state and the position in the data.
    """
    rows, options = token_rows(subject.rows), _options(subject)
    with scratch() as folder:
        # weights and optimizer are several times the model: only one training is in memory
        torch.save(_trained(subject, rows, options)[1], folder / "straight.pt")
        _broken_off(subject, rows, options, folder)
        began, again = _trained(subject, rows, options, folder)
        straight = torch.load(folder / "straight.pt", mmap=True, weights_only=True)
        difference, where = _difference(straight, again)
        del straight
    if began != BREAK:  # from the start it would come to the same end
        difference, where = math.inf, f"the step that it went on from, {began}"
    compared = f"weights, optimizer; {BREAK} + {STEPS - BREAK} steps"
    return Outcome((Measurement(compared, difference, 0.0, where),))


def _options(subject: Subject) -> LoopOptions:
    """The stage's options for a few steps of several micro-batches."""
    sizes = token_rows(subject.rows).lengths
    return replace(
        subject.options,
        tokens_per_batch=max(int(sizes.max()), int(sizes.sum()) // 4),
        accumulation=min(subject.options.accumulation, 2),
        num_train_epochs=None,
        max_steps=STEPS,
        max_tokens=None,
        max_time=None,
        save_every=None,
    )


@dataclass(frozen=True, slots=True)
class _Start:
    """A new model with what a training needs beside it."""

    model: LanguageModel
    tokenizer: Any
    optimizer: torch.optim.Optimizer
    upkeep: Upkeep


def _start(subject: Subject) -> _Start:
    opened = subject.open()
    model = prepare(opened.network, compiled=subject.compiled)
    upkeep = upkeep_of(model.model, STEPS)
    return _Start(model, opened.tokenizer, subject.optimizer(model.model), upkeep)


def _trained(
    subject: Subject, rows: TokenRows, options: LoopOptions, folder: Path | None = None
) -> tuple[int, dict[str, Tensor]]:
    """The step that a training begins at, by the checkpoint in a folder, and what it ends with."""
    new = _start(subject)
    network, state = new.model.model, State()
    if folder is not None:
        identity = identity_of(network, rows, options)
        state, _, _ = load_newest(folder, network, new.optimizer, identity, new.upkeep)
    began, objective = state.step, subject.twin.objective
    state = train(
        new.model, rows, objective, new.optimizer, options, state=state, upkeep=new.upkeep
    )
    weights = learnt(network)
    told = {name: value for name, value in asdict(state).items() if name != "seconds"}
    rest = {"optimizer": new.optimizer.state_dict(), "position": told}
    return began, {**weights, **dict(_tensors(rest, ""))}


def _broken_off(subject: Subject, rows: TokenRows, options: LoopOptions, folder: Path) -> None:
    new = _start(subject)
    identity = identity_of(new.model.model, rows, options)
    reached: list[int] = []

    def save(state: State) -> None:
        save_checkpoint(
            folder,
            new.model.model,
            new.tokenizer,
            new.optimizer,
            state,
            identity=identity,
            upkeep=new.upkeep,
        )

    def stop() -> bool:
        reached.append(1)
        return len(reached) == BREAK

    hooks = Hooks(save=save, stop=stop)
    objective = subject.twin.objective
    train(new.model, rows, objective, new.optimizer, options, hooks, upkeep=new.upkeep)


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor and number in nested dictionaries and lists, by its place."""
    if isinstance(value, Tensor) and hasattr(value, "__tensor_flatten__"):
        parts = {part: getattr(value, part) for part in value.__tensor_flatten__()[0]}
        yield from _tensors(parts, name)
    elif isinstance(value, Tensor):
        yield name, value.detach()
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _tensors(entry, f"{name} {key}".strip())
    elif isinstance(value, list | tuple):
        for place, entry in enumerate(value):
            yield from _tensors(entry, f"{name} {place}")
    elif isinstance(value, int | float):
        yield name, torch.tensor(float(value), dtype=torch.float64)


def _difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest difference of any two numbers, and where; infinite where only one side has it."""
    worst, where = 0.0, ""
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other or one[name].shape != other[name].shape:
            return math.inf, name
        apart = (one[name].double() - other[name].double()).abs()
        largest = float(apart.max()) if apart.numel() else 0.0
        if not largest <= worst:
            worst, where = largest, name
    return worst, where
