"""Agreement of raters: raw, Cohen's kappa (weighted too), Fleiss' kappa, Krippendorff's alpha.

All take integer codes of categories in their order, 0 to C - 1; :func:`coded` makes them. NaN says
that a measure is not defined: chance agreement is 1 where nobody ever used a second category.

Shape suffixes: U units, R raters, C categories.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Weights = Literal["nominal", "linear", "quadratic"]
Level = Literal["nominal", "ordinal"]

MISSING = -1


def coded(labels: Sequence[Hashable | None], categories: Sequence[Hashable]) -> Codes:
    """Labels as positions in ``categories``; None is missing.

    Raises:
        ValueError: a label is not among the categories.
    """
    places = {category: place for place, category in enumerate(categories)}
    unknown = {label for label in labels if label is not None and label not in places}
    if unknown:
        raise ValueError(f"labels {sorted(map(repr, unknown))} are not in {list(categories)}")
    return np.asarray([MISSING if x is None else places[x] for x in labels], dtype=np.int64)


def raw_agreement(a_U: Codes, b_U: Codes) -> float:
    """Share of the units rated by both on which both say the same; NaN without any."""
    both_U = (a_U >= 0) & (b_U >= 0)
    return float((a_U[both_U] == b_U[both_U]).mean()) if both_U.any() else float("nan")


def cohen_kappa(a_U: Codes, b_U: Codes, categories: int, *, weights: Weights = "nominal") -> float:
    """1 - observed over expected disagreement of two raters (Cohen 1960; weighted: 1968).

    Args:
        a_U, b_U: codes; units that one of them did not rate are left out.
        categories: their number.
        weights: of a disagreement: 1, the distance of the categories, or its square.
    """
    both_U = (a_U >= 0) & (b_U >= 0)
    if not both_U.any():
        return float("nan")
    counts_CC = np.zeros((categories, categories))
    np.add.at(counts_CC, (a_U[both_U], b_U[both_U]), 1.0)
    share_CC = counts_CC / counts_CC.sum()
    chance_CC = np.outer(share_CC.sum(axis=1), share_CC.sum(axis=0))
    weight_CC = _distance(categories, weights)
    expected = float((weight_CC * chance_CC).sum())
    return 1 - float((weight_CC * share_CC).sum()) / expected if expected else float("nan")


def _distance(categories: int, weights: Weights) -> Floats:
    place_C = np.arange(categories, dtype=np.float64)
    gap_CC = np.abs(place_C[:, None] - place_C[None, :])
    if weights == "nominal":
        return (gap_CC > 0).astype(np.float64)
    return gap_CC if weights == "linear" else gap_CC**2


def fleiss_kappa(codes_UR: Codes, categories: int) -> float:
    """1 - observed over expected disagreement of any number of raters (Fleiss 1971).

    Observed agreement is the mean over units of the share of pairs of raters that agree, expected
    agreement the sum of squares of the categories' shares. It is defined for units with as many
    ratings each: those that every rater rated; others are left out. NaN without any.
    """
    whole_UR = codes_UR[(codes_UR >= 0).all(axis=1)]
    raters = codes_UR.shape[1]
    if not len(whole_UR) or raters < 2:
        return float("nan")
    counts_UC = _counts(whole_UR, categories).astype(np.float64)
    agreed_U = (counts_UC * (counts_UC - 1)).sum(axis=1) / (raters * (raters - 1))
    chance = float(((counts_UC.sum(axis=0) / counts_UC.sum()) ** 2).sum())
    return 1 - (1 - float(agreed_U.mean())) / (1 - chance) if chance < 1 else float("nan")


def krippendorff_alpha(codes_UR: Codes, categories: int, *, level: Level = "nominal") -> float:
    """1 - observed over expected disagreement of any number of raters with missing ratings.

    With the coincidences o_ck = sum over units of n_uc (n_uk - [c = k]) / (n_u - 1), their margins
    n_c and n = sum n_c: alpha = 1 - (n - 1) sum o_ck d_ck / sum n_c n_k d_ck (Krippendorff 2011,
    *Computing Krippendorff's Alpha-Reliability*). ``d`` is 1 for different categories, or, for
    ordinal ones, (sum of n_g from c to k - (n_c + n_k) / 2)^2. A unit with fewer than two ratings
    says nothing about agreement and is left out.
    """
    counts_UC = _counts(codes_UR, categories).astype(np.float64)
    counts_UC = counts_UC[counts_UC.sum(axis=1) >= 2]
    if not len(counts_UC):
        return float("nan")
    scaled_UC = counts_UC / (counts_UC.sum(axis=1, keepdims=True) - 1)
    pairs_CC = counts_UC.T @ scaled_UC - np.diag(scaled_UC.sum(axis=0))
    margin_C = counts_UC.sum(axis=0)
    delta_CC = _delta(margin_C, level)
    expected = float(margin_C @ delta_CC @ margin_C)
    if not expected:
        return float("nan")
    return 1 - (float(margin_C.sum()) - 1) * float((pairs_CC * delta_CC).sum()) / expected


def _counts(codes_UR: Codes, categories: int) -> Codes:
    """How many raters put each unit into each category."""
    return np.stack([(codes_UR == c).sum(axis=1) for c in range(categories)], axis=1)


def _delta(margin_C: Floats, level: Level) -> Floats:
    if level == "nominal":
        return _distance(len(margin_C), "nominal")
    # The sum from c to k minus half of both ends is the distance of the categories' middles.
    middle_C = np.cumsum(margin_C) - margin_C / 2
    return np.asarray((middle_C[:, None] - middle_C[None, :]) ** 2)


def majority(codes_UR: Codes, categories: int) -> Codes:
    """The category that most raters gave, for each unit; missing where several share the lead."""
    counts_UC = _counts(codes_UR, categories)
    most_U = counts_UC.max(axis=1)
    single_U = ((counts_UC == most_U[:, None]).sum(axis=1) == 1) & (most_U > 0)
    found: npt.NDArray[Any] = np.where(single_U, counts_UC.argmax(axis=1), MISSING)
    return found.astype(np.int64)
