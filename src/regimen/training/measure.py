"""Log-probabilities of given rows under a model, without gradients: references and evaluation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from regimen.models.forward import LanguageModel
from regimen.models.head import Reduced, reduce
from regimen.tokens.packing import packing_plan
from regimen.tokens.ragged import RaggedBatch, Segment, ragged_batch
from regimen.tokens.sharing import RenderedShared
from regimen.tokens.store import TokenRows


def measured_batches(
    model: LanguageModel, rows: TokenRows, *, tokens_per_batch: int, bf16: bool
) -> Iterator[tuple[tuple[int, ...], RaggedBatch, Tensor]]:
    """Row numbers, batch and log-probabilities (nats) of its targets, in the order of the rows.

    Both are on the CPU.

    The model is in eval mode meanwhile: dropout must reach neither a reference nor a score.
    """
    plan = packing_plan(rows.lengths, seed=0, epoch=0, token_budget=tokens_per_batch, shuffle=False)
    with _measuring(model):
        for numbers in plan:
            batch = ragged_batch(rows.segments(numbers))
            logp_N = _reduced(model, batch, {"logp"}, bf16).logp_N
            assert logp_N is not None
            yield numbers, batch, logp_N.cpu()


def measured_scores(
    model: LanguageModel, rows: TokenRows, *, tokens_per_batch: int, bf16: bool = False
) -> list[Tensor]:
    """The scores at the marks of each scored row, on the CPU: one (marks, scores) for each row.

    A prompt is read once for all its answers. The model is in eval mode meanwhile.
    """
    plan = packing_plan(rows.lengths, seed=0, epoch=0, token_budget=tokens_per_batch, shuffle=False)
    found: list[Tensor] = [torch.zeros(0)] * len(rows)
    with _measuring(model):
        for numbers in plan:
            batch = ragged_batch(rows.segments(numbers))
            score_NH = _reduced(model, batch, {"scores"}, bf16).score_NH
            assert score_NH is not None
            row_N = torch.tensor(batch.instance_S)[batch.target_segment_N]
            for number in numbers:
                found[number] = score_NH.cpu()[row_N == number]
    return found


@dataclass(frozen=True, slots=True)
class Continued:
    """The log-probability (nats) of a continuation, its tokens, whether each was the likeliest."""

    logp: float
    tokens: int
    greedy: bool


def continuation_logps(
    model: LanguageModel,
    rows: Sequence[RenderedShared],
    *,
    bf16: bool,
    tokens_per_batch: int = 8192,
) -> list[tuple[Continued, ...]]:
    """For each row, the continuations of its prefix, every token of them counted.

    The prefix is read once for all its continuations, and the last token of a continuation, which
    predicts nothing, is not read at all: continuations of one token cost nothing beside it. (A
    model without flat batches reads the prefix once for each longer continuation.)

    Args:
        model: a prepared model; it is in eval mode meanwhile.
        rows: prefixes of one token or more, continuations of one token or more. Their weights
            are not looked at.
        bf16: autocast to bf16.
        tokens_per_batch: tokens that the model reads at once; a longer row goes alone.

    Raises:
        ValueError: an empty prefix or continuation.
    """
    if any(not row.prefix or any(not rest.ids for rest in row.rests) for row in rows):
        raise ValueError("a prefix and its continuations have one token or more each")
    lengths = [len(row.prefix) + sum(len(rest.ids) - 1 for rest in row.rests) for row in rows]
    plan = packing_plan(lengths, seed=0, epoch=0, token_budget=tokens_per_batch, shuffle=False)
    found: list[tuple[Continued, ...]] = [()] * len(rows)
    with _measuring(model):
        for numbers in plan:
            picked = [row for row in numbers if rows[row].rests]
            if not picked:
                continue
            batch, sizes = _continuing([rows[row] for row in picked])
            out = _reduced(model, batch, {"logp", "greedy"}, bf16)
            each = _pieces(out, sizes)
            start = 0
            for row in picked:
                found[row] = tuple(each[start : start + len(rows[row].rests)])
                start += len(rows[row].rests)
    return found


def _pieces(out: Reduced, sizes: Sequence[int]) -> list[Continued]:
    """The targets' statistics cut into continuations."""
    assert out.logp_N is not None
    assert out.greedy_N is not None
    logps, greedy = out.logp_N.double().tolist(), out.greedy_N.tolist()
    ends = list(accumulate(sizes))
    cuts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return [Continued(sum(logps[c]), c.stop - c.start, all(greedy[c])) for c in cuts]


def _continuing(rows: Sequence[RenderedShared]) -> tuple[RaggedBatch, list[int]]:
    """The batch whose targets are the continuations, in order, and the tokens of each of them."""
    segments: list[Segment] = []
    sources: list[tuple[int, int]] = []  # for each continuation, its prefix and its own segment
    for number, row in enumerate(rows):
        prefix = len(segments)
        segments.append(Segment(row.prefix, [0.0] * len(row.prefix), -1, number))
        for rest in row.rests:
            sources.append((prefix, len(segments)))
            if len(rest.ids) > 1:
                segments.append(Segment(rest.ids[:-1], [0.0] * (len(rest.ids) - 1), prefix, number))
    batch = ragged_batch(segments)
    ends = list(accumulate(batch.plan.lengths))
    rests = [rest.ids for row in rows for rest in row.rests]
    source_rows = [
        [ends[prefix] - 1, *(ends[own - 1] + i for i in range(len(ids) - 1))]
        for (prefix, own), ids in zip(sources, rests, strict=True)
    ]
    owners = [
        [prefix, *[own] * (len(ids) - 1)] for (prefix, own), ids in zip(sources, rests, strict=True)
    ]
    return replace(
        batch,
        target_N=torch.tensor([i for ids in rests for i in ids]),
        source_row_N=torch.tensor([i for each in source_rows for i in each]),
        weight_N=torch.ones(sum(map(len, rests))),
        target_segment_N=torch.tensor([i for each in owners for i in each]),
    ), [len(ids) for ids in rests]


@contextmanager
def _measuring(model: LanguageModel) -> Iterator[None]:
    """The model in eval mode, and back."""
    training = model.model.training
    model.model.eval()
    try:
        yield
    finally:
        model.model.train(training)


@torch.no_grad()
def _reduced(
    model: LanguageModel, batch: RaggedBatch, needs: Collection[str], bf16: bool
) -> Reduced:
    """What the head reducer says of a batch's targets, on the model's device."""
    batch = batch.to(model.device)
    with torch.autocast(batch.ids_T.device.type, dtype=torch.bfloat16, enabled=bf16):
        return reduce(
            model.hidden(batch, batch.source_row_N),
            model.head(),
            batch.source_row_N,
            batch.target_N,
            needs,
            dtype=torch.bfloat16 if bf16 else None,
        )


def mean_nll(model: LanguageModel, rows: TokenRows, *, tokens_per_batch: int, bf16: bool) -> float:
    """Weighted mean negative log-likelihood of the supervised tokens, in nats."""
    total = weight = 0.0
    measured = measured_batches(model, rows, tokens_per_batch=tokens_per_batch, bf16=bf16)
    for _, batch, logp_N in measured:
        total -= float((batch.weight_N * logp_N).sum())
        weight += float(batch.weight_N.sum())
    return total / weight
