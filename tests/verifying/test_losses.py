"""The formulas, against what the papers write."""

import pytest
import torch

from regimen.tokens.rendering import Rendered
from regimen.verifying.losses import Tokens

LOGITS = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
LOGP = LOGITS.log_softmax(-1)


def test_tokens_are_weighed_smoothed_and_kept_near_one():
    row = Rendered((0, 3, 1), (0.0, 0.5, 2.0))
    assert Tokens().weight([row, row]) == 5.0
    plain = -(0.5 * LOGP[0, 3] + 2.0 * LOGP[1, 1])
    assert float(Tokens()(0, row, [LOGITS])) == pytest.approx(float(plain))
    smooth = 0.9 * plain - 0.1 * (0.5 * LOGP[0].mean() + 2.0 * LOGP[1].mean())
    lse = LOGITS.logsumexp(-1)
    wanted = smooth + 0.01 * (0.5 * lse[0] ** 2 + 2.0 * lse[1] ** 2)
    assert float(Tokens(0.1, 0.01)(0, row, [LOGITS])) == pytest.approx(float(wanted))
