"""The formulas, against what the papers write."""

import pytest
import torch
from torch.nn import functional as F

from regimen.tokens.rendering import Rendered, RenderedPair
from regimen.verifying.losses import Pairs, Tokens

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


def test_pairs_follow_equation_7():
    row = RenderedPair((0, 1), (3, 1), (2,))
    reference_R2 = torch.tensor([[0.0, 0.0], [-2.0, -1.0]])
    chosen, rejected = LOGP[0, 3] + LOGP[1, 1], LOGP[0, 2]
    margin = 0.3 * ((chosen + 2.0) - (rejected + 1.0))
    wanted = -0.8 * F.logsigmoid(margin) - 0.2 * F.logsigmoid(-margin)
    found = Pairs(reference_R2, 0.3, 0.2)(1, row, [LOGITS, LOGITS[:1]])
    assert float(found) == pytest.approx(float(wanted))
    assert Pairs(reference_R2, 0.3).weight([row, row]) == 2.0
