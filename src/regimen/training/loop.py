"""THE loop: every way of training runs through it and differs in batches and objective only.

The loop divides each component's sum by its weight over the whole optimizer step, once; so a step
of one batch and a step of many accumulated micro-batches have the same gradient, however uneven
the micro-batches are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from regimen.adapters.spec import NO_UPKEEP, Upkeep
from regimen.errors import TrainingError
from regimen.models.buffers import kept_buffers, rows_wait
from regimen.models.forward import LanguageModel, base_of
from regimen.models.head import Reduced, reduce
from regimen.models.marks import mark
from regimen.models.noise import embedding_noise
from regimen.objectives.base import NLL, LossOut, Objective, OverStep, Teaching
from regimen.tokens.ragged import RaggedBatch
from regimen.tokens.store import TokenRows
from regimen.training.ahead import At, micro_batches
from regimen.training.data import Data, total_steps
from regimen.training.optimizers.fused import FusedBackward
from regimen.training.options import LoopOptions, State, progress_of
from regimen.training.upkeep import clip, collecting_what_is_new

MOST_NAMED = 20
"""Rows that an error names."""

Hook = Callable[["State", Mapping[str, float]], None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a caller wants to happen: on each logged step, and when a checkpoint is due.

    ``stop`` is asked after each step; when it says yes, the state is saved and training ends.
    ``evaluate`` gives the loss on held-out rows; ``best`` is called when it is the lowest so far.
    """

    log: Hook | None = None
    save: Callable[[State], None] | None = None
    progress: Hook | None = None
    stop: Callable[[], bool] | None = None
    evaluate: Callable[[], float] | None = None
    best: Hook | None = None


def train(
    model: LanguageModel,
    rows: TokenRows,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    options: LoopOptions,
    hooks: Hooks = Hooks(),
    state: State | None = None,
    upkeep: Upkeep = NO_UPKEEP,
    data: Data | None = None,
) -> State:
    """Train until the first limit; returns where the run ended.

    ``upkeep`` is what the method of adaptation does around the steps; ``data`` makes the batches,
    where they are something else than the rows as they are.

    Raises:
        TrainingError: no rows, no trainable parameter, or a loss that is not finite.
    """
    state = state or State()
    data = data or Data(rows, options)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not len(rows) or not parameters:
        raise TrainingError(
            "There is nothing to train.",
            slug="nothing-to-train",
            got=f"{len(rows)} rows, {len(parameters)} trainable tensors",
            fix="Check the data's ledger and the adapter's target modules.",
        )
    model.model.train()
    if not state.cursor:  # a checkpoint brings the states of the generators with it
        torch.manual_seed(options.seed)
    kept = kept_buffers(base_of(model.model).get_input_embeddings())
    with kept, collecting_what_is_new(), micro_batches(data, model.device) as at:
        return _steps(
            *(model, data, at, objective, optimizer, parameters, options, hooks, state, upkeep)
        )


def _steps(
    model: LanguageModel,
    data: Data,
    at: At,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    options: LoopOptions,
    hooks: Hooks,
    state: State,
    upkeep: Upkeep,
) -> State:
    """The steps themselves."""
    steps = total_steps(data, options)
    began = time.perf_counter() - state.seconds
    while progress_of(state, options, steps) < 1.0:
        rate = options.learning_rate * options.schedule.factor(progress_of(state, options, steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        with mark("data"):
            batches = list(_step_batches(at, state, options))
        upkeep.before(state.step)
        # gradients of several micro-batches add up first, so no step can be taken in between
        fused = optimizer if isinstance(optimizer, FusedBackward) and len(batches) == 1 else None
        with nullcontext() if fused is None else fused.during_backward(options.max_grad_norm):
            losses = accumulate(model, objective, batches, options, data.rows.name)
        losses |= _penalise(upkeep)
        with mark("clip"):
            norm = clip(parameters, options.max_grad_norm) if fused is None else fused.norm
        if not math.isfinite(norm):
            raise _not_finite("gradient norm", norm, batches, data.rows.name)
        with mark("optimizer"):
            optimizer.step()
            upkeep.after(state.step)
            optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.seconds = time.perf_counter() - began
        losses |= {"grad_norm": norm, "learning_rate": rate, "epoch": state.epoch}
        waited = _evaluate(state, options, steps, hooks, losses)
        with mark("report"):
            _report(state, options, steps, hooks, losses)
        if waited or (hooks.stop is not None and hooks.stop()):
            break
    if hooks.save is not None:
        hooks.save(state)
    return state


def _penalise(upkeep: Upkeep) -> dict[str, float]:
    """Add the gradient of what a method adds to the loss of a step; what to log."""
    penalty = upkeep.penalty()
    if penalty is None:
        return {}
    penalty.backward()  # type: ignore[no-untyped-call]
    return {"penalty": float(penalty.detach())}


def _step_batches(at: At, state: State, options: LoopOptions) -> Iterator[RaggedBatch]:
    """The micro-batches of one optimizer step; advances the cursor."""
    for _ in range(options.accumulation):
        batch, epoch = at(state.cursor)
        state.cursor += 1
        state.epoch = epoch
        state.tokens += batch.num_tokens
        state.supervised += len(batch.target_N)
        yield batch
        if options.num_train_epochs is not None and epoch >= options.num_train_epochs:
            return


@rows_wait()
def accumulate(
    model: LanguageModel,
    objective: Objective,
    batches: Sequence[RaggedBatch],
    options: LoopOptions,
    row_name: Callable[[int], str] = "row {}".format,
) -> dict[str, float]:
    """Backward over the micro-batches of a step, into ``.grad``; returns what to log.

    ``row_name`` says what a row is called in an error.

    Raises:
        TrainingError: a loss that is not finite.
    """
    embedding = base_of(model.model).get_input_embeddings()
    weights: dict[str, float] = {}
    for batch in batches:
        for name, weight in objective.weights(batch).items():
            weights[name] = weights.get(name, 0.0) + weight
    objective = _comparing(model, objective, batches, options)
    sums: dict[str, float] = {"loss": 0.0}
    rows = 0.0
    for batch in batches:
        with mark("forward"), embedding_noise(embedding, batch, options.neftune_noise_alpha):
            out = batch_loss(
                model, objective, batch.to(model.device), bf16=options.bf16, weights=weights
            )
            loss = sum_components(out, weights)
        waits = loss.device.type == "cpu"  # elsewhere, the backward pass is queued first
        if waits and not torch.isfinite(loss):
            raise _not_finite("loss", float(loss.detach()), [batch], row_name)
        with mark("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        total = float(loss.detach())
        if not math.isfinite(total):
            raise _not_finite("loss", total, [batch], row_name)
        sums["loss"] += total
        rows += out.rows
        for name, value in out.metrics.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    for name in sums.keys() - {"loss"}:
        sums[name] /= max(weights.get(name, rows), 1e-12)
    return sums


def batch_loss(
    model: LanguageModel,
    objective: Objective,
    batch: RaggedBatch,
    *,
    bf16: bool,
    weights: Mapping[str, float] | None = None,
) -> LossOut:
    """Forward one batch and apply an objective; shared by training and evaluation.

    ``weights`` are what ``sum_components`` will divide by, where a backward pass follows.
    """
    factor = None if weights is None or NLL not in weights else _share(weights[NLL])
    with torch.autocast(batch.ids_T.device.type, dtype=torch.bfloat16, enabled=bf16):
        reduced = _reduced(model, objective, batch, bf16=bf16, factor=factor)
        with mark("head"):
            return objective(batch, reduced)


def _reduced(
    model: LanguageModel,
    objective: Objective,
    batch: RaggedBatch,
    *,
    bf16: bool,
    factor: float | None = None,
) -> Reduced:
    """What the head reducer says of a batch's targets, as far as the objective needs it."""
    taught = objective.taught(batch) if isinstance(objective, Teaching) else None
    hidden_TD = model.hidden(batch, batch.source_row_N)
    with mark("head"):
        return reduce(
            hidden_TD,
            model.head(),
            batch.source_row_N,
            batch.target_N,
            objective.needs,
            weight_N=batch.weight_N,
            factor=factor,
            dtype=torch.bfloat16 if bf16 else None,
            taught=taught,
        )


@torch.no_grad()
def _comparing(
    model: LanguageModel,
    objective: Objective,
    batches: Sequence[RaggedBatch],
    options: LoopOptions,
) -> Objective:
    """The objective with what it compares rows with, where that is of several micro-batches.

    The model runs as it does when it learns, dropout and noise included, so that a step of one
    micro-batch is no special case.
    """
    if len(batches) < 2 or not isinstance(objective, OverStep) or not objective.compares:
        return objective
    device = next(model.model.parameters()).device
    embedding = base_of(model.model).get_input_embeddings()
    seen: list[Tensor] = []
    for batch in (one.to(device) for one in batches):
        with (
            mark("forward"),
            embedding_noise(embedding, batch, options.neftune_noise_alpha),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.bf16),
        ):
            seen.append(objective.seen(batch, _reduced(model, objective, batch, bf16=options.bf16)))
    return objective.comparing(torch.stack(seen).sum(0))


def _share(weight: float) -> float:
    return 1.0 / max(weight, 1e-12)


def sum_components(out: LossOut, weights: Mapping[str, float]) -> Tensor:
    """Each component divided by its weight over the step; the only division there is."""
    parts = [total * _share(weights[name]) for name, total in out.components.items()]
    return torch.stack([part.float() for part in parts]).sum()


def _not_finite(
    what: str, value: float, batches: list[RaggedBatch], name: Callable[[int], str]
) -> TrainingError:
    rows = sorted({row for batch in batches for row in batch.instance_S})
    named = "; ".join(name(row) for row in rows[:MOST_NAMED])
    more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
    return TrainingError(
        f"The {what} is no longer finite.",
        slug="loss-not-finite",
        got=f"{value} on {named}{more}",
        fix="Lower the learning rate, or look at these rows in the data.",
    )


def _evaluate(
    state: State,
    options: LoopOptions,
    steps: int | None,
    hooks: Hooks,
    losses: dict[str, float],
) -> bool:
    """Measure held-out rows where that is due; True where patience has run out."""
    if hooks.evaluate is None or not options.evaluate_every:
        return False
    if state.step % options.evaluate_every and progress_of(state, options, steps) < 1.0:
        return False
    loss = losses["eval_loss"] = hooks.evaluate()
    if state.best_loss is None or loss < state.best_loss:
        state.best_loss, state.best_step, state.since_best = loss, state.step, 0
        if hooks.best is not None:
            hooks.best(state, losses)
    else:
        state.since_best += 1
    return options.patience is not None and state.since_best >= options.patience


def _report(
    state: State,
    options: LoopOptions,
    steps: int | None,
    hooks: Hooks,
    losses: Mapping[str, float],
) -> None:
    done = progress_of(state, options, steps)
    if hooks.progress is not None:
        hooks.progress(state, losses)
    told = state.step % options.log_every == 0 or done >= 1.0 or "eval_loss" in losses
    if hooks.log is not None and told:
        hooks.log(state, losses)
    due = options.save_every and state.step % options.save_every == 0 and done < 1.0
    if hooks.save is not None and due:
        hooks.save(state)
