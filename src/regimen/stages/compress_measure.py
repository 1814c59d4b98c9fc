"""What a rounded model says beside the full one, on held-out text: divergence and bits per byte.

Shape letters: N predicted tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regimen.evaluation.retention import Loss, bits_per_byte
from regimen.evaluation.statistics import Interval, clustered_mean
from regimen.models.forward import LanguageModel
from regimen.models.head import Head, full_logits
from regimen.tokens.packing import packing_plan
from regimen.tokens.ragged import RaggedBatch, ragged_batch
from regimen.tokens.rendering import Rendered, Renderer
from regimen.tokens.store import TokenRows, token_rows

TOKENS = 2048
"""Tokens that go through both models at once."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Text as rows of tokens: ``owner[row]`` is the document that a row is of."""

    rows: TokenRows
    owner: tuple[int, ...]
    sizes: tuple[int, ...]
    """UTF-8 bytes of each document."""

    @staticmethod
    def of(texts: Sequence[str], renderer: Renderer, length: int) -> HeldOut:
        """Documents in pieces of at most ``length`` tokens; each token but a piece's first counts.

        A document of one token, of which nothing is predicted, is left out.
        """
        pieces: list[Rendered] = []
        owner: list[int] = []
        sizes: list[int] = []
        kept = [
            (text, row)
            for text, row in zip(texts, renderer.documents(texts), strict=True)
            if len(row.ids) > 1
        ]
        for number, (text, row) in enumerate(kept):
            sizes.append(len(text.encode()))
            for start in range(0, len(row.ids), length):
                ids = row.ids[start : start + length]
                pieces.append(Rendered(ids, (0.0, *([1.0] * (len(ids) - 1)))))
                owner.append(number)
        return HeldOut(token_rows(pieces), tuple(owner), tuple(sizes))


@dataclass(frozen=True, slots=True)
class Reference:
    """What the full model makes of held-out text: its head, and its states batch by batch.

    Logits are formed from the states again, as those of all tokens would take too much memory.
    """

    held_out: HeldOut
    batches: tuple[RaggedBatch, ...]
    states: tuple[Tensor, ...]
    head: Head
    bf16: bool

    @staticmethod
    def of(full: LanguageModel, held_out: HeldOut, *, bf16: bool = False) -> Reference:
        """Read the text with the full model."""
        rows = held_out.rows
        plan = packing_plan(rows.lengths, seed=0, epoch=0, token_budget=TOKENS, shuffle=False)
        batches = tuple(ragged_batch(rows.segments(numbers)) for numbers in plan)
        states = tuple(_states(full, batch, bf16) for batch in batches)
        return Reference(held_out, batches, states, full.head(), bf16)


@dataclass(frozen=True, slots=True)
class Compared:
    """Mean KL divergence from the full model (nats per token), and bits per byte of the model."""

    divergence: Interval
    bits_per_byte: Interval
    same_token: float
    """Share of tokens at which both models find the same one the likeliest."""
    documents: tuple[Mapping[str, float], ...]
    """Of each document: ``tokens`` that are predicted, ``bytes``, ``kl`` and ``nll`` (nats, sums
    over the tokens)."""

    def to_json(self) -> dict[str, Any]:
        """Values with their 95% intervals, clustered by document."""
        return {
            "kl": _told(self.divergence),
            "bits_per_byte": _told(self.bits_per_byte),
            "same_token": self.same_token,
        }


def _told(interval: Interval) -> dict[str, float | None]:
    return {"value": interval.estimate, "low": interval.low, "high": interval.high}


def compared(reference: Reference, other: LanguageModel) -> Compared:
    """Read the text with another model.

    KL(p || q) with p of the full model, summed over the whole vocabulary at every token.
    """
    held_out = reference.held_out
    count = len(held_out.sizes)
    divergence, nll, tokens = (torch.zeros(count, dtype=torch.float64) for _ in range(3))
    same = 0
    for owner_N, kl_N, nll_N, same_N in _batches(reference, other):
        divergence.index_add_(0, owner_N, kl_N.double())
        nll.index_add_(0, owner_N, nll_N.double())
        tokens.index_add_(0, owner_N, torch.ones_like(kl_N, dtype=torch.float64))
        same += int(same_N.sum())
    names = [str(number) for number in range(count)]
    return Compared(
        clustered_mean(divergence.tolist(), names, sizes=tokens.tolist()),
        bits_per_byte(
            [Loss(nll=n, size=s) for n, s in zip(nll.tolist(), held_out.sizes, strict=True)]
        ),
        same / max(int(tokens.sum()), 1),
        tuple(
            {"tokens": t, "bytes": b, "kl": k, "nll": n}
            for t, b, k, n in zip(
                tokens.tolist(), held_out.sizes, divergence.tolist(), nll.tolist(), strict=True
            )
        ),
    )


@torch.inference_mode()
def _batches(
    reference: Reference, other: LanguageModel
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Documents, divergences, losses of the other model, and agreement of some tokens: (N,)."""
    owners = torch.tensor(reference.held_out.owner)
    for given, states_ND in zip(reference.batches, reference.states, strict=True):
        batch = given.to(other.device)
        ours_NV = _logps(states_ND, reference.head)
        theirs_NV = _logps(_states(other, batch, reference.bf16), other.head())
        kl_N = (ours_NV.exp() * (ours_NV - theirs_NV)).sum(-1)
        nll_N = -theirs_NV.gather(1, batch.target_N[:, None])[:, 0]
        row_N = torch.tensor(batch.instance_S)[given.target_segment_N]
        alike_N = ours_NV.argmax(-1) == theirs_NV.argmax(-1)
        yield owners[row_N], kl_N.cpu(), nll_N.cpu(), alike_N.cpu()


@torch.inference_mode()
def _states(model: LanguageModel, batch: RaggedBatch, bf16: bool) -> Tensor:
    """Hidden states from which tokens are predicted: (N, D)."""
    batch = batch.to(model.device)
    with torch.autocast(batch.ids_T.device.type, dtype=torch.bfloat16, enabled=bf16):
        hidden_TD = model.hidden(batch, batch.source_row_N)
    return hidden_TD[batch.source_row_N]


def _logps(states_ND: Tensor, head: Head) -> Tensor:
    """Log-probabilities over the vocabulary: (N, V)."""
    return full_logits(states_ND, head, head.weight_VD.dtype).float().log_softmax(-1)
