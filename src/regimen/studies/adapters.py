"""Study ``adapters``: methods at equal trained parameters and at equal memory.

A generalist is tuned by the file's ``build`` and ``tune``, one for each seed. From it, the job is
learnt by every method, on equally many tokens. First, on seeds of their own, all learning rates of
a method's grid are tried; then the best of them, by right answers to items that the results have no
part in, on the seeds of the study (:mod:`regimen.studies.adapters_rates`). What is made of it is in
:mod:`regimen.studies.adapters_found`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regimen.settings.adapters_study import FULL, LORA
from regimen.studies.adapters_found import findings
from regimen.studies.adapters_rates import APART, GENERAL, HALVES, choices
from regimen.studies.cells import Cell, Outcome
from regimen.studies.design import Findings, Question, changed, last_tuning, lean, pipeline_cell
from regimen.studies.one_job import (
    asked_files,
    asked_generalist,
    generalist,
    generalist_model,
    job_build,
    job_cell,
)
from regimen.studies.scores import Level


class AdaptersStudy:
    """Cells: the job's items, a generalist for each seed, methods x learning rates x seeds.

    Full tuning and LoRA are there once more with few rows of the job, where that is wanted.
    """

    question = "At equal parameters or equal memory: which method learns a job, and forgets least?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """The job's items, and every method at every rate on the seeds that choose."""
        plain = lean(asked.settings, asked)
        job = job_cell(plain, asked, _items(asked))
        made = [job]
        for seed in rate_seeds(asked):
            general = generalist(plain, asked, seed, asked.options["general_tokens"])
            made.append(general)
            made += [
                _learner(plain, asked, seed, (general, job), arm, rate, "tried")
                for arm in arms(asked.options)
                for rate in _rates(asked, arm)
            ]
        return tuple(made)

    def further(self, asked: Question, outcomes: Sequence[Outcome]) -> tuple[Cell, ...]:
        """Every method at its rate on the seeds of the study, beside the generalist itself."""
        plain = lean(asked.settings, asked)
        job = job_cell(plain, asked, _items(asked))
        if outcomes:
            found = choices(outcomes)
            rates = {one.arm: one.best.rate for one in found if one.best is not None}
        else:  # for the cost any rate will do
            rates = {arm: _middle(_rates(asked, arm)) for arm in arms(asked.options)}
        made: list[Cell] = []
        for seed in asked.seeds if rates else ():
            general = generalist(plain, asked, seed, asked.options["general_tokens"])
            made += [general, asked_generalist(GENERAL, plain, asked, seed, general, job)]
            made += [
                _learner(plain, asked, seed, (general, job), arm, rate, "method")
                for arm, rate in rates.items()
            ]
        return tuple(made)

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Every method at its best learning rate: quality, retention, memory, speed.

        Raises:
            EvaluationError: there is no generalist to compare with, or no method has a result.
        """
        return findings(asked, outcomes)


def arms(options: Mapping[str, Any]) -> list[Level]:
    """Methods with their training rows: all with many, full tuning and LoRA also with few."""
    found: list[Level] = [(name, options["rows"]) for name in options["methods"]]
    if options["few_rows"]:
        found += [(name, options["few_rows"]) for name in (FULL, LORA)]
    return found


def rate_seeds(asked: Question) -> tuple[int, ...]:
    """The seeds on which rates are chosen: the same ones when the study gets more seeds."""
    first = asked.seed + APART
    return tuple(first + number for number in range(asked.options["rate_seeds"]))


def _items(asked: Question) -> int:
    return HALVES * int(asked.options["items"])


def _rates(asked: Question, arm: Level) -> list[float]:
    return sorted(asked.options["methods"][arm[0]]["learning_rates"])


def _middle(rates: Sequence[float]) -> float:
    return rates[len(rates) // 2]


def _learner(
    plain: Mapping[str, Any],
    asked: Question,
    seed: int,
    needs: tuple[Cell, Cell],
    arm: Level,
    rate: float,
    factor: str,
) -> Cell:
    """One method on the job, from the generalist of its seed."""
    name, rows = arm
    method = asked.options["methods"][name]
    settings = asked_files(job_build(plain, asked, _items(asked)))
    tune = {
        # the generalist may have been made with an adapter
        **{k: v for k, v in last_tuning(settings).items() if k not in ("adapter", "quantise")},
        **{k: method[k] for k in ("adapter", "quantise") if method[k] is not None},
        "model": {"path": generalist_model(plain)},
        "learning_rate": rate,
    }
    return pipeline_cell(
        {factor: name, "rate": rate, "rows": rows},
        seed,
        changed(settings, {"build.rows": rows, "tune": tune}),
        asked,
        needs=[one.name for one in needs],
    )
