"""Logistic regression on outcomes in 0..1 by Newton's method, for preferences.

Shape suffixes: N rows, P parameters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RIDGE = 1e-2
STEPS, CLOSE = 100, 1e-10


def fit_logistic(x_NP: Floats, y_N: Floats, *, ridge: float = RIDGE) -> Floats:
    """Parameters that maximise sum y log p + (1 - y) log (1 - p) - ridge / 2 * |b|^2.

    The ridge keeps the parameters finite where a feature decides every outcome; on other data it
    changes them by far less than their error. A step that does not improve is halved.

    Args:
        x_NP: the features.
        y_N: outcomes in 0..1; a tie is 0.5.
        ridge: the penalty.
    """
    b_P = np.zeros(x_NP.shape[1])
    value = _objective(x_NP, y_N, b_P, ridge)
    for _ in range(STEPS):
        p_N = sigmoid(x_NP @ b_P)
        slope_P = x_NP.T @ (y_N - p_N) - ridge * b_P
        curve_PP = (x_NP.T * (p_N * (1 - p_N))) @ x_NP + ridge * np.eye(len(b_P))
        step_P = np.linalg.solve(curve_PP, slope_P)
        size = 1.0
        while (new := _objective(x_NP, y_N, b_P + size * step_P, ridge)) < value and size > CLOSE:
            size /= 2
        b_P, value = b_P + size * step_P, new
        if float(np.abs(size * step_P).max(initial=0.0)) < CLOSE:
            break
    return b_P


def _objective(x_NP: Floats, y_N: Floats, b_P: Floats, ridge: float) -> float:
    eta_N = x_NP @ b_P
    return float((y_N * eta_N - np.logaddexp(0.0, eta_N)).sum() - ridge / 2 * (b_P @ b_P))


def sigmoid(eta: Floats) -> Floats:
    """1 / (1 + exp(-eta)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -eta)))
