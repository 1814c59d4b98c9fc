"""How far two models are apart in what they predict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from regimen.models.chunks import chunk_rows
from regimen.models.forward import LanguageModel
from regimen.models.head import Head, full_logits
from regimen.tokens.ragged import RaggedBatch


@dataclass(frozen=True, slots=True)
class Divergence:
    """Means over positions, in nats.

    Args:
        kl: KL(first || second) of the next token's distribution.
        first_nll, second_nll: negative log-likelihood of the tokens that are there.
        agree: share of positions at which both hold the same token for the likeliest.
        positions: how many.
    """

    kl: float
    first_nll: float
    second_nll: float
    agree: float
    positions: int


@torch.no_grad()
def divergence(
    first: LanguageModel, second: LanguageModel, batches: Iterable[RaggedBatch]
) -> Divergence:
    """Compare two models of one vocabulary at the supervised positions of some batches.

    Logits are formed for a few positions at a time. Both models are in eval mode meanwhile.

    Raises:
        ValueError: no batch has a supervised position.
    """
    modes = [(it.model, it.model.training) for it in (first, second)]
    sums = torch.zeros(4, dtype=torch.float64)
    count = 0
    try:
        for network, _ in modes:
            network.eval()
        for given in batches:
            batch = given.to(first.device)
            one, other = (
                it.hidden(batch, batch.source_row_N)[batch.source_row_N] for it in (first, second)
            )
            heads = first.head(), second.head()
            rows = chunk_rows(heads[0].weight_VD.shape[0])
            for start in range(0, len(one), rows):
                cut = slice(start, start + rows)
                sums += _sums(one[cut], other[cut], heads, batch.target_N[cut])
            count += len(one)
    finally:
        for network, mode in modes:
            network.train(mode)
    if not count:
        raise ValueError("there is no supervised position to compare two models at")
    kl, first_nll, second_nll, agree = (sums / count).tolist()
    return Divergence(max(0.0, kl), first_nll, second_nll, agree, count)


def _sums(one_ND: Tensor, other_ND: Tensor, heads: tuple[Head, Head], target_N: Tensor) -> Tensor:
    """Sums of the four over some positions."""
    first_NV, second_NV = (
        torch.log_softmax(full_logits(hidden_ND.float(), head, torch.float32), dim=-1)
        for hidden_ND, head in ((one_ND, heads[0]), (other_ND, heads[1]))
    )
    kl_N = (first_NV.exp() * (first_NV - second_NV)).sum(-1)
    picked = [-values.gather(1, target_N[:, None]).sum() for values in (first_NV, second_NV)]
    agree = (first_NV.argmax(-1) == second_NV.argmax(-1)).sum()
    return torch.stack([kl_N.sum(), *picked, agree]).double().cpu()
