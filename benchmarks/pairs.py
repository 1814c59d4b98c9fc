"""Pairs of answers as both sides of the works that align read them: rows, two after one another.

Rows 2k and 2k + 1 of pair k begin with the same prompt; the first ends with the better answer.
"""

from __future__ import annotations

import numpy as np

from work import MAX_LENGTH, MODEL, SEED, Rows, drawn_ids

# Log-normal fit to the 2,312 pairs of HH-RLHF's harmless test split, tokens of GPT-2's vocabulary:
# mean and deviation of the log length of the prompt (all turns until the answers), the better and
# the worse answer; and the correlations of these three.
LOG_MEAN = (4.381, 3.316, 3.514)
LOG_DEVIATION = (1.001, 0.927, 0.975)
CORRELATIONS = ((1.0, 0.232, 0.223), (0.232, 1.0, 0.298), (0.223, 0.298, 1.0))
SHORTEST = (8, 2, 2)


def pair_lengths(
    count: int, share: float | None = None, seed: int = SEED
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of prompts (count,) and of both answers (count, 2); no row is over ``MAX_LENGTH``.

    With ``share`` prompts are scaled so that they are this share of all tokens of the rows, each
    prompt counted with both answers; otherwise they are as long as HH-RLHF's.
    """
    factor = np.linalg.cholesky(np.array(CORRELATIONS))
    normal = np.random.default_rng([seed, 2]).standard_normal((count, 3)) @ factor.T
    drawn = np.exp(np.array(LOG_MEAN) + np.array(LOG_DEVIATION) * normal)
    answers = drawn[:, 1:].round().astype(np.int64).clip(SHORTEST[1], MAX_LENGTH // 2)
    scale = 1.0
    if share is not None:
        scale = share / (1 - share) * answers.sum() / (2 * drawn[:, 0].sum())
    prompts = (scale * drawn[:, 0]).round().astype(np.int64).clip(SHORTEST[0])
    return np.minimum(prompts, MAX_LENGTH - answers.max(1)), answers


def draw_pairs(
    count: int,
    *,
    share: float | None = None,
    seed: int = SEED,
    vocabulary: int = MODEL["vocab_size"],
) -> Rows:
    """``count`` pairs as twice as many rows; ids as those of ``draw_rows``."""
    prompts, answers = pair_lengths(count, share, seed)
    lengths = (prompts[:, None] + answers).reshape(-1)
    rows = Rows(drawn_ids(lengths, seed, vocabulary), lengths, prompts.repeat(2))
    starts = rows.starts
    for pair, prompt in enumerate(prompts.tolist()):
        first, second = int(starts[2 * pair]), int(starts[2 * pair + 1])
        rows.ids[second : second + prompt] = rows.ids[first : first + prompt]
    return rows


def pairs_of(rows: Rows) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt, better and worse answer of each pair."""
    starts, found = rows.starts.tolist(), []
    for row in range(0, len(rows), 2):
        prompt = int(rows.prompts[row])
        first = rows.ids[starts[row] : starts[row + 1]].tolist()
        second = rows.ids[starts[row + 1] : starts[row + 2]].tolist()
        found.append((first[:prompt], first[prompt:], second[prompt:]))
    return found
