"""What a step needs besides its gradients: clipping, and garbage collection with little to do."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def clip(parameters: Sequence[Tensor], bound: float) -> float:
    """Scale gradients down to a total norm of ``bound``, unless that is 0; returns the norm before.

    A norm within the bound costs no second pass over the gradients.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    if bound and norm > bound:
        torch.nn.utils.clip_grads_with_norm_(parameters, bound, torch.tensor(norm))
    return norm


@contextmanager
def collecting_what_is_new() -> Iterator[None]:
    """Leave what exists already out of garbage collection: a model's modules and those of the
    libraries are a million objects, and every full collection would walk over all of them.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
