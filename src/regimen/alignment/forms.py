"""What rows a method learns from: one kind of record as another, and the answers of each.

Pairs are read as labelled answers (the chosen one is desirable, the rejected one is not) and as
ranked lists of two, with the scores 1 and 0. Nothing is made of fewer things than it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from regimen.instances.answer_records import labels_of_pair, list_of_pair
from regimen.objectives.answers import BEST, MISMATCHED, OTHER, AnswerTable
from regimen.objectives.table import Form
from regimen.records import (
    Labelled,
    Message,
    Preference,
    Ranked,
    Stepwise,
    content_of,
    stable_hash,
)
from regimen.tokens.rendering import RenderedAnswers

Record = Preference | Labelled | Ranked

READABLE: dict[Form, tuple[type[Record], ...]] = {
    "pairs": (Preference,),
    "labelled": (Labelled, Preference),
    "ranked": (Ranked, Preference),
    "any": (Preference, Labelled, Ranked),
}
"""The records that each form is made of."""


def records_of(form: Form, record: Record) -> list[Record]:
    """A record in the form that a method learns from; a pair becomes two labelled answers.

    A pair of equal answers stays what it is: no answer is wanted and unwanted.
    """
    if form == "labelled" and isinstance(record, Preference):
        if why_unusable(record) == "equal_answers":
            return [record]
        return [*labels_of_pair(record)]
    if form == "ranked" and isinstance(record, Preference):
        return [list_of_pair(record)]
    return [record]


def answers_in(record: Record) -> tuple[tuple[Message, ...], ...]:
    """The answers of a record, in order."""
    if isinstance(record, Preference):
        return record.chosen, record.rejected
    return (record.answer,) if isinstance(record, Labelled) else record.answers


def scores_of(record: Record) -> tuple[float, ...]:
    """What the answers of a record are worth: the higher, the better."""
    if isinstance(record, Preference):
        return (1.0, 0.0)
    return (float(record.desirable),) if isinstance(record, Labelled) else record.scores


def roles_of(record: Record) -> tuple[int, ...]:
    """The role of each answer of a record; of equal scores the first is the best."""
    scores = scores_of(record)
    if isinstance(record, Labelled):
        return (BEST if record.desirable else OTHER,)
    best = scores.index(max(scores))
    return tuple(BEST if number == best else OTHER for number in range(len(scores)))


def why_unusable(record: Record) -> str:
    """The reason why nothing can be learnt from a record; empty where something can."""
    answers, scores = answers_in(record), scores_of(record)
    if reason := why_odd(record):
        return reason
    if not answers or any(says_nothing(answer) for answer in answers):
        return "empty_answer"
    if any(turn.role == "user" for answer in answers for turn in answer):
        return "user_in_answer"
    if len(answers) != len(scores) or not all(map(math.isfinite, scores)):
        return "answers_without_scores"
    if isinstance(record, Labelled):
        return ""
    if len(answers) > 1 and len({stable_hash(content_of(answer)) for answer in answers}) == 1:
        return "equal_answers"
    return "tied_answers" if len(set(scores)) < 2 else ""


def all_alike(rendered: RenderedAnswers) -> bool:
    """Whether a row has several answers that are the same tokens: nothing is preferred in it."""
    return len(rendered.answers) > 1 and len(set(rendered.answers)) == 1


def why_odd(record: Record | Stepwise) -> str:
    """The reason why a record of any kind cannot be learnt from; empty where there is none."""
    if says_nothing(record.prompt):
        return "empty_prompt"
    return "" if 0 < record.weight < math.inf else "bad_weight"


def why_no_margin(record: Preference, *, positive: bool = False) -> str:
    """The reason why a pair's margin cannot be used; empty where it can.

    It has to be finite and at least 0, or more than 0 where it must be ``positive``.
    """
    if record.margin is None:
        return "no_margin"
    enough = record.margin > 0 if positive else record.margin >= 0
    return "" if enough and record.margin < math.inf else "bad_margin"


def says_nothing(turns: Sequence[Message]) -> bool:
    """Whether no turn has a text or a call."""
    return not any(turn.text.strip() or turn.tool_calls for turn in turns)


@dataclass(frozen=True, slots=True)
class Row:
    """A rendered row with what its method has to know of each of its answers."""

    rendered: RenderedAnswers
    roles: tuple[int, ...]
    scores: tuple[float, ...]
    weight: float = 1.0


def row_of(
    record: Record, rendered: RenderedAnswers, name: str = "", *, margins: bool = False
) -> Row:
    """The row of a record that was rendered; with ``margins`` the scores of a pair differ by its
    margin."""
    named = replace(rendered, name=name)
    scores = scores_of(record)
    if margins and isinstance(record, Preference):
        assert record.margin is not None
        scores = (record.margin, 0.0)
    return Row(named, roles_of(record), scores, record.weight)


def with_mismatched(rows: Sequence[Row], seed: int, limit: int) -> list[Row]:
    """Each row with an answer to another prompt behind its own, for KTO's reference point.

    Rows are shuffled by the seed, and each takes the answer of the next one with another prompt; in
    that order every answer is taken about once, as it is where a batch's answers are shifted. Where
    all prompts are alike the next answer is taken. What goes beyond ``limit`` tokens is cut off.
    """
    order = np.random.default_rng([seed, 0x1470]).permutation(len(rows)).tolist()
    alike = len({row.rendered.prompt for row in rows}) == 1
    found: dict[int, Row] = {}
    for place, number in enumerate(order):
        row = rows[number]
        steps = range(1, 1 if alike else len(order))
        later = (rows[order[(place + step) % len(order)]] for step in steps)
        other = next(_of_other_prompts(row, later), rows[order[(place + 1) % len(order)]])
        room = max(1, limit - len(row.rendered.prompt))
        answers = (*row.rendered.answers, other.rendered.answers[0][:room])
        weights = (*row.rendered.every_weight, other.rendered.every_weight[0][:room])
        whole = all(all(own) for own in weights)
        found[number] = replace(
            row,
            rendered=replace(row.rendered, answers=answers, weights=() if whole else weights),
            roles=(*row.roles, MISMATCHED),
            scores=(*row.scores, 0.0),
        )
    return [found[number] for number in range(len(rows))]


def _of_other_prompts(row: Row, later: Iterator[Row]) -> Iterator[Row]:
    return (one for one in later if one.rendered.prompt != row.rendered.prompt)


def answer_table(rows: Sequence[Row], reference_A: torch.Tensor | None = None) -> AnswerTable:
    """What an objective knows of the answers of these rows; zeros without a reference."""
    counts = [len(row.roles) for row in rows]
    total = sum(counts)
    return AnswerTable(
        first_R=torch.tensor([0, *np.cumsum(counts)[:-1].tolist()][: len(rows)]),
        role_A=torch.tensor([role for row in rows for role in row.roles]),
        score_A=torch.tensor([s for row in rows for s in row.scores], dtype=torch.float64),
        reference_A=torch.zeros(total) if reference_A is None else reference_A,
        weight_R=torch.tensor([row.weight for row in rows], dtype=torch.float32),
    )
