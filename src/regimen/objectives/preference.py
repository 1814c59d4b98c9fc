"""Preference objectives over pairs, with a reference: prefer one answer to another.

Throughout, u = log pi(y|x) - log ref(y|x) is an answer's log-ratio, w the chosen and l the rejected
answer, and s the logistic function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.objectives.answers import Answers, Unit, pairs_of

Divergence = Literal["reverse_kl", "forward_kl", "js", "alpha"]
OffsetScale = Literal["log", "identity"]

MOST_EXPONENT = 80.0
"""Larger exponents overflow fp32."""


def divergence_scores(ratio_A: Tensor, divergence: Divergence, alpha: float) -> Tensor:
    """f'(t) for the likelihood ratio t = exp(ratio) (Wang et al. 2023, arXiv 2309.16240).

    Up to a constant, which a difference of scores does not see: log t for ``reverse_kl`` (plain
    DPO), -1/t for ``forward_kl``, log(2t / (1 + t)) for ``js`` and (1 - t^-alpha) / alpha for
    ``alpha`` in (0, 1), which lies between reverse (0) and forward KL (1).
    """
    if divergence == "reverse_kl":
        return ratio_A
    if divergence == "js":
        return F.logsigmoid(ratio_A)
    power = 1.0 if divergence == "forward_kl" else alpha
    return -torch.exp((-power * ratio_A).clamp_max(MOST_EXPONENT)) / power


def logistic(margin_B: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-log s(m), or the mean over both orders where the labels are flipped with probability e."""
    e = label_smoothing
    return -(1 - e) * F.logsigmoid(margin_B) - e * F.logsigmoid(-margin_B)


@dataclass(frozen=True, slots=True)
class Dpo:
    """Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290, eq. 7).

    loss = -log s(beta * (u_w - u_l)).

    ``label_smoothing`` e is conservative DPO: the pair is taken to be swapped with probability e
    (Mitchell 2023, eq. 3). ``divergence`` puts f'(exp u) in place of u; see ``divergence_scores``.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"dpo": "rows"}

    beta: float = 0.1
    label_smoothing: float = 0.0
    divergence: Divergence = "reverse_kl"
    alpha: float = 0.5

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair."""
        scores_A = divergence_scores(answers.ratio_A, self.divergence, self.alpha)
        chosen_B, rejected_B = pairs_of(scores_A)
        return {"dpo": logistic(self.beta * (chosen_B - rejected_B), self.label_smoothing)}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A


@dataclass(frozen=True, slots=True)
class Odpo:
    """DPO with an offset (Amini et al. 2024, arXiv 2402.10571).

    loss = -log s(beta * (u_w - u_l) - offset_weight * f(m)), with m > 0 by how much the chosen
    answer is better: the difference of the answers' scores, here the margin of the pair. f is the
    natural logarithm (``log``, as in the paper's experiments and code) or the identity, which also
    takes m = 0. The paper calls the weight alpha, and the weighted f(m) the offset. By ``log`` a
    margin of 1 has none, and a smaller one a negative offset.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"odpo": "rows"}

    beta: float = 0.1
    offset_weight: float = 1.0
    offset_scale: OffsetScale = "log"

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair."""
        chosen_B, rejected_B = pairs_of(answers.ratio_A)
        better_B, worse_B = pairs_of(answers.score_A)
        margin_B = (better_B - worse_B).to(chosen_B.dtype)
        scaled_B = margin_B.log() if self.offset_scale == "log" else margin_B
        return {
            "odpo": logistic(self.beta * (chosen_B - rejected_B) - self.offset_weight * scaled_B)
        }

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A


@dataclass(frozen=True, slots=True)
class DpoNorm:
    """Length-normalised DPO (Lambert et al. 2024, *Tulu 3*, arXiv 2411.15124).

    loss = -log s(beta * (u_w / |y_w| - u_l / |y_l|)), with |y| the tokens of an answer.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"dpo_norm": "rows"}

    beta: float = 5.0
    label_smoothing: float = 0.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair."""
        chosen_B, rejected_B = pairs_of(answers.ratio_A / answers.tokens_A)
        return {"dpo_norm": logistic(self.beta * (chosen_B - rejected_B), self.label_smoothing)}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u / |y|."""
        return self.beta * answers.ratio_A / answers.tokens_A


@dataclass(frozen=True, slots=True)
class Ipo:
    """Identity preference optimisation (Azar et al. 2023, arXiv 2310.12036, eq. 17).

    loss = (u_w - u_l - 1 / (2 beta))^2.

    With ``length_normalised`` u is divided by the answer's tokens, as the paper's authors computed
    it and TRL does; otherwise it is the sum, as the equation has it.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"ipo": "rows"}

    beta: float = 0.1
    length_normalised: bool = True

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair."""
        ratio_A = answers.ratio_A
        chosen_B, rejected_B = pairs_of(
            ratio_A / answers.tokens_A if self.length_normalised else ratio_A
        )
        return {"ipo": (chosen_B - rejected_B - 1 / (2 * self.beta)).square()}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A


@dataclass(frozen=True, slots=True)
class Hinge:
    """Hinge loss on the margin of DPO (Liu et al. 2023, *RSO*, arXiv 2309.06657).

    loss = max(0, 1 - beta * (u_w - u_l)).
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"hinge": "rows"}

    beta: float = 0.1
    divergence: Divergence = "reverse_kl"
    alpha: float = 0.5

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair."""
        scores_A = divergence_scores(answers.ratio_A, self.divergence, self.alpha)
        chosen_B, rejected_B = pairs_of(scores_A)
        return {"hinge": (1 - self.beta * (chosen_B - rejected_B)).relu()}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A


@dataclass(frozen=True, slots=True)
class Robust:
    """Provably robust DPO (Ray Chowdhury et al. 2024, arXiv 2403.00409).

    loss = (-(1 - e) * log s(m) + e * log s(-m)) / (1 - 2 e), with m = beta * (u_w - u_l): where a
    share e of the pairs is the wrong way round, its mean is that of DPO on the right pairs.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"robust": "rows"}

    beta: float = 0.1
    label_smoothing: float = 0.1
    divergence: Divergence = "reverse_kl"
    alpha: float = 0.5

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair."""
        scores_A = divergence_scores(answers.ratio_A, self.divergence, self.alpha)
        chosen_B, rejected_B = pairs_of(scores_A)
        margin_B, e = self.beta * (chosen_B - rejected_B), self.label_smoothing
        loss_B = -(1 - e) * F.logsigmoid(margin_B) + e * F.logsigmoid(-margin_B)
        return {"robust": loss_B / (1 - 2 * e)}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A


@dataclass(frozen=True, slots=True)
class Dpop:
    """DPO-positive (Pal et al. 2024, *Smaug*, arXiv 2402.13228).

    loss = -log s(beta * (u_w - u_l - penalty * max(0, -u_w))): the chosen answer must not become
    less likely than it is under the reference.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"dpop": "rows"}

    beta: float = 0.3
    penalty: float = 50.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair."""
        chosen_B, rejected_B = pairs_of(answers.ratio_A)
        margin_B = chosen_B - rejected_B - self.penalty * (-chosen_B).relu()
        return {"dpop": logistic(self.beta * margin_B)}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A
