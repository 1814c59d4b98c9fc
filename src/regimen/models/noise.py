"""Noise on input embeddings while tuning (NEFTune: Jain et al. 2023, arXiv 2310.05914)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from regimen.tokens.ragged import Plan, RaggedBatch


@contextmanager
def embedding_noise(embedding: torch.nn.Module, batch: RaggedBatch, alpha: float) -> Iterator[None]:
    """Inside, noise from Uniform(-1, 1) * alpha / sqrt(L * D) is added to embeddings (algorithm 1).

    L is the length of the sequence that a token stands in, without padding: a segment with what it
    continues. D is the width. It comes from torch's own generator. Nothing happens for alpha 0.
    """
    if not alpha:
        yield
        return
    plan = batch.plan

    def add(_module: torch.nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        rows = _lengths(plan, output.shape[:-1]).to(output.device)
        size = alpha / (rows * output.shape[-1]).sqrt()
        return output + torch.empty_like(output).uniform_(-1, 1) * size[..., None].to(output.dtype)

    handle = embedding.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def _lengths(plan: Plan, shape: torch.Size) -> Tensor:
    """The length of each token's sequence, for a flat batch (1, T) or padded rows (B, L)."""
    paths = [sum(plan.lengths[s] for s in plan.path(i)) for i in range(len(plan.lengths))]
    if shape == (1, sum(plan.lengths)):
        flat = torch.repeat_interleave(torch.tensor(paths), torch.tensor(plan.lengths))
        return flat[None].float()
    return torch.tensor([paths[leaf] for leaf in plan.leaves()])[:, None].expand(shape).float()
