"""What the processes of a cell read: its rows, drawn; and what all of them make of these alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpu_cells import IDS_DRAWN, Cell
from pairs import draw_pairs
from work import SEED, SHORTEST, Rows, draw_rows, drawn_ids, write_rows

ANSWERS = 8
"""Of a prompt, in a cell of groups."""
GROUP_LOG = ((5.4, 0.5), (5.3, 0.6))
"""Mean and deviation of the log length of prompts and of answers in groups: about 250 and 240."""
LONGEST = 1024
SMALLEST = sum(SHORTEST)
"""Tokens of the shortest document."""


def vocabulary_of(cell: Cell) -> int:
    """Ids of the rows are below it."""
    return min(IDS_DRAWN, int(cell.facts["model"]["vocab_size"]))


def write_cell(folder: Path, cell: Cell) -> None:
    """Write the rows of a cell, its tokenizer and its facts; a head alone has no rows."""
    vocabulary, count = vocabulary_of(cell), cell.per_step * cell.steps
    packs: list[int] = []
    if cell.lengths == "packs":
        rows, packs = draw_packs(count, cell.length, vocabulary)
    elif cell.lengths == "pairs":
        drawn = draw_pairs(count, share=cell.shared, vocabulary=vocabulary)
        rows = by_length(drawn, 2, cell.per_step)
    elif cell.lengths == "groups":
        rows = draw_groups(count, vocabulary)
    else:
        asked = cell.per_step if cell.kind == "generate" else count
        rows = by_length(draw_rows(asked, vocabulary=vocabulary), 1, cell.per_step)
    write_rows(folder, rows, vocabulary, cell.facts | {"packs": packs})


def by_length(rows: Rows, each: int, per_step: int) -> Rows:
    """The units of each step from short to long, so that padded micro-batches have little padding.

    Args:
        rows: ``each`` of them after one another are a unit.
        each: rows of a unit.
        per_step: units of a step.
    """
    longest = rows.lengths.reshape(-1, each).max(1)
    order: list[int] = []
    for start in range(0, len(longest), per_step):
        units = start + np.argsort(longest[start : start + per_step], kind="stable")
        order += [int(unit) * each + row for unit in units for row in range(each)]
    return rows.take(order)


def draw_packs(count: int, length: int, vocabulary: int) -> tuple[Rows, list[int]]:
    """Documents that fill ``count`` packs of ``length`` tokens, and how many each pack has."""
    waiting = draw_rows(count * length // SMALLEST, vocabulary=vocabulary)
    lengths, prompts, packs, taken = [], [], [], 0
    for _ in range(count):
        room, first = length, taken
        while room:
            size = int(waiting.lengths[taken])
            if room - size < SMALLEST:  # the rest is too short for a document: the last has it all
                size = room
            lengths.append(size)
            prompts.append(min(int(waiting.prompts[taken]), size - SHORTEST[1]))
            room -= size
            taken += 1
        packs.append(taken - first)
    sizes = np.array(lengths)
    return Rows(drawn_ids(sizes, SEED, vocabulary), sizes, np.array(prompts)), packs


def draw_groups(count: int, vocabulary: int) -> Rows:
    """``count`` prompts with ``ANSWERS`` answers each: rows after one another with one prompt."""
    normal = np.random.default_rng([SEED, 3]).standard_normal((count, 1 + ANSWERS))
    (mean, deviation), (answer_mean, answer_deviation) = GROUP_LOG
    prompts = np.exp(mean + deviation * normal[:, 0]).round().astype(np.int64)
    prompts = prompts.clip(SHORTEST[0], LONGEST // 2)
    answers = np.exp(answer_mean + answer_deviation * normal[:, 1:]).round().astype(np.int64)
    lengths = (prompts[:, None] + answers.clip(SHORTEST[1], LONGEST // 2)).reshape(-1)
    rows = Rows(drawn_ids(lengths, SEED, vocabulary), lengths, prompts.repeat(ANSWERS))
    starts = rows.starts
    for row in range(len(rows)):
        first, prompt = int(starts[row - row % ANSWERS]), int(rows.prompts[row])
        start = int(starts[row])
        rows.ids[start : start + prompt] = rows.ids[first : first + prompt]
    return rows


def advantages(count: int) -> np.ndarray:
    """Of the answers of ``count`` prompts (count, ANSWERS), each group with mean 0, deviation 1."""
    drawn = np.random.default_rng([SEED, 4]).standard_normal((count, ANSWERS))
    centred = drawn - drawn.mean(1, keepdims=True)
    found: np.ndarray = centred / centred.std(1, keepdims=True)
    return found
