"""What reward models learn from: records as rows with marks, where scores are read.

A row is a prompt, its answers and what is known of each mark: the end of an answer, or of each of
its steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from regimen.alignment.forms import answers_in, scores_of, why_no_margin, why_odd, why_unusable
from regimen.judging.steps import step_ends, steps_of
from regimen.objectives.reward import ScoreTable
from regimen.records import Labelled, Message, Preference, Ranked, Stepwise, content_of, stable_hash
from regimen.tokens.marks import last_read, tokens_at
from regimen.tokens.rendering import RenderedAnswers

RewardRecord = Preference | Ranked | Labelled | Stepwise

READS: Mapping[str, tuple[type[RewardRecord], ...]] = {
    "reward": (Preference, Ranked),
    "reward_ordinal": (Ranked, Labelled),
    "reward_process": (Stepwise,),
}
"""The records that each method learns from, the best one first."""


@dataclass(frozen=True, slots=True)
class RewardRow:
    """A rendered row; ``values`` and ``margins`` are those of its marks, in order.

    ``dimensions`` are what it judges; ``prompt`` names the prompt, whose rows stay together.
    """

    rendered: RenderedAnswers
    values: tuple[float, ...]
    margins: tuple[float, ...]
    dimensions: tuple[str, ...]
    prompt: str
    weight: float = 1.0

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each answer."""
        return tuple(map(len, self.rendered.answers))


def turns_of(record: RewardRecord) -> tuple[tuple[Message, ...], ...]:
    """The answers of a record, in order; of steps, one of a line for each."""
    if isinstance(record, Stepwise):
        return ((Message(role="assistant", content="\n".join(record.steps)),),)
    return answers_in(record)


def values_of(record: RewardRecord) -> tuple[float, ...]:
    """What each mark of a record is worth."""
    return record.labels if isinstance(record, Stepwise) else scores_of(record)


def why_not(record: RewardRecord, method: str, *, margin: bool) -> str:
    """The reason why a method can learn nothing from a record; empty where it can."""
    if isinstance(record, Stepwise):
        if reason := why_odd(record):
            return reason
        if not record.steps or steps_of("\n".join(record.steps)) != record.steps:
            return "step_is_no_line"
        if len(record.labels) != len(record.steps):
            return "steps_without_labels"
        right = all(0 <= label <= 1 for label in record.labels)
        return "" if right else "label_outside_0_to_1"
    found = why_unusable(record)
    if found in ("tied_answers", "equal_answers") and method == "reward_ordinal":
        return ""  # each answer has its level, whatever the others have
    if not found and margin and isinstance(record, Preference):
        return why_no_margin(record)
    return found


def margins_of(record: RewardRecord, *, margin: bool) -> tuple[float, ...]:
    """Numbers whose differences are the margins of a record's pairs; zeros where none are used."""
    values = values_of(record)
    if not margin:
        return (0.0,) * len(values)
    return (record.margin or 0.0, 0.0) if isinstance(record, Preference) else values


def judged(
    record: RewardRecord, dimensions: Sequence[str], by_source: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """The dimensions that a record judges: those that it names, or those of its source.

    With one dimension alone every record judges it.
    """
    if len(dimensions) == 1:
        return tuple(dimensions)
    own = record.dimensions if isinstance(record, Preference) else ()
    return own or tuple(by_source.get(record.lineage.source, ()))


def marked(
    rendered: RenderedAnswers,
    answers: Sequence[Sequence[Message]],
    tokenizer: Any,
    pad_id: int,
    *,
    steps: bool,
) -> RenderedAnswers | None:
    """The row with weight 1 where scores are read: at the last token of each answer or of each of
    its ``steps``; None where an answer has no such token, or two steps end in one.

    Raises:
        TokenError: the end of a step is not found in the ids.
    """
    weights = []
    for ids, turns in zip(rendered.answers, answers, strict=True):
        if steps:
            ends = step_ends(turns[0].text)
            places = tokens_at(tokenizer, ids, turns[0].text, ends)
        else:
            places, ends = (last_read(ids, pad_id),), (0,)
        if min(places, default=-1) < 0 or len(set(places)) != len(ends):
            return None
        weights.append(tuple(float(place in places) for place in range(len(ids))))
    return replace(rendered, weights=tuple(weights))


def reward_row(
    record: RewardRecord, rendered: RenderedAnswers, dimensions: tuple[str, ...], *, margin: bool
) -> RewardRow:
    """The row of a record whose marks are set."""
    return RewardRow(
        rendered,
        tuple(map(float, values_of(record))),
        margins_of(record, margin=margin),
        dimensions,
        stable_hash(content_of(record.prompt)),
        record.weight,
    )


def levels_of(rows: Sequence[RewardRow]) -> tuple[float, ...]:
    """The different values of all rows, the lowest first."""
    return tuple(sorted({value for row in rows for value in row.values}))


def as_levels(rows: Sequence[RewardRow], levels: Sequence[float]) -> list[RewardRow]:
    """Rows with the numbers of their levels in place of the values."""
    number = {level: float(place) for place, level in enumerate(levels)}
    return [replace(row, values=tuple(number[value] for value in row.values)) for row in rows]


def held_out(
    rows: Sequence[RewardRow], share: float, seed: int
) -> tuple[list[RewardRow], list[RewardRow]]:
    """Rows to learn from and rows to measure on, no prompt in both; the seed draws the prompts.

    At least one prompt is on each side; with one prompt alone, or a share of 0, none is held out.
    """
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    count = min(max(1, round(share * len(prompts))), len(prompts) - 1) if share else 0
    order = np.random.default_rng([seed, 0x4E1D]).permutation(len(prompts)).tolist()
    apart = {prompts[place] for place in order[:count]}
    kept = [row for row in rows if row.prompt not in apart]
    return kept, [row for row in rows if row.prompt in apart]


def score_table(
    rows: Sequence[RewardRow], dimensions: Sequence[str], members: int, seed: int
) -> ScoreTable:
    """What the objective knows of these rows.

    The members of an ensemble differ in their first weights and in their rows: each learns a
    bootstrap sample, drawn by the seed (Breiman 1996), in which a row counts as often as it is
    drawn.
    """
    counts = [len(row.values) for row in rows]
    judged_RD = torch.tensor([[float(d in row.dimensions) for d in dimensions] for row in rows])
    weight_R1 = torch.tensor([[row.weight] for row in rows])
    drawn_RM = torch.ones(len(rows), members)
    if members > 1:
        draw = np.random.default_rng([seed, 0xB007])
        every = [
            np.bincount(draw.integers(len(rows), size=len(rows)), minlength=len(rows))
            for _ in range(members)
        ]
        drawn_RM = torch.from_numpy(np.stack(every, axis=1)).float()
    weight_RH = (weight_R1 * judged_RD)[:, :, None] * drawn_RM[:, None, :]
    return ScoreTable(
        first_R=torch.tensor([0, *np.cumsum(counts)[:-1].tolist()][: len(rows)]),
        value_M=torch.tensor([v for row in rows for v in row.values], dtype=torch.float64),
        margin_M=torch.tensor([m for row in rows for m in row.margins], dtype=torch.float64),
        weight_RH=weight_RH.reshape(len(rows), -1),
    )
