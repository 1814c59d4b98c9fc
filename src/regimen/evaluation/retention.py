"""Retention: does the tuned model still predict plain text as well as its base.

Bits per byte, sum of -log2 p over the number of UTF-8 bytes, is comparable between models with
different tokenizers. The documents are what was sampled, so intervals are clustered by document.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regimen.errors import EvaluationError
from regimen.evaluation.comparisons import adjusted_cells
from regimen.evaluation.margins import RETENTION_MARGIN, decide
from regimen.evaluation.statistics import Interval, clustered_mean, paired_difference
from regimen.evaluation.summaries import Pair, default_pairs, pair_name, paired_json

# Sum of the negative log-likelihood of every token of each document, in nats.
DocumentLoss = Callable[[Sequence[str]], Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Loss of one document: ``nll`` in nats, summed over its tokens, and its UTF-8 bytes."""

    nll: float
    size: int


def bits_per_byte(losses: Sequence[Loss], clusters: Sequence[str] | None = None) -> Interval:
    """Total bits over total bytes, with an interval clustered by document.

    Args:
        losses: one per document, finite and of at least one byte.
        clusters: what groups the documents where they are not the unit (pieces of one book).

    Raises:
        ValueError: no documents, a loss that is not finite, a document of 0 bytes.
    """
    return clustered_mean(
        [loss.nll / math.log(2) for loss in losses],
        _clusters(losses, clusters),
        sizes=[loss.size for loss in losses],
    )


def retention(
    documents: Sequence[str],
    models: Mapping[str, DocumentLoss],
    *,
    clusters: Sequence[str] | None = None,
    pairs: Sequence[Pair] | None = None,
    seeds: int = 1,
) -> dict[str, Any]:
    """Bits per byte of every model on the same documents, and their paired differences.

    A document that is empty, or whose loss is not finite under one of the models, is left out for
    all of them and counted.

    Args:
        documents: plain text that no model was tuned on.
        models: by name, the loss of documents; asked once, with all documents that have text.
        clusters: the unit of each document, itself by default.
        pairs: (a, b) for a minus b; :func:`~regimen.evaluation.summaries.default_pairs` without.
        seeds: training seeds behind the models.

    Returns:
        ``{"documents", "bytes", "empty", "failed", "systems": {name: {"bits_per_byte", "low",
        "high"}}, "paired": {"tuned-base": {..., "verdict", "relative", "margin",
        "noninferior"}}}``; "better" means fewer bits. ``relative`` is the difference and its
        interval as shares of the second's bits, whose own error is small beside it;
        ``noninferior`` says whether that is at most ``margin``, 5%: pass, fail or cannot tell.

    Raises:
        EvaluationError: ``no-documents``; ``loss-not-finite`` where no document is left.
        ValueError: a model that does not give one loss per document.
    """
    full = [position for position, text in enumerate(documents) if text]
    if not full:
        raise EvaluationError(
            "There is no text to measure retention on.",
            slug="no-documents",
            got=f"{len(documents)} documents, all empty" if documents else "0 documents",
            expected="one document with text or more; 10 or more for a verdict",
            fix="Name a file of plain text in the evaluate stage's retention settings.",
        )
    losses = {name: _losses(name, model, documents, full) for name, model in models.items()}
    kept = [
        place
        for place in range(len(full))
        if all(math.isfinite(given[place].nll) for given in losses.values())
    ]
    if not kept:
        raise _not_finite(losses)
    losses = {name: [given[place] for place in kept] for name, given in losses.items()}
    units = [str(full[place]) if clusters is None else clusters[full[place]] for place in kept]
    return {
        "documents": len(kept),
        "bytes": sum(len(documents[full[place]].encode()) for place in kept),
        "empty": len(documents) - len(full),
        "failed": len(full) - len(kept),
        "systems": {name: _system(given, units) for name, given in losses.items()},
        "paired": {
            pair_name((a, b)): _paired(losses[a], losses[b], units, seeds)
            for a, b in (default_pairs(list(models)) if pairs is None else pairs)
        },
    }


def retention_panel(
    texts: Mapping[str, Sequence[str]],
    models: Mapping[str, DocumentLoss],
    *,
    pairs: Sequence[Pair] | None = None,
    seeds: int = 1,
) -> dict[str, Any]:
    """Retention on several texts by name, such as languages or fields.

    Args:
        texts: documents by the name of their text.
        models: by name, the loss of documents; asked once, with the documents of all texts.
        pairs, seeds: as in :func:`retention`.

    Returns:
        What :func:`retention` gives for all documents together, and ``"texts"``: the same for
        each text, whose verdicts are a family of comparisons
        (:mod:`regimen.evaluation.comparisons`); non-inferiority has to hold for each by itself.

    Raises:
        EvaluationError: as :func:`retention`, for any of the texts.
    """
    everything = [text for documents in texts.values() for text in documents]
    known = {name: _remembered(name, model, everything) for name, model in models.items()}
    whole = retention(everything, known, pairs=pairs, seeds=seeds)
    blocks = {
        name: retention(documents, known, pairs=pairs, seeds=seeds)
        for name, documents in texts.items()
    }
    return {**whole, "texts": adjusted_cells(blocks)}


def _remembered(name: str, model: DocumentLoss, texts: Sequence[str]) -> DocumentLoss:
    """A model that was asked about every text that is not empty, each once."""
    distinct = list(dict.fromkeys(text for text in texts if text))
    nlls = model(distinct)
    if len(nlls) != len(distinct):
        raise ValueError(f"{name} gave {len(nlls)} losses for {len(distinct)} documents")
    known = dict(zip(distinct, nlls, strict=True))
    return lambda given: [known[text] for text in given]


def _losses(
    name: str, model: DocumentLoss, documents: Sequence[str], full: Sequence[int]
) -> list[Loss]:
    """The model's loss of each document with text."""
    texts = [documents[position] for position in full]
    nlls = model(texts)
    if len(nlls) != len(texts):
        raise ValueError(f"{name} gave {len(nlls)} losses for {len(texts)} documents")
    return [
        Loss(nll=float(nll), size=len(text.encode())) for nll, text in zip(nlls, texts, strict=True)
    ]


def _clusters(losses: Sequence[Loss], clusters: Sequence[str] | None) -> Sequence[str]:
    """The given clusters, or each document alone."""
    return [str(position) for position in range(len(losses))] if clusters is None else clusters


def _system(losses: Sequence[Loss], units: Sequence[str]) -> dict[str, float | None]:
    """One model's entry."""
    interval = bits_per_byte(losses, units)
    return {"bits_per_byte": interval.estimate, "low": interval.low, "high": interval.high}


def _paired(
    a: Sequence[Loss], b: Sequence[Loss], units: Sequence[str], seeds: int
) -> dict[str, Any]:
    """Paired difference in bits per byte, fewer being better, and whether it is small enough."""
    entry = paired_json(
        paired_difference(
            [loss.nll / math.log(2) for loss in a],
            [loss.nll / math.log(2) for loss in b],
            units,
            sizes=[loss.size for loss in a],
            lower_is_better=True,
            seeds=seeds,
        )
    )
    base = bits_per_byte(b, units).estimate
    relative = {
        key: entry[key] / base if base and entry[key] is not None else None
        for key in ("difference", "low", "high")
    }
    ends = relative["low"], relative["high"]
    found = decide(*ends, entry["clusters"], RETENTION_MARGIN, at_most=True)
    return {
        **entry,
        "relative": relative,
        "margin": RETENTION_MARGIN,
        "noninferior": found.outcome,
    }


def _not_finite(losses: Mapping[str, Sequence[Loss]]) -> EvaluationError:
    """The error where not one document has a finite loss under every model."""
    counts = ", ".join(
        f"{name}: {sum(not math.isfinite(loss.nll) for loss in given)} of {len(given)}"
        for name, given in losses.items()
    )
    return EvaluationError(
        "No document has a finite loss under every model.",
        slug="loss-not-finite",
        got=f"losses that are not finite: {counts}",
        expected="a finite negative log-likelihood in nats",
        fix="Look at metrics.jsonl: training probably diverged; lower the learning rate.",
    )
