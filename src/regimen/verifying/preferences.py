"""The losses of ``align`` once more, row by row and without what training shares among them.

Each formula gets the log-probabilities of every token of each answer of one row and gives that
row's sums, by part. They are written as plainly as the equations, in other words than the
objectives: a sigmoid is 1 / (1 + exp(-x)), a likelihood is a product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.objectives.answers import BEST, MISMATCHED, OTHER, AnswerObjective, AnswerTable
from regimen.objectives.replay import WithReplay
from regimen.objectives.table import METHODS
from regimen.tokens.rendering import Rendered
from regimen.verifying.losses import Tokens, Twin
from regimen.verifying.rows import Row, paths, targets

Parts = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One row: its answers' token log-probabilities, their references, scores and roles.

    ``ratios_of`` are the log-ratios of all answers of all rows by role, for the methods that
    compare with a mean over them.
    """

    logps: Sequence[Tensor]
    references: Sequence[float]
    scores: Sequence[float]
    roles: Sequence[int] = (BEST, OTHER)
    ratios_of: Mapping[int, Sequence[float]] = field(default_factory=dict)

    @property
    def best(self) -> int:
        """The place of the best answer, -1 where the row has only an unwanted one."""
        return list(self.roles).index(BEST) if BEST in self.roles else -1

    def ratios(self) -> list[Tensor]:
        """Log-ratio of each answer."""
        return [logp.sum() - r for logp, r in zip(self.logps, self.references, strict=True)]

    def nll(self) -> Tensor:
        """Of all tokens of the best answer; 0 without one."""
        if self.best < 0:
            return self.logps[0].sum() * 0.0
        return -self.logps[self.best].sum()


def _better(margin: Tensor, wrong: float = 0.0) -> Tensor:
    """Cross-entropy of the statement that the first is better, true with probability 1 - wrong."""
    return F.binary_cross_entropy_with_logits(margin, margin.new_tensor(1.0 - wrong))


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def _score(ratio: Tensor, divergence: str, alpha: float) -> Tensor:
    """f'(t) of the likelihood ratio t."""
    t = torch.exp(ratio)
    if divergence == "forward_kl":
        return 1 - 1 / t
    if divergence == "js":
        return torch.log(2 * t / (1 + t))
    return torch.log(t) if divergence == "reverse_kl" else (1 - t**-alpha) / alpha


def _scores(row: AnswerRow, given: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    divergence, alpha = given.get("divergence", "reverse_kl"), given.get("alpha", 0.5)
    chosen, rejected = (_score(ratio, divergence, alpha) for ratio in row.ratios())
    return chosen, rejected


def _dpo(row: AnswerRow, beta: float, label_smoothing: float, **more: Any) -> Parts:
    chosen, rejected = _scores(row, more)
    return {"dpo": _better(beta * (chosen - rejected), label_smoothing)}


def _odpo(row: AnswerRow, beta: float, offset_weight: float, offset_scale: str) -> Parts:
    (chosen, rejected), margin = row.ratios(), row.scores[0] - row.scores[1]
    offset = offset_weight * (math.log(margin) if offset_scale == "log" else margin)
    return {"odpo": -torch.log(_sigmoid(beta * (chosen - rejected) - offset))}


def _dpo_norm(row: AnswerRow, beta: float, label_smoothing: float) -> Parts:
    a, b = (ratio / len(logp) for ratio, logp in zip(row.ratios(), row.logps, strict=True))
    return {"dpo_norm": _better(beta * (a - b), label_smoothing)}


def _dpop(row: AnswerRow, beta: float, penalty: float) -> Parts:
    a, b = row.ratios()
    fallen = torch.maximum(-a, torch.zeros_like(a))
    return {"dpop": _better(beta * (a - b - penalty * fallen))}


def _ipo(row: AnswerRow, beta: float, length_normalised: bool) -> Parts:
    a, b = row.ratios()
    if length_normalised:
        a, b = a / len(row.logps[0]), b / len(row.logps[1])
    return {"ipo": (a - b - 0.5 / beta) ** 2}


def _hinge(row: AnswerRow, beta: float, **more: Any) -> Parts:
    chosen, rejected = _scores(row, more)
    lacking = 1 - beta * (chosen - rejected)
    return {"hinge": lacking if float(lacking.detach()) > 0 else lacking * 0.0}


def _robust(row: AnswerRow, beta: float, label_smoothing: float, **more: Any) -> Parts:
    chosen, rejected = _scores(row, more)
    margin, e = beta * (chosen - rejected), label_smoothing
    return {"robust": ((1 - e) * _better(margin) - e * _better(-margin)) / (1 - 2 * e)}


def _cpo(row: AnswerRow, beta: float, sft_weight: float, label_smoothing: float) -> Parts:
    margin = beta * (row.logps[0].sum() - row.logps[1].sum())
    return {"cpo": _better(margin, label_smoothing), "sft": sft_weight * row.nll()}


def _simpo(row: AnswerRow, beta: float, gamma: float, label_smoothing: float) -> Parts:
    margin = beta * (row.logps[0].mean() - row.logps[1].mean()) - gamma
    return {"simpo": _better(margin, label_smoothing)}


def _orpo(row: AnswerRow, beta: float) -> Parts:
    chosen, rejected = (torch.exp(logp.mean()) for logp in row.logps)
    odds_ratio = chosen / (1 - chosen) / (rejected / (1 - rejected))
    return {"orpo": -beta * torch.log(_sigmoid(torch.log(odds_ratio))), "sft": row.nll()}


def _kto(row: AnswerRow, beta: float, desirable_weight: float, undesirable_weight: float) -> Parts:
    others = row.ratios_of[MISMATCHED]
    value = beta * (row.ratios()[0] - max(0.0, sum(others) / len(others)))
    if row.best == 0:
        return {"kto": desirable_weight * (1 - _sigmoid(value))}
    return {"kto": undesirable_weight * (1 - _sigmoid(-value))}


def _bco(row: AnswerRow, beta: float, desirable_weight: float, undesirable_weight: float) -> Parts:
    kinds = [row.ratios_of[role] for role in (BEST, OTHER) if row.ratios_of.get(role)]
    shift = sum(beta * sum(kind) / len(kind) for kind in kinds) / len(kinds)
    value = beta * row.ratios()[0] - shift
    if row.best == 0:
        return {"bco": -desirable_weight * torch.log(_sigmoid(value))}
    return {"bco": -undesirable_weight * torch.log(_sigmoid(-value))}


def _rrhf(row: AnswerRow, sft_weight: float) -> Parts:
    total = row.logps[0].sum() * 0.0
    for a, better in enumerate(row.scores):
        for b, worse in enumerate(row.scores):
            lacking = row.logps[b].mean() - row.logps[a].mean()
            if better > worse and float(lacking.detach()) > 0:
                total = total + lacking
    return {"rrhf": total, "sft": sft_weight * row.nll()}


def _slic(row: AnswerRow, delta: float, sft_weight: float, length_normalised: bool) -> Parts:
    likelihood = torch.mean if length_normalised else torch.sum
    found = [
        delta - likelihood(row.logps[a]) + likelihood(row.logps[b])
        for a, better in enumerate(row.scores)
        for b, worse in enumerate(row.scores)
        if better > worse
    ]
    lacking = [one if float(one.detach()) > 0 else one * 0.0 for one in found]
    return {"slic": torch.stack(lacking).mean(), "sft": sft_weight * row.nll()}


def _unlikelihood(row: AnswerRow, unlikelihood_weight: float) -> Parts:
    total = row.logps[0].sum() * 0.0
    for role, logp in zip(row.roles, row.logps, strict=True):
        if role == OTHER:
            total = total - torch.log(1 - torch.exp(logp)).sum()
    return {"sft": row.nll(), "unlikelihood": unlikelihood_weight * total}


def _sft(row: AnswerRow) -> Parts:
    return {"sft": row.nll()}


FORMULAS: dict[str, Callable[..., Parts]] = {
    "dpo": _dpo,
    "odpo": _odpo,
    "dpo_norm": _dpo_norm,
    "dpop": _dpop,
    "ipo": _ipo,
    "hinge": _hinge,
    "robust": _robust,
    "cpo": _cpo,
    "simpo": _simpo,
    "orpo": _orpo,
    "kto": _kto,
    "bco": _bco,
    "rrhf": _rrhf,
    "slic": _slic,
    "unlikelihood": _unlikelihood,
    "sft": _sft,
}
"""The formula of each method of ``regimen.objectives.table.METHODS``."""


@dataclass(frozen=True, slots=True)
class Term:
    """A method of a weighted sum, with its hyper-parameters; those not given are its defaults."""

    name: str
    weight: float = 1.0
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def loss(self) -> Any:
        """The loss that training uses."""
        return METHODS[self.name].loss(**self.given)

    def parts(self, row: AnswerRow) -> Parts:
        """The formula's parts of one row."""
        loss = self.loss
        every = {name: getattr(loss, name) for name in METHODS[self.name].takes}
        return FORMULAS[self.name](row, **every)


@dataclass(frozen=True, slots=True)
class OverAnswers:
    """A weighted sum of formulas over some rows, which are known beforehand.

    Each part is divided by the rows, or by the tokens of best or other answers, of all of them; a
    row and its tokens count ``weights`` times.
    """

    terms: Sequence[Term]
    references: Sequence[Sequence[float]]
    scores: Sequence[Sequence[float]]
    roles: Sequence[Sequence[int]]
    tokens: Sequence[Sequence[int]]
    weights: Sequence[float]
    ratios_of: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def weight(self, rows: Sequence[Row]) -> float:
        """1: every part is divided where it is added."""
        return 1.0

    def knowing(
        self, rows: Sequence[Row], logits: Callable[[Row], Sequence[Tensor]]
    ) -> OverAnswers:
        """With the log-ratios of all answers by role, where a term compares with them."""
        if not any(METHODS[term.name].across_rows for term in self.terms):
            return self
        return self.comparing([self._row(n, row, logits(row)) for n, row in enumerate(rows)])

    def comparing(self, rows: Sequence[AnswerRow]) -> OverAnswers:
        """With the log-ratios of these rows by role."""
        found: dict[int, list[float]] = {}
        for one in rows:
            for role, ratio in zip(one.roles, one.ratios(), strict=True):
                found.setdefault(role, []).append(float(ratio.detach()))
        return replace(self, ratios_of=found)

    def __call__(self, number: int, row: Row, logits: Sequence[Tensor]) -> Tensor:
        """The row's part of the loss."""
        return self.weights[number] * self.of_row(self._row(number, row, logits))

    def _row(self, number: int, row: Row, logits: Sequence[Tensor]) -> AnswerRow:
        logps = [
            -F.cross_entropy(logits_NV, targets(path)[1], reduction="none")
            for path, logits_NV in zip(paths(row), logits, strict=True)
        ]
        known = self.references[number], self.scores[number], self.roles[number]
        return AnswerRow(logps, *known)

    def of_row(self, row: AnswerRow) -> Tensor:
        """The part of one row in the loss of all rows."""
        row = replace(row, ratios_of=self.ratios_of)
        total = row.logps[0].sum() * 0.0
        for term in self.terms:
            units = term.loss.PARTS
            for part, value in term.parts(row).items():
                total = total + term.weight * value / self._count(units[part])
        return total

    def _count(self, unit: str) -> float:
        if unit == "rows":
            return sum(self.weights)
        found, wanted = 0.0, BEST if unit == "best_tokens" else OTHER
        for weight, counts, roles in zip(self.weights, self.tokens, self.roles, strict=True):
            for role, tokens in zip(roles, counts, strict=True):
                found += weight * tokens * (role == wanted)
        return found or math.inf


def answers_twin(terms: Sequence[Term], table: AnswerTable, rows: Sequence[Row]) -> Twin:
    """The objective over the answers of some rows, and the formula that it must equal."""
    formula = OverAnswers(
        terms,
        references=_by_row(table, table.reference_A),
        scores=_by_row(table, table.score_A),
        roles=_by_row(table, table.role_A),
        tokens=[[path.supervised for path in paths(row)] for row in rows],
        weights=table.weight_R.tolist(),
    )
    objective = AnswerObjective(table, tuple((term.weight, term.loss) for term in terms))
    return Twin(objective, formula)


@dataclass(frozen=True, slots=True)
class OverReplayed:
    """A formula over answers, and behind its rows those that are replayed.

    Their mean loss of a token counts ``factor`` times; ``tokens`` is the sum of their weights.
    """

    answers: OverAnswers
    factor: float
    tokens: float

    def weight(self, rows: Sequence[Row]) -> float:
        """1: every part is divided where it is added."""
        return 1.0

    def knowing(
        self, rows: Sequence[Row], logits: Callable[[Row], Sequence[Tensor]]
    ) -> OverReplayed:
        """With what the answers are compared with."""
        judged = [row for row in rows if not isinstance(row, Rendered)]
        return replace(self, answers=self.answers.knowing(judged, logits))

    def __call__(self, number: int, row: Row, logits: Sequence[Tensor]) -> Tensor:
        """The row's part of the loss."""
        if isinstance(row, Rendered):
            return self.factor * Tokens()(number, row, logits) / self.tokens
        return self.answers(number, row, logits)


def with_replay(twin: Twin, factor: float, rows: Sequence[Rendered]) -> Twin:
    """A twin over answers, with rows replayed behind them."""
    assert isinstance(twin.objective, AnswerObjective)
    assert isinstance(twin.formula, OverAnswers)
    formula = OverReplayed(twin.formula, factor, Tokens().weight(rows))
    return Twin(WithReplay(twin.objective, factor), formula)


def _by_row(table: AnswerTable, values_A: Tensor) -> list[list[Any]]:
    ends = [*table.first_R.tolist()[1:], len(values_A)]
    return [
        values_A[start:end].tolist()
        for start, end in zip(table.first_R.tolist(), ends, strict=True)
    ]
