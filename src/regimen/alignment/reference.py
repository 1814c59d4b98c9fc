"""The explicit frozen reference: its log-probabilities, computed once before training."""

from __future__ import annotations

import torch
from torch import Tensor

from regimen.errors import TrainingError
from regimen.models.forward import LanguageModel
from regimen.objectives.preference import pair_segments, sequence_logp
from regimen.tokens.store import TokenRows
from regimen.training.measure import measured_batches


def reference_logps(
    model: LanguageModel, rows: TokenRows, *, tokens_per_batch: int, bf16: bool
) -> Tensor:
    """Sequence log-probabilities (nats) of chosen and rejected under the model as it is: (R, 2)."""
    out_R2 = torch.zeros(len(rows), 2)
    measured = measured_batches(model, rows, tokens_per_batch=tokens_per_batch, bf16=bf16)
    for _, batch, logp_N in measured:
        logp_S = sequence_logp(batch, logp_N).cpu()
        chosen_P, rejected_P = pair_segments(batch)
        numbers_P = torch.tensor([batch.instance_S[int(s)] for s in chosen_P])
        out_R2[numbers_P, 0] = logp_S[chosen_P]
        out_R2[numbers_P, 1] = logp_S[rejected_P]
    return out_R2


def check_reference(
    model: LanguageModel,
    rows: TokenRows,
    reference_R2: Tensor,
    *,
    bf16: bool,
    tolerance: float = 1e-3,
) -> float:
    """The largest |policy - reference| log-ratio per token at step 0; it must be 0.

    Different micro-batches round differently, so the comparison allows ``tolerance`` nats per
    token in fp32 and 20 times that in bf16.

    Raises:
        TrainingError: the policy does not start at its reference.
    """
    probe = min(4, len(rows))
    cut = TokenRows(
        rows.ids, rows.weights, rows.offsets, rows.parents, rows.row_offsets[: probe + 1]
    )
    now = reference_logps(model, cut, tokens_per_batch=1 << 20, bf16=bf16)
    tokens = torch.as_tensor(cut.supervised).clamp_min(1)[:, None]
    worst = float(((now - reference_R2[:probe]).abs() / tokens).max())
    if worst > (20 if bf16 else 1) * tolerance:
        raise TrainingError(
            "The policy does not start at its reference.",
            slug="reference-differs",
            got=f"a log-ratio of {worst:.3g} nats per token at step 0",
            expected="0",
            fix="Start the policy from the model that the reference was computed with.",
        )
    return worst
