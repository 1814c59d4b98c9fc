"""Study ``rewrites``: how many rules it takes to follow a rule that was never seen.

Instruction Diversity Drives Generalization to Unseen Tasks (arXiv 2402.10891): a rule ``x -> y``
and a string ``z`` are given; the left-most ``x`` in ``z`` is to be replaced by ``y``, and a ``z``
without ``x`` is to be copied. The oracle is exact, so the study shows how a number of instructions
becomes the ability to follow new ones. The number of training examples is the same at every number
of rules.

Shape letters: N examples, T tokens of all of them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from regimen.evaluation.ratios import Floats
from regimen.studies.cells import Cell, Outcome
from regimen.studies.claims import Claim, Measured, in_words, summary
from regimen.studies.design import (
    AllAtOnce,
    Findings,
    Question,
    claim_on,
    difference,
    grid_of,
    mean_json,
)
from regimen.studies.fits import interval, level_means, replicates
from regimen.studies.scores import Grid, cluster_sums

SOURCE = "Instruction Diversity Drives Generalization, arXiv 2402.10891"
FOLLOWED, IGNORED = 0.9, 0.1
"""Shares of right answers at which a rule counts as followed, and as not followed."""

ARROW, BAR, EQUALS, END, LETTERS = 0, 1, 2, 3, 4
"""Ids of the marks; letters come after them."""

UNSEEN, SEEN, COPIED = "unseen_rules", "seen_rules", "copied_strings"
"""What is asked: rules that apply, trained on or not, and strings without their pattern."""

MARKS = (">", "|", "=", ".")
"""How the marks are written."""

Rule = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The size of the experiment.

    Args:
        letters: of the alphabet.
        pattern, replacement: letters of x and of y.
        shortest, longest: letters of z.
        occurrences: most occurrences of x in a z that has it.
        copied: share of the examples whose z has no x.
        examples: training examples; ``asked`` items of rules that are not trained on.
        unseen: rules that are asked.
        layers, heads, width, inner: of the model; ``inner`` is that of the feed-forward networks.
        model_type: ``gpt2`` as in the paper, or ``llama``.
        steps, tokens_per_batch, learning_rate: of the training.
    """

    letters: int = 48
    pattern: int = 2
    replacement: int = 2
    shortest: int = 5
    longest: int = 8
    occurrences: int = 2
    copied: float = 0.2
    examples: int = 100_000
    asked: int = 400
    unseen: int = 200
    layers: int = 2
    heads: int = 4
    width: int = 128
    inner: int = 256
    model_type: str = "llama"
    steps: int = 6000
    tokens_per_batch: int = 1024
    learning_rate: float = 1.5e-3


FORMS: Mapping[str, Form] = {
    "small": Form(),
    "full": Form(
        letters=26,
        pattern=3,
        replacement=3,
        shortest=10,
        longest=30,
        occurrences=20,
        copied=0.4,
        examples=1_000_000,
        asked=100_000,
        unseen=10_000,
        layers=6,
        heads=4,
        width=256,
        inner=1024,
        model_type="gpt2",
        steps=100_000,
        tokens_per_batch=16_384,
        learning_rate=5e-4,
    ),
}
"""``full`` has the model and the numbers of the paper; the alphabet and lengths are ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A rule, a string, and what the string becomes, as ids of letters."""

    rule: Rule
    string: tuple[int, ...]
    result: tuple[int, ...]

    @property
    def prompt(self) -> tuple[int, ...]:
        """``x > y | z =``."""
        x, y = self.rule
        return (*x, ARROW, *y, BAR, *self.string, EQUALS)


def rewrite(rule: Rule, string: Sequence[int]) -> tuple[int, ...]:
    """The oracle: the left-most x becomes y, once; a string without x stays."""
    x, y = rule
    for start in range(len(string) - len(x) + 1):
        if tuple(string[start : start + len(x)]) == x:
            return (*string[:start], *y, *string[start + len(x) :])
    return tuple(string)


def rules(form: Form, count: int, unseen: int, seed: int) -> tuple[list[Rule], list[Rule]]:
    """Training rules and rules that are only asked, no x of one among the other.

    The asked rules are the same for every seed of training.

    Raises:
        ValueError: the alphabet has fewer different x than there are rules.
    """
    room = form.letters**form.pattern
    if count + unseen > room:
        raise ValueError(f"{count} + {unseen} rules need as many different x, and there are {room}")
    asked = random.Random("asked rules").sample(range(room), unseen)
    left = sorted(set(range(room)) - set(asked))
    trained = random.Random(f"rules {seed}").sample(left, count)
    return _rules(form, trained, seed), _rules(form, asked, -1)


def _rules(form: Form, patterns: Sequence[int], seed: int) -> list[Rule]:
    made = []
    for number in patterns:
        draw = random.Random(f"{seed} {number}")
        x = tuple(LETTERS + number // form.letters**at % form.letters for at in range(form.pattern))
        y = x
        while y == x:
            y = tuple(LETTERS + draw.randrange(form.letters) for _ in range(form.replacement))
        made.append((x, y))
    return made


def example(rule: Rule, form: Form, draw: random.Random) -> Example:
    """A string with one or more x in it, or with none, and its rewriting."""
    length = draw.randint(form.shortest, form.longest)
    string = [LETTERS + draw.randrange(form.letters) for _ in range(length)]
    if draw.random() >= form.copied:
        x = rule[0]
        for _ in range(draw.randint(1, form.occurrences)):
            start = draw.randrange(length - len(x) + 1)
            string[start : start + len(x)] = x
    return Example(rule=rule, string=tuple(string), result=rewrite(rule, string))


def examples(some: Sequence[Rule], form: Form, count: int, seed: int) -> list[Example]:
    """``count`` examples, the rules in turn."""
    draw = random.Random(f"examples {seed}")
    return [example(some[number % len(some)], form, draw) for number in range(count)]


def asked_of(some: Sequence[Rule], form: Form, count: int, seed: int) -> list[Example]:
    """``count`` examples of rules that apply: copying the string answers none of them."""
    return examples(some, replace(form, copied=0.0), count, seed)


def copies_of(some: Sequence[Rule], form: Form, count: int, seed: int) -> list[Example]:
    """Up to ``count`` examples whose string does not hold the pattern: to be copied."""
    drawn = examples(some, replace(form, copied=1.0), count, seed)
    return [one for one in drawn if one.result == one.string]


def form_of(asked: Question) -> Form:
    """The form that the settings name, with their own numbers."""
    form = FORMS[asked.options["form"]]
    own = {name: asked.options[name] for name in ("examples", "steps")}
    return replace(form, **{name: value for name, value in own.items() if value is not None})


class RewritesStudy(AllAtOnce):
    """Cells: numbers of rules x seeds."""

    question = "How many rules must be seen before an unseen rule is followed?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """Every number of rules with every seed; the largest numbers last."""
        form = form_of(asked)
        return tuple(
            Cell(
                kind="rewrites",
                factors={"rules": count},
                seed=seed,
                work={"form": asdict(form), "rules": count},
                tokens=form.steps * form.tokens_per_batch,
            )
            for seed in asked.seeds
            for count in sorted(asked.options["rules"])
        )

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Unseen rules by the number of seen ones, and where half of them are followed."""
        grid = grid_of(outcomes, replace(asked, suites=()), _level)
        unseen, seen, copied = (grid.suite(name) for name in (UNSEEN, SEEN, COPIED))
        counts = sorted(count for (count,) in unseen.scores)
        claims = _claims(unseen, counts)
        half = _threshold(unseen, counts)
        lines = {
            name: [
                {"x": count, **mean_json(part.scores[count,], part.clusters)} for count in counts
            ]
            for name, part in (
                ("unseen rules", unseen),
                ("seen rules", seen),
                ("strings to copy", copied),
            )
        }
        rows = [
            [
                count,
                *(lines["unseen rules"][at][name] for name in ("score", "low", "high", "sd")),
                lines["seen rules"][at]["score"],
                lines["strings to copy"][at]["score"],
            ]
            for at, count in enumerate(counts)
        ]
        return Findings(
            verdict=_verdict(half, claims, unseen, counts),
            claims=tuple(claims),
            figures=(
                {
                    "kind": "curve",
                    "title": "Rules that were never seen, by the number of rules that were",
                    "x": "rules in the training data",
                    "lines": lines,
                    "ribbon": [],
                    "mark": half,
                },
            ),
            tables=(
                {
                    "title": "Right rewritings",
                    "columns": ["rules", "unseen", "low", "high", "sd of seeds", "seen", "copied"],
                    "rows": rows,
                },
            ),
            more={"half": half},
        )


def _level(cell: Cell) -> tuple[int]:
    return (cell.factors["rules"],)


def _above(grid: Grid, count: int, bar: float) -> Measured:
    """The score at a number of rules against a bar."""
    scores_SN = grid.scores[count,]
    return difference(scores_SN, np.full_like(scores_SN, bar), grid.clusters)


def _claims(unseen: Grid, counts: Sequence[int]) -> list[Claim]:
    few, many = counts[0], counts[-1]
    claims = [
        Claim(
            name="few rules are not enough",
            text=f"with {few} rules fewer than {IGNORED:.0%} of unseen rules are followed",
            source=SOURCE,
            expected="less",
            measured=_above(unseen, few, IGNORED),
        ),
        Claim(
            name="many rules are",
            text=f"with {many} rules more than {FOLLOWED:.0%} of unseen rules are followed",
            source=SOURCE,
            expected="more",
            measured=_above(unseen, many, FOLLOWED),
        ),
    ]
    claims += claim_on(
        unseen,
        {(many,): 1.0, (few,): -1.0} if few != many else {},
        name="more rules help",
        text=f"{many} rules against {few}, for the same number of examples",
        source=SOURCE,
        expected="more",
    )
    return claims


def _threshold(grid: Grid, counts: Sequence[int]) -> dict[str, float] | None:
    """The number of rules at which half of the unseen ones are followed, on a log scale.

    None where that happens at none of the levels, or at all of them.
    """
    sums_LSC, sizes_C = cluster_sums(grid, [(count,) for count in counts])
    x = np.asarray(counts, dtype=np.float64)
    at = crossing(x, level_means(sums_LSC, sizes_C).mean(axis=1))
    if at is None:
        return None
    drawn = (crossing(x, row) for row in replicates(sums_LSC, sizes_C))
    found = [place for place in drawn if place is not None]
    low, high = interval(np.asarray(found))
    return {"at": at, "low": low, "high": high}


def crossing(x: Floats, y: Floats, level: float = 0.5) -> float | None:
    """Where the broken line through the points first rises through a level, on a log scale."""
    for place in range(len(x) - 1):
        below, above = float(y[place]), float(y[place + 1])
        if below < level <= above:
            share = (level - below) / (above - below)
            return float(x[place] * (x[place + 1] / x[place]) ** share)
    return None


def _verdict(
    half: Mapping[str, float] | None, claims: Sequence[Claim], grid: Grid, counts: Sequence[int]
) -> str:
    if len(counts) < 2:
        return f"Only {counts[0]} rules have a result at every seed. {summary(claims)}."
    gain = claims[-1]
    words = f"{counts[0]} to {counts[-1]} rules: {in_words(gain.measured)} ({gain.verdict})"
    if half is not None:
        words += (
            f"; half of the unseen rules are followed from {half['at']:,.0f} rules on "
            f"[{half['low']:,.0f}, {half['high']:,.0f}]"
        )
    else:
        best = max(float(grid.scores[count,].mean()) for count in counts)
        words += f"; the share never passes through one half (at most {best:.0%})"
    return f"{words}. {summary(claims)}."


def encoded(rows: Sequence[Example]) -> dict[str, Any]:
    """Examples as flat arrays: ids (T), weights (T, 1 where learnt), offsets (N + 1)."""
    whole = [(one.prompt, (*one.result, END)) for one in rows]
    lengths = [len(prompt) + len(answer) for prompt, answer in whole]
    ids = np.fromiter(
        (token for prompt, answer in whole for token in (*prompt, *answer)),
        dtype=np.int32,
        count=sum(lengths),
    )
    weights = np.zeros(len(ids), dtype=np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    for number, (_, answer) in enumerate(whole):
        weights[offsets[number + 1] - len(answer) : offsets[number + 1]] = 1.0
    return {"ids": ids, "weights": weights, "offsets": offsets}
