"""Contracts of the forward and backward pass: packing, accumulation, shared beginnings, parity."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor

from regimen.adapters.spec import upkeep_of
from regimen.objectives.supervised import Supervised
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.data import Data
from regimen.training.gradients import step_gradients
from regimen.verifying.losses import Tokens
from regimen.verifying.outcomes import (
    GRADIENTS,
    LOGITS,
    LOSS,
    Measurement,
    Outcome,
    gradient_difference,
    logit_difference,
    loss_difference,
    not_run,
)
from regimen.verifying.plain import Alone, add_gradients, measure_alone, padded_loss
from regimen.verifying.rows import Row, one_batch, paths, size, supervised
from regimen.verifying.subject import Subject, trained_logits

MANY = 1_000
"""Steps of a training, for a method that has to know them; here none is taken."""


def packed(subject: Subject, alone: Alone) -> Outcome:
    """All rows in one flat batch against each sequence alone in transformers."""
    model = subject.ready()
    logits_KV = trained_logits(model, subject.rows, alone.kept_K)
    batch = one_batch(subject.rows)
    losses, gradients = step_gradients(model, subject.twin.objective, [batch], subject.quiet)
    places = f"{len(alone.kept_K):,} of {supervised(subject.rows):,} places"
    return Outcome(
        (
            Measurement(
                f"logits at {places}",
                logit_difference(logits_KV, alone.logits_KV),
                LOGITS,
            ),
            Measurement("loss", loss_difference(losses["loss"], alone.loss), LOSS),
            _gradients(gradients, alone.gradients),
        ),
        reason="" if model.ragged else f"batches are padded, because {model.reason}",
    )


def accumulation(subject: Subject, alone: Alone) -> Outcome:
    """Uneven micro-batches in the loop against one division of the sum over all rows.

    Of 1, 2, 4 .. rows: where all weighed the same, a mean of means would be right by chance.
    """
    data = Data(token_rows(subject.rows), subject.quiet)
    batches = [data.batch(numbers) for numbers in _doubling(len(subject.rows))]
    if len(batches) < 2:
        return not_run("one row makes one micro-batch, and two are needed")
    model = subject.ready()
    losses, gradients = step_gradients(model, subject.twin.objective, batches, subject.quiet)
    compared = f"loss of {len(batches)} uneven micro-batches"
    return Outcome(
        (
            Measurement(compared, loss_difference(losses["loss"], alone.loss), LOSS),
            _gradients(gradients, alone.gradients),
        )
    )


def _doubling(rows: int) -> list[range]:
    starts = [0]
    while starts[-1] < rows:
        starts.append(2 * starts[-1] + 1)
    return [range(a, min(b, rows)) for a, b in pairwise(starts)]


def shared_prefix(subject: Subject) -> Outcome:
    """Beginnings computed once in the loop against every sequence written out in transformers."""
    if not subject.shared:
        return not_run("no row is long enough to be cut into a beginning and two ways to go on")
    alone = measure_alone(subject.plain(), subject.shared, Tokens())
    model = subject.ready()
    logits_KV = trained_logits(model, subject.shared, alone.kept_K)
    batch = one_batch(subject.shared)
    _, gradients = step_gradients(model, Supervised(), [batch], subject.quiet)
    written_out = sum(len(path.ids) for row in subject.shared for path in paths(row))
    tokens = sum(size(row) for row in subject.shared)
    return Outcome(
        (
            Measurement(
                f"logits, {tokens:,} tokens in place of {written_out:,}",
                logit_difference(logits_KV, alone.logits_KV),
                LOGITS,
            ),
            _gradients(gradients, alone.gradients),
        )
    )


def parity(subject: Subject) -> Outcome:
    """The loop's loss and gradients against ``labels`` in transformers on a padded batch.

    transformers weighs supervised tokens alike, so weights count here as learnt or not.
    """
    theirs, expected = padded_loss(subject.plain(), subject.rows)
    batch = one_batch([_unweighted(row) for row in subject.rows])
    model = subject.ready()
    losses, gradients = step_gradients(model, Supervised(), [batch], subject.quiet)
    loss = losses["loss"] + _penalty(model.model, gradients)
    sequences = sum(len(paths(row)) for row in subject.rows)
    compared = f"loss of {sequences} padded rows with labels"
    return Outcome(
        (
            Measurement(compared, loss_difference(loss, theirs), LOSS),
            _gradients(gradients, expected),
        )
    )


def _penalty(network: Any, gradients: dict[str, Tensor]) -> float:
    """What the adapter's method adds to a loss, as PEFT's own loss does; adds its gradients."""
    penalty = upkeep_of(network, MANY).penalty()
    if penalty is None:
        return 0.0
    learnt = {n: p for n, p in network.named_parameters() if p.requires_grad}
    add_gradients(gradients, penalty, learnt)
    return float(penalty.detach())


def _unweighted(row: Row) -> Row:
    if not isinstance(row, Rendered):
        return row
    return Rendered(row.ids, tuple(float(weight != 0) for weight in row.weights))


def _gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> Measurement:
    difference, where = gradient_difference(ours, theirs)
    return Measurement(f"gradients of {len(theirs):,} tensors", difference, GRADIENTS, where)
