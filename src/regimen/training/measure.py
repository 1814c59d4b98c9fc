"""Log-probabilities of given rows under a model, without gradients: references and evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from regimen.models.forward import LanguageModel
from regimen.models.head import reduce
from regimen.tokens.packing import packing_plan
from regimen.tokens.ragged import RaggedBatch, ragged_batch
from regimen.tokens.store import TokenRows


def measured_batches(
    model: LanguageModel, rows: TokenRows, *, tokens_per_batch: int, bf16: bool
) -> Iterator[tuple[tuple[int, ...], RaggedBatch, Tensor]]:
    """Row numbers, batch and log-probabilities (nats) of its targets, in the order of the rows.

    The model is in eval mode meanwhile: dropout must reach neither a reference nor a score.
    """
    training = model.model.training
    model.model.eval()
    plan = packing_plan(rows.lengths, seed=0, epoch=0, token_budget=tokens_per_batch, shuffle=False)
    for numbers in plan:
        batch = ragged_batch(rows.segments(numbers))
        with (
            torch.no_grad(),
            torch.autocast(batch.ids_T.device.type, dtype=torch.bfloat16, enabled=bf16),
        ):
            logp_N = reduce(
                model.hidden(batch, batch.source_row_N),
                model.head(),
                batch.source_row_N,
                batch.target_N,
                {"logp"},
                dtype=torch.bfloat16 if bf16 else None,
            ).logp_N
        assert logp_N is not None
        yield numbers, batch, logp_N
    model.model.train(training)


def mean_nll(model: LanguageModel, rows: TokenRows, *, tokens_per_batch: int, bf16: bool) -> float:
    """Weighted mean negative log-likelihood of the supervised tokens, in nats."""
    total = weight = 0.0
    measured = measured_batches(model, rows, tokens_per_batch=tokens_per_batch, bf16=bf16)
    for _, batch, logp_N in measured:
        weight_N = batch.weight_N.to(logp_N.device)
        total -= float((weight_N * logp_N).sum())
        weight += float(weight_N.sum())
    return total / weight
