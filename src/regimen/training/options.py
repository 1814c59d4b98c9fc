"""How long and how to train, and where a run stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from regimen.training.schedules import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How long and how to train. The first limit that is reached ends the run.

    ``tokens_per_batch`` bounds a micro-batch; ``accumulation`` micro-batches make a step.
    ``max_time`` is in seconds. After ``patience`` evaluations in a row without a new best the run
    ends early.
    """

    learning_rate: float
    schedule: Schedule = field(default_factory=Schedule)
    tokens_per_batch: int = 4096
    accumulation: int = 1
    num_train_epochs: float | None = 1.0
    max_steps: int | None = None
    max_tokens: int | None = None
    max_time: float | None = None
    max_grad_norm: float = 1.0
    neftune_noise_alpha: float = 0.0
    bf16: bool = False
    seed: int = 0
    log_every: int = 10
    save_every: int | None = None
    evaluate_every: int | None = None
    patience: int | None = None


@dataclass(slots=True)
class State:
    """Where a run stands. ``cursor`` counts micro-batches since the start of the run.

    ``best_loss`` is the lowest evaluation loss so far, at step ``best_step``; ``since_best`` counts
    the evaluations after it.
    """

    step: int = 0
    cursor: int = 0
    tokens: int = 0
    supervised: int = 0
    seconds: float = 0.0
    epoch: float = 0.0
    best_loss: float | None = None
    best_step: int = 0
    since_best: int = 0


def progress_of(state: State, options: LoopOptions, steps: int | None) -> float:
    """How much of the run is done, 0..1: the furthest of its limits."""
    shares = [0.0]
    if steps:
        shares.append(state.step / steps)
    if options.max_tokens:
        shares.append(state.tokens / options.max_tokens)
    if options.max_time:
        shares.append(state.seconds / options.max_time)
    return min(1.0, max(shares))
