"""One training inside a stage: logging, checkpoints, validation, signals, going on after them."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from regimen import console
from regimen.adapters.methods import Trainable, trainable
from regimen.adapters.spec import Upkeep, see_rows, upkeep_of
from regimen.errors import InterruptedRun
from regimen.models.hardware import Hardware
from regimen.objectives.base import Objective
from regimen.runs import METRICS, TENSORBOARD, TRACKING, Run
from regimen.settings.training import TrainingSettings
from regimen.stages.tracking import Tracking, tracked
from regimen.stages.training import Prepared, loop_options
from regimen.tokens.store import TokenRows
from regimen.training.checkpoints import (
    load_newest,
    load_weights,
    peak_memory_gib,
    save_checkpoint,
    write_weights,
)
from regimen.training.data import Data, expected_steps, total_steps
from regimen.training.identity import Identity, identity_of
from regimen.training.loop import Hooks, train
from regimen.training.measure import mean_nll
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions, State, progress_of
from regimen.training.state_memory import StateMemory, state_memory

BEST = "best"
SEEN = 64
"""Micro-batches that a method may look at before the first step."""

KEPT = ("checkpoint-*", METRICS, BEST, TRACKING, TENSORBOARD)
"""What an interrupted training leaves for the next run of the same stage."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Rows that are measured while training goes on; see the settings of the same name."""

    rows: TokenRows
    every: int
    patience: int | None = None
    keep_best: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that a stage trains with. ``extra`` is told in its summary; ``data`` makes the
    batches, where they are something else than the rows as they are.
    """

    prepared: Prepared
    rows: TokenRows
    objective: Objective
    training: TrainingSettings
    seed: int
    validation: Validation | None = None
    data: Callable[[TokenRows, LoopOptions], Data] = Data
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """How a training ended, for each tracker ``ok`` or what happened to it, and what it kept."""

    state: State
    trackers: Mapping[str, str]
    memory: StateMemory
    counted: Trainable


def run_training(run: Run, job: Job) -> Trained:
    """Train, going on from the newest whole checkpoint that an interrupted run left.

    Raises:
        InterruptedRun: SIGINT or SIGTERM came; the state after the step was saved.
        TrainingError: there is nothing to train, or a loss is not finite.
        RunError: a checkpoint cannot be written, or is of another training.
    """
    prepared, rows, validation = job.prepared, job.rows, job.validation
    options = loop_options(job.training, job.seed)
    data = job.data(rows, options)
    see_rows(prepared.model, lambda: data.padded(SEEN))
    optimizer = new_optimizer(job)
    counted = trainable(prepared.model, optimizer)
    if validation is not None:
        options = replace(options, evaluate_every=validation.every, patience=validation.patience)
    identity = identity_of(prepared.model, rows, options)
    steps = total_steps(data, options)
    upkeep = upkeep_of(prepared.model, expected_steps(data, options))
    state, reported = _go_on(run, prepared.model, optimizer, identity, upkeep)
    left = None if steps is None else steps - state.step
    trackers = tracked(run, job.training, seed=job.seed, step=state.step, reported=reported)
    progress = console.progress(left, run.stage, "steps")
    with trackers as tracking, progress as bar, _signals() as received:
        writer = Writer(run, job, optimizer, options, bar, tracking, upkeep, identity, received)
        writer.begin(state)
        hooks = writer.hooks()
        model = prepared.language_model
        state = train(model, rows, job.objective, optimizer, options, hooks, state, upkeep, data)
        waited = options.patience is not None and state.since_best >= options.patience
        if received and not waited and progress_of(state, options, steps) < 1.0:
            raise InterruptedRun(received[0], str(run.directory / f"checkpoint-{state.step}"))
    memory = state_memory(prepared.model, optimizer)
    if hooks.best is not None:
        load_weights(run.path(BEST), prepared.model)
        shutil.rmtree(run.path(BEST))
    return Trained(state, tracking.told(), memory, counted)


def new_optimizer(job: Job) -> torch.optim.Optimizer:
    """The optimizer that the settings name, over what is trained."""
    return optimizer_of(job.prepared.model, job.training)


def optimizer_of(model: Any, training: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings name, over what is trained of a model.

    Raises:
        MissingExtraError: a library that it needs is not installed.
        TrainingError: it does not work on the model's device.
    """
    chosen = training.optimizer_settings
    groups = parameter_groups(model, training.weight_decay)
    return OPTIMIZERS[training.optimizer](groups, **({} if chosen is None else chosen.chosen()))


@dataclass(slots=True)
class Writer:
    """What a training leaves behind while it runs: the hooks of the loop."""

    run: Run
    job: Job
    optimizer: torch.optim.Optimizer
    options: LoopOptions
    bar: console.Progress
    tracking: Tracking
    upkeep: Upkeep = field(default_factory=Upkeep)
    identity: Identity | None = None
    received: list[int] = field(default_factory=list)
    reached: int = 0
    logged: State = field(default_factory=State)

    def begin(self, state: State) -> None:
        """Remember where this run took up."""
        self.reached = state.step
        self.logged = replace(state)

    def hooks(self) -> Hooks:
        """The loop's hooks."""
        measured = self.job.validation is not None
        keeps = self.job.validation is not None and self.job.validation.keep_best
        return Hooks(
            log=self.log,
            save=self.save,
            progress=self.progress,
            stop=lambda: bool(self.received),
            evaluate=self.evaluate if measured else None,
            best=self.best if keeps else None,
        )

    def log(self, state: State, losses: Mapping[str, float]) -> None:
        """A line of ``metrics.jsonl``, which the trackers get too."""
        tokens = state.tokens - self.logged.tokens
        seconds = max(state.seconds - self.logged.seconds, 1e-9)
        self.logged = replace(state)
        values = {
            **{name: seven_digits(value) for name, value in losses.items()},
            "num_tokens": state.tokens,
            "supervised_tokens": state.supervised,
            "tokens_per_second": round(tokens / seconds, 1),
            "peak_memory_gib": round(peak_memory_gib(), 3),
        }
        self.run.log({"step": state.step, **values})
        self.tracking.log(state.step, {**values, **losses})

    def progress(self, _state: State, losses: Mapping[str, float]) -> None:
        """One step further."""
        self.bar.advance(1, loss=f"{losses['loss']:.3f}")

    def save(self, state: State) -> None:
        """A checkpoint, if the settings or a signal ask for one and something is new."""
        if (self.job.training.save_steps or self.received) and state.step > self.reached:
            save_checkpoint(
                self.run.directory,
                self.job.prepared.model,
                self.job.prepared.tokenizer,
                self.optimizer,
                state,
                keep=self.job.training.save_total_limit,
                identity=self.identity,
                upkeep=self.upkeep,
            )

    def evaluate(self) -> float:
        """Loss on the validation rows."""
        assert self.job.validation is not None
        return mean_nll(
            self.job.prepared.language_model,
            self.job.validation.rows,
            tokens_per_batch=self.options.tokens_per_batch,
            bf16=self.options.bf16,
        )

    def best(self, _state: State, _losses: Mapping[str, float]) -> None:
        """Keep the weights of the lowest validation loss so far."""
        write_weights(self.job.prepared.model, self.job.prepared.tokenizer, self.run.path(BEST))


def seven_digits(value: float) -> float:
    """A number of fp32 as it is worth: a learning rate of 2e-7 keeps its digits."""
    return float(f"{value:.7g}")


def _go_on(
    run: Run, model: Any, optimizer: torch.optim.Optimizer, identity: Identity, upkeep: Upkeep
) -> tuple[State, int]:
    """The state of the newest whole checkpoint, put back; a fresh one where there is none.

    Returns:
        The state, and the last step that was logged before.
    """
    state, path, damaged = load_newest(run.directory, model, optimizer, identity, upkeep)
    for folder, wrong in damaged:
        console.line(f"{run.stage}: {folder.name} is damaged ({wrong}) and not used")
        shutil.rmtree(folder)
    logged = run.unlog(state.step)
    if path is not None:
        console.line(f"{run.stage}: goes on from {path}")
    elif damaged:
        console.line(f"{run.stage}: begins again, because no whole checkpoint is left")
    return state, logged


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM; a second one of a kind does what it would have done before."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = (int(signal.SIGINT), int(signal.SIGTERM))
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def training_summary(
    prepared: Prepared, done: Trained, hardware: Hardware, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """What a training did, for ``summary.json``."""
    state, counted = done.state, done.counted
    return {
        "steps": state.step,
        **(
            {"best_step": state.best_step, "best_loss": state.best_loss}
            if state.best_loss is not None
            else {}
        ),
        "num_tokens": state.tokens,
        "supervised_tokens": state.supervised,
        "trainable_parameters": counted.parameters,
        "trainable_tensors": counted.tensors,
        "parameters": counted.total,
        "memory": asdict(done.memory),
        "ragged": prepared.language_model.ragged,
        "bf16": hardware.bf16,
        "threads": hardware.threads,
        "allocator": hardware.allocator,
        "kernels": hardware.kernels,
        "notes": list(prepared.notes),
        **({"trackers": dict(done.trackers)} if done.trackers else {}),
        **extra,
    }
