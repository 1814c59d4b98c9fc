"""Contract of the vocabulary projection: reduced = full logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from regimen.models.forward import base_of, head_of
from regimen.models.head import Reduced, reduce
from regimen.objectives.base import Objective
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import RaggedBatch
from regimen.verifying.losses import Tokens
from regimen.verifying.outcomes import (
    GRADIENTS,
    LOSS,
    Measurement,
    Outcome,
    gradient_difference,
    loss_difference,
    not_run,
)
from regimen.verifying.plain import add_gradients, logits_of
from regimen.verifying.rows import one_batch, paths
from regimen.verifying.subject import Subject


def reduced(subject: Subject) -> Outcome:
    """The head reducer against full logits of transformers, from the same hidden states.

    Compared are the loss and its gradients with respect to the hidden states and, where it is
    trained, the projection. A preference objective is made of log-probabilities; of it, those are
    compared.
    """
    network = subject.plain()
    module = base_of(network).get_output_embeddings()
    learnt = {name: p for name, p in module.named_parameters() if p.requires_grad}
    formula = subject.twin.formula
    formula = formula if isinstance(formula, Tokens) else Tokens()
    sequences = [path for row in subject.rows for path in paths(row)]
    weight, loss = formula.weight(sequences), 0.0
    theirs: dict[str, Tensor] = {}
    hidden, hidden_gradients = [], []
    for number, path in enumerate(sequences):
        with _cut_before(module) as inputs:
            logits_NV = logits_of(network, path)
        if len(inputs) != 1:
            return not_run("the model does not call its vocabulary projection as a module")
        part = formula(number, path, [logits_NV]) / weight
        loss += float(part.detach())
        add_gradients(theirs, part, {**learnt, "hidden": inputs[0]})
        own = slice(-len(path.ids), None)  # without trained positions before the sequence
        hidden.append(inputs[0].detach()[0, own])
        hidden_gradients.append(theirs.pop("hidden")[0, own])
    theirs["hidden states"] = torch.cat(hidden_gradients)
    hidden_TD = torch.cat(hidden).requires_grad_()
    batch = one_batch(sequences).to(hidden_TD.device)
    ours_loss = _reduced_loss(network, hidden_TD, subject.twin.objective, batch)
    ours_loss = ours_loss / weight
    ours = add_gradients({}, ours_loss, {**learnt, "hidden states": hidden_TD})
    difference, where = gradient_difference(ours, theirs)
    trained = "hidden and projection" if learnt else "hidden"
    return Outcome(
        (
            Measurement("loss", loss_difference(float(ours_loss.detach()), loss), LOSS),
            Measurement(f"gradients, {trained}", difference, GRADIENTS, where),
        )
    )


def _reduced_loss(
    network: Any, hidden_TD: Tensor, objective: Objective, batch: RaggedBatch
) -> Tensor:
    """The sum over supervised tokens, from what the objective asks the reducer for."""
    found: Reduced = reduce(
        hidden_TD,
        head_of(network),
        batch.source_row_N,
        batch.target_N,
        objective.needs,
        weight_N=batch.weight_N,
    )
    if isinstance(objective, Supervised):
        return objective(batch, found).components["nll"]
    assert found.logp_N is not None
    return -(batch.weight_N * found.logp_N).sum()


@contextmanager
def _cut_before(module: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Inside, the module's inputs are leaves of their own, and collected."""
    inputs: list[Tensor] = []

    def cut(_module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        inputs.append(args[0].detach().requires_grad_())
        return (inputs[-1], *args[1:])

    handle = module.register_forward_pre_hook(cut)
    try:
        yield inputs
    finally:
        handle.remove()
