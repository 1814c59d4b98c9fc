"""Did anything change at all, and which items did.

The most frequent question after a fine-tuning is not how much better the model is but whether
anything happened. So this is the first block of an evaluation, and "nothing" is an error with its
likely causes instead of a table of equal scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from regimen.errors import EvaluationError
from regimen.evaluation.statistics import mcnemar

Bucket = Literal["regressed", "fixed", "still_wrong", "still_right"]
# The order in which a reader should see them.
BUCKETS: tuple[Bucket, ...] = ("regressed", "fixed", "still_wrong", "still_right")

# Below this mean |change of log-probability| (nats) two models are the same up to rounding.
SAME_LOGP = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was measured on the weights and the log-probabilities before any item was scored.

    Args:
        adapter_tensors: tensors of the adapter that were loaded; 0 for a full fine-tuning.
        mean_abs_delta_logp: mean |log p_after - log p_before| in nats over the tokens of some
            prompts.
        before, after: names of the two systems whose answers are compared; they must be asked
            in the same way.
    """

    adapter_tensors: int
    mean_abs_delta_logp: float
    before: str = "base"
    after: str = "tuned"


def changed(
    base_answers: Mapping[str, str],
    tuned_answers: Mapping[str, str],
    adapter_tensors: int,
    mean_abs_delta_logp: float,
) -> dict[str, int | float]:
    """The ``changed`` block: answers by item id before and after, tensors, log-probabilities.

    Returns:
        ``adapter_tensors``, ``answers_compared``, ``answers_differing``, ``share_differing`` and
        ``mean_abs_delta_logp`` (nats).

    Raises:
        EvaluationError: ``nothing-changed``; ``change-not-finite``.
        ValueError: the two sets of answers are not for the same items, or are empty.
    """
    if not base_answers or base_answers.keys() != tuned_answers.keys():
        raise ValueError("both systems must have answered the same items, at least one")
    if not math.isfinite(mean_abs_delta_logp) or mean_abs_delta_logp < 0:
        raise EvaluationError(
            "The log-probabilities of the tuned model cannot be compared with the base's.",
            slug="change-not-finite",
            got=f"mean |change of log-probability| = {mean_abs_delta_logp}",
            expected="a finite number, 0 or more",
            fix="Look at metrics.jsonl: the loss was probably not finite. Lower the learning "
            "rate, or choose an earlier checkpoint.",
        )
    differing = sum(base_answers[key] != tuned_answers[key] for key in base_answers)
    if differing == 0 and mean_abs_delta_logp < SAME_LOGP:
        raise _nothing_changed(len(base_answers), adapter_tensors, mean_abs_delta_logp)
    return {
        "adapter_tensors": adapter_tensors,
        "answers_compared": len(base_answers),
        "answers_differing": differing,
        "share_differing": differing / len(base_answers),
        "mean_abs_delta_logp": mean_abs_delta_logp,
    }


def _nothing_changed(answers: int, tensors: int, delta: float) -> EvaluationError:
    """The error, likeliest cause first."""
    causes = [
        "a template mismatch (the model is asked in another format than it was tuned on)",
        "a learning rate of 0 or far too small",
        "the wrong checkpoint (the base itself, or step 0)",
    ]
    adapter = "the adapter was not loaded" if tensors == 0 else "the adapter's weights are all 0"
    causes.insert(0 if tensors == 0 else len(causes), adapter)
    return EvaluationError(
        "The tuned model is the base: nothing changed, so there is nothing to score.",
        slug="nothing-changed",
        got=f"0 of {answers} answers differ, mean |change of log-probability| = {delta:.1e} "
        f"nats, {tensors} adapter tensors loaded",
        expected=f"an answer that differs, or a mean change of {SAME_LOGP:.0e} nats or more",
        fix="Likely causes: " + "; ".join(causes) + ". Check the learning_rate and grad_norm in "
        "metrics.jsonl and the checkpoint that is evaluated.",
    )


def bucket(before: float, after: float, *, right_at: float = 1.0) -> Bucket:
    """Which of the four an item belongs to; it is right with a score of ``right_at`` or more."""
    if after >= right_at:
        return "still_right" if before >= right_at else "fixed"
    return "regressed" if before >= right_at else "still_wrong"


def bucket_counts(
    before: Sequence[float], after: Sequence[float], *, right_at: float = 1.0
) -> dict[str, int | float]:
    """Items per bucket, regressed first, and McNemar's exact and mid-p values.

    McNemar takes the items as independent: it describes this set of items; the verdict about
    other tasks is the clustered interval's.
    """
    counts: dict[str, int] = dict.fromkeys(BUCKETS, 0)
    for old, new in zip(before, after, strict=True):
        counts[bucket(old, new, right_at=right_at)] += 1
    test = mcnemar(counts["regressed"], counts["fixed"])
    return {**counts, "mcnemar_p": test.exact, "mcnemar_mid_p": test.mid_p}
