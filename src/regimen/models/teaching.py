"""A teacher's next-token distribution against the student's, without full-size logits.

Both projections are computed for a chunk of rows, reduced to a divergence and the gradient of the
student's logits, and dropped. A chunk has 16 rows at least, so that one over a quarter of a million
tokens takes 16 MB for each model; nothing has to be cut over the vocabulary.

Shape letters: N supervised rows, C rows of a chunk, R rows of a tile, V vocabulary, D hidden width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from regimen.models.chunks import HeadGradients, Shape, logits_of, products, tiles
from regimen.models.token_rows import Rows, rows_given


class Projection(Protocol):
    """A vocabulary projection; see ``regimen.models.head.Head``."""

    @property
    def weight_VD(self) -> Tensor:
        """Its weight."""

    @property
    def bias_V(self) -> Tensor | None:
        """Its bias."""

    @property
    def softcap(self) -> float | None:
        """c of c * tanh(x / c), if capped."""

    @property
    def scale(self) -> float:
        """The factor."""

    @property
    def rows(self) -> Rows | None:
        """What stands in the place of some of the weight's rows."""


@dataclass(frozen=True, slots=True)
class Taught:
    """What a teacher says of each target, and how the student is compared with it.

    Args:
        hidden_ND: the teacher's last hidden states at the rows that predict the targets.
        head: the teacher's vocabulary projection.
        beta: 0 is the forward KL divergence KL(teacher || student), 1 the reverse one, between
            them the generalised Jensen-Shannon divergence.
        temperature: what both models' logits are divided by.
    """

    hidden_ND: Tensor
    head: Projection
    beta: float = 0.0
    temperature: float = 1.0


def divergence_rows(
    student_RV: Tensor, teacher_RV: Tensor, beta: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """The divergence of each row in nats, and its gradient by the student's logits: (R,), (R, V).

    With p the teacher's distribution, q the student's, m = beta p + (1 - beta) q (Agarwal et al.
    2024, *On-Policy Distillation of Language Models*, arXiv 2306.13649, eq. 1):

        beta = 0      KL(p || q)
        0 < beta < 1  beta KL(p || m) + (1 - beta) KL(q || m)
        beta = 1      KL(q || p)

    By a logit z_j of the student, with t the temperature and E_q the mean under q, the gradient is
    (q_j - p_j) / t for beta = 0, and c q_j (d_j - E_q d) / t otherwise: d = log(q / m), c = 1 -
    beta, or d = log(q / p), c = 1 for beta = 1.
    """
    log_q = torch.log_softmax(student_RV / temperature, dim=-1)
    log_p = torch.log_softmax(teacher_RV / temperature, dim=-1)
    q = log_q.exp()
    if beta == 0.0:
        p = log_p.exp()
        return (p * (log_p - log_q)).sum(-1), (q - p).div_(temperature)
    if beta == 1.0:
        d = log_q.sub_(log_p)
        mean_R = (q * d).sum(-1)
        return mean_R, d.sub_(mean_R[:, None]).mul_(q).div_(temperature)
    log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    d = log_q.sub_(log_m)
    mean_R = (q * d).sum(-1)
    of_teacher_R = (log_p.exp() * (log_p - log_m)).sum(-1)
    gradient = d.sub_(mean_R[:, None]).mul_(q).mul_((1.0 - beta) / temperature)
    return beta * of_teacher_R + (1.0 - beta) * mean_R, gradient


class WeightedDivergence(torch.autograd.Function):
    """Sum of weight times divergence, with the gradients formed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        values_RD: Tensor | None,
        ids_R: Tensor | None,
        token_weight_N: Tensor,
        taught: Taught,
        shape: Shape,
    ) -> tuple[Tensor, Tensor]:
        """Chunk by chunk, both models' logits together."""
        replaced = rows_given(ids_R, values_RD)
        grads = HeadGradients(hidden_ND, weight_VD, bias_V, replaced, ctx.needs_input_grad[:4])
        out_N = torch.empty(len(hidden_ND), dtype=torch.float32, device=hidden_ND.device)
        head = taught.head
        theirs = Shape(head.softcap, head.scale, shape.chunk, shape.dtype, shape.needs)
        both = zip(
            products(hidden_ND, weight_VD, replaced, shape),
            products(taught.hidden_ND, head.weight_VD, head.rows, theirs),
            strict=True,
        )
        shared = min(len(weight_VD), len(head.weight_VD))  # rows beyond are padding of one of them
        for (chunk, low_CD, product_CV), (_, _, taught_CV) in both:
            for tile in tiles(product_CV):
                rows = slice(chunk.start + tile.start, chunk.start + tile.stop)
                logits = logits_of(product_CV[tile], bias_V, shape)
                teacher = logits_of(taught_CV[tile], head.bias_V, theirs)
                out_N[rows], gradient = divergence_rows(
                    logits[:, :shared], teacher[:, :shared], taught.beta, taught.temperature
                )
                if grads.any:
                    gradient *= token_weight_N[rows, None]
                    if shared < len(weight_VD):
                        gradient = torch.nn.functional.pad(gradient, (0, len(weight_VD) - shared))
                    grads.tile(product_CV[tile], gradient, logits, shape)
            if grads.any:
                grads.chunk(chunk, product_CV, low_CD)
        ctx.grads = grads
        ctx.mark_non_differentiable(out_N)
        return (out_N * token_weight_N).sum(), out_N

    @staticmethod
    def backward(ctx: Any, grad_sum: Tensor, _grad_rows: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients times that of the sum."""
        grads = ctx.grads
        ctx.grads = None
        return (*grads.scaled(grad_sum), None, None, None, None)
