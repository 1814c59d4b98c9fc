"""Contract of preference learning: reference = policy at step 0."""

from __future__ import annotations

import math

import numpy as np
import torch

from regimen.alignment.reference import check_reference, reference_logps
from regimen.models.forward import prepare
from regimen.tokens.store import token_rows
from regimen.verifying.outcomes import LOGRATIO, Measurement, Outcome, not_applicable
from regimen.verifying.subject import Subject


def reference(subject: Subject) -> Outcome:
    """|log-ratio| per token of the policy as training starts it, fresh adapter included.

    Against the start model in transformers, without that adapter; and against what the stage itself
    stores as its reference, in other batches.
    """
    if subject.reference_A is None:
        return not_applicable("nothing is compared with a reference policy here")
    model = prepare(subject.open().network, compiled=subject.compiled)
    rows = token_rows(subject.rows)
    stored_A = reference_logps(
        model, rows, tokens_per_batch=subject.options.tokens_per_batch, bf16=False
    )
    tokens_A = torch.as_tensor(np.diff(rows.offsets)[rows.parents >= 0]).clamp_min(1)
    theirs = float(((stored_A - subject.reference_A).abs() / tokens_A).max())
    own = check_reference(model, rows, stored_A, bf16=False, tolerance=math.inf)
    answers = f"{len(stored_A)} answers"
    return Outcome(
        (
            Measurement(f"nats a token, transformers, {answers}", theirs, LOGRATIO),
            Measurement("nats a token, the stored reference", own, LOGRATIO),
        )
    )
