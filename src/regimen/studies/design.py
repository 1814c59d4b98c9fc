"""What a study is: its question, its cells, and what it makes of their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from regimen.evaluation.ratios import Floats
from regimen.evaluation.seeds import seeded_difference, seeded_mean
from regimen.settings.training import LIMITS
from regimen.studies.cells import SCORES, Cell, Outcome
from regimen.studies.claims import Claim, Expected, Measured
from regimen.studies.scores import Grid, Level, read_grid

PIPELINE = "pipeline"
BASELINES = ("base", "base_prompted", "copy_input", "copy_demonstration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a study is given.

    Args:
        settings: the file's stages, as JSON, without run, seed, report and study.
        seed: the file's seed; that of the items.
        seeds: of the trainings.
        tokens: that every cell trains on.
        gain: a gain in score below which more would not matter.
        suites: that verdicts rest on; all when empty.
        options: the study's own section, as JSON.
    """

    settings: Mapping[str, Any]
    seed: int
    seeds: tuple[int, ...]
    tokens: int
    gain: float
    suites: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a study found: a sentence, claims, tables and figures, all JSON-compatible.

    ``figures`` are mappings with ``kind`` (curve, matrix, frontier, price), ``title`` and data;
    ``tables`` mappings with ``title``, ``columns`` and ``rows``.
    """

    verdict: str
    claims: tuple[Claim, ...] = ()
    figures: tuple[Mapping[str, Any], ...] = ()
    tables: tuple[Mapping[str, Any], ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


class Study(Protocol):
    """A kind of study."""

    question: str

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """The cells, those that others need first."""

    def further(self, asked: Question, outcomes: Sequence[Outcome]) -> tuple[Cell, ...]:
        """Cells that what the first ones found decides on.

        Before anything is made, for the cost, it is asked without outcomes: as many cells then.
        """

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """What the cells that were made show."""


class AllAtOnce:
    """Studies whose cells are all known at the start."""

    def further(self, asked: Question, outcomes: Sequence[Outcome]) -> tuple[Cell, ...]:
        """None."""
        return ()


def changed(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with values put at dotted names; ``tune.`` of a list is its last tuning.

    Raises:
        KeyError: a name that goes through something that is no section.
    """
    copy: dict[str, Any] = _copied(settings)
    for name, value in changes.items():
        here = copy
        *path, last = name.split(".")
        for part in path:
            inner = here.setdefault(part, {})
            inner = inner[-1] if isinstance(inner, list) and inner else inner
            if not isinstance(inner, dict):
                raise KeyError(name)
            here = inner
        here[last] = value
    return copy


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list | tuple) else value


def last_tuning(settings: dict[str, Any]) -> dict[str, Any]:
    """The section of the only tuning, or of the last of a list."""
    tune = settings["tune"]
    found: dict[str, Any] = tune[-1] if isinstance(tune, list) else tune
    return found


def _asked_alone(
    settings: Mapping[str, Any], asked: Question, systems: Sequence[str]
) -> dict[str, Any]:
    """Settings that ask some systems the study's items, without what is measured beside scores."""
    plain = changed(
        settings,
        {
            "build.workers": 0,
            "build.lints": False,
            "build.held_out.seed": asked.seed,
            "evaluate.systems": list(systems),
            "evaluate.nearest": 0,
        },
    )
    for beside in ("safety", "judge", "gate", "lm_eval"):
        plain["evaluate"].pop(beside, None)
    return plain


def lean(settings: Mapping[str, Any], asked: Question) -> dict[str, Any]:
    """The settings of a cell: equal tokens, equal items, the tuned model alone is asked.

    What is only measured beside the scores is left out, save retention.
    """
    plain = changed(_asked_alone(settings, asked, ("tuned",)), {"tune.max_tokens": asked.tokens})
    last = last_tuning(plain)
    for limit in LIMITS:
        if limit != "max_tokens":
            last.pop(limit, None)
    return plain


def pipeline_cell(
    factors: Mapping[str, Any],
    seed: int,
    settings: Mapping[str, Any],
    asked: Question,
    *,
    stages: Sequence[str] = ("build", "tune", "evaluate"),
    keep: Sequence[str] = (),
    needs: Sequence[str] = (),
    tokens: int | None = None,
) -> Cell:
    """A cell that runs an ordinary line of stages."""
    work = {"settings": settings, "stages": list(stages), "keep": list(keep)}
    trained = asked.tokens if tokens is None else tokens
    return Cell(
        kind=PIPELINE,
        factors=factors,
        seed=seed,
        work=work,
        needs=tuple(needs),
        tokens=trained if {"tune", "align"} & set(stages) else 0,
    )


def base_cell(asked: Question) -> Cell:
    """The base, the prompted base and the copies, asked the same items once."""
    model = first_model(asked.settings)
    # nobody asks the tuned model; its template is that of the questions
    models = {"evaluate.base": model, "evaluate.tuned": model}
    settings = changed(_asked_alone(asked.settings, asked, BASELINES), models)
    settings["evaluate"].pop("retention", None)
    settings.pop("tune", None)
    return pipeline_cell({}, asked.seeds[0], settings, asked, stages=("build", "evaluate"))


def first_model(settings: Mapping[str, Any]) -> str:
    """The folder of the model that the file's first tuning starts from."""
    first = settings["tune"][0] if isinstance(settings["tune"], list) else settings["tune"]
    return str(first["model"]["path"])


def done_places(
    outcomes: Sequence[Outcome], level: Callable[[Cell], Level | None]
) -> dict[tuple[Level, int], Path]:
    """The files of scores of the cells that are done, by level and seed; None leaves a cell out."""
    found: dict[tuple[Level, int], Path] = {}
    for one in outcomes:
        place = level(one.cell)
        if one.state == "done" and place is not None and (one.directory / SCORES).is_file():
            found[place, one.cell.seed] = one.directory / SCORES
    return found


def grid_of(
    outcomes: Sequence[Outcome],
    asked: Question,
    level: Callable[[Cell], Level | None],
    system: str = "tuned",
) -> Grid:
    """Scores of the cells that have a level, on the suites that the study is about.

    Raises:
        EvaluationError: as :func:`~regimen.studies.scores.read_grid`.
    """
    return read_grid(done_places(outcomes, level), system, asked.suites)


def difference(a_SN: Floats, b_SN: Floats, clusters: Sequence[str], reach: float = 1.0) -> Measured:
    """a - b over tasks and seeds; ``reach`` is the largest difference that there can be."""
    found = seeded_difference(a_SN, b_SN, clusters, bounds=(-reach, reach))
    paired = found.paired
    return Measured(
        difference=paired.difference,
        low=paired.low,
        high=paired.high,
        n=paired.n,
        clusters=paired.clusters,
        seeds=paired.seeds,
        resolvable=paired.resolvable,
        seed_sd=found.spread.sd,
        p=paired.p,
    )


def contrast(grid: Grid, weights: Mapping[Level, float]) -> Measured:
    """A weighted sum of levels whose weights sum to 0, such as a difference of differences.

    Raises:
        ValueError: the weights do not sum to 0, so that it would be no difference.
    """
    if abs(sum(weights.values())) > 1e-9 or not any(weights.values()):
        raise ValueError(f"the weights of a contrast sum to 0 and are not all 0, got {weights}")
    reach = sum(weight for weight in weights.values() if weight > 0)
    total = sum(weight * grid.scores[level] for level, weight in weights.items())
    total_SN = np.asarray(total, dtype=np.float64)
    return difference(total_SN, np.zeros_like(total_SN), grid.clusters, reach)


def claim_on(
    grid: Grid,
    weights: Mapping[Level, float],
    *,
    name: str,
    text: str,
    source: str,
    expected: Expected,
) -> list[Claim]:
    """A claim on a contrast; none where a level has no result or is compared with itself."""
    if not any(weights.values()) or not weights.keys() <= grid.scores.keys():
        return []
    measured = contrast(grid, weights)
    return [Claim(name=name, text=text, source=source, expected=expected, measured=measured)]


def mean_json(scores_SN: Floats, clusters: Sequence[str]) -> dict[str, Any]:
    """``score``, ``low``, ``high``, ``sd`` over seeds, and each seed's score."""
    found = seeded_mean(scores_SN, clusters, bounds=(0.0, 1.0))
    return {
        "score": found.interval.estimate,
        "low": found.interval.low,
        "high": found.interval.high,
        "sd": found.spread.sd,
        "per_seed": list(found.spread.per_seed),
    }


def baseline_scores(outcomes: Sequence[Outcome], asked: Question) -> Iterator[tuple[str, float]]:
    """Scores of the baselines on the study's suites, where their cell was made."""
    places = done_places(outcomes, lambda cell: None if cell.factors else ())
    for system in BASELINES if places else ():
        grid = read_grid(places, system, asked.suites)
        if grid.rows:
            yield system, float(grid.scores[()].mean())
