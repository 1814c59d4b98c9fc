"""The independent side: transformers' and PEFT's own forward, full logits, torch's own gradient.

Nothing here goes through flat batches, the head reducer, an objective or the loop. Shape letters:
N supervised tokens, K those of them that are kept, V vocabulary, B rows and L their longest.
Logits are handed to the CPU, wherever the model computes; gradients are where the weights are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regimen.models.forward import base_of, place_of
from regimen.models.token_rows import matrix_of
from regimen.tokens.rendering import Rendered, RenderedAnswers, RenderedPair
from regimen.verifying.losses import Formula
from regimen.verifying.rows import Row, paths, spread, supervised, targets


@dataclass(frozen=True, slots=True)
class Alone:
    """Every sequence by itself: the loss of all, its gradients by name, and logits.

    ``logits_KV`` are those that predict the supervised tokens with the numbers ``kept_K``.
    """

    loss: float
    gradients: dict[str, Tensor]
    logits_KV: Tensor
    kept_K: Tensor


def logits_of(network: Any, path: Rendered) -> Tensor:
    """Logits that predict the supervised tokens of one sequence, in fp32: (N, V)."""
    ids_1L = torch.tensor([path.ids], device=place_of(network))
    whole: Tensor = network(input_ids=ids_1L, use_cache=False).logits[0].cpu()
    whole_LV = whole[-len(path.ids) :]  # trained positions before the sequence have logits too
    return whole_LV[targets(path)[0]].float()


def kept_places(network: Any, rows: Sequence[Row]) -> Tensor:
    """Numbers of the supervised tokens whose logits are compared: (K)."""
    vocabulary = len(matrix_of(base_of(network).get_output_embeddings()))
    return spread(supervised(rows), vocabulary)


def measure_alone(network: Any, rows: Sequence[Row], formula: Formula) -> Alone:
    """Loss, gradients and logits of rows, each of whose sequences runs by itself."""
    kept_K = kept_places(network, rows)
    learnt = {n: p for n, p in network.named_parameters() if p.requires_grad}
    gradients: dict[str, Tensor] = {}
    loss, weight, start = 0.0, formula.weight(rows), 0
    found: list[Tensor] = []
    with torch.no_grad():
        formula = formula.knowing(rows, lambda row: [logits_of(network, p) for p in paths(row)])
    for number, row in enumerate(rows):
        logits = [logits_of(network, path) for path in paths(row)]
        part = formula(number, row, logits) / weight
        loss += float(part.detach())
        add_gradients(gradients, part, learnt)
        for logits_NV in logits:
            inside = (kept_K >= start) & (kept_K < start + len(logits_NV))
            found.append(logits_NV.detach()[kept_K[inside] - start])
            start += len(logits_NV)
    return Alone(loss, gradients, torch.cat(found), kept_K)


def add_gradients(
    gradients: dict[str, Tensor], loss: Tensor, learnt: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Add the gradients of a loss, by torch alone; what the loss does not reach has none."""
    found = torch.autograd.grad(loss, list(learnt.values()), allow_unused=True)
    for name, gradient in zip(learnt, found, strict=True):
        if gradient is not None:
            before = gradients.get(name)
            gradients[name] = gradient if before is None else before.add_(gradient)
    return gradients


@torch.no_grad()
def logits_alone(network: Any, rows: Sequence[Row], kept_K: Tensor) -> Tensor:
    """Logits of rows, each of whose sequences runs by itself, at the kept places: (K, V)."""
    found, start = [], 0
    for row in rows:
        for path in paths(row):
            inside = (kept_K >= start) & (kept_K < start + path.supervised)
            if inside.any():
                found.append(logits_of(network, path)[kept_K[inside] - start])
            start += path.supervised
    return torch.cat(found)


def padded_loss(network: Any, rows: Sequence[Row]) -> tuple[float, dict[str, Tensor]]:
    """transformers' own mean loss over right-padded sequences, and its gradients by name."""
    sequences = [path for row in rows for path in paths(row)]
    width = max(len(path.ids) for path in sequences)
    ids_BL = torch.zeros(len(sequences), width, dtype=torch.int64)
    mask_BL = torch.zeros_like(ids_BL)
    labels_BL = torch.full_like(ids_BL, -100)
    for line, path in enumerate(sequences):
        ids = torch.tensor(path.ids)
        ids_BL[line, : len(ids)], mask_BL[line, : len(ids)] = ids, 1
        learnt = torch.tensor(path.weights) != 0
        labels_BL[line, : len(ids)][learnt] = ids[learnt]
    given = {"input_ids": ids_BL, "attention_mask": mask_BL, "labels": labels_BL}
    given = {name: tensor.to(place_of(network)) for name, tensor in given.items()}
    loss = network(**given, use_cache=False).loss
    learnt_parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
    return float(loss.detach()), add_gradients({}, loss, learnt_parameters)


@torch.no_grad()
def answer_logps(network: Any, rows: Sequence[RenderedPair | RenderedAnswers]) -> Tensor:
    """Summed log-probabilities (nats) of the answers of rows, one after another: (A,)."""
    found = []
    for row in rows:
        for path in paths(row):
            _, target_N, _ = targets(path)
            logp_NV = logits_of(network, path).log_softmax(-1)
            found.append(logp_NV.gather(1, target_N[:, None]).sum())
    return torch.stack(found)
