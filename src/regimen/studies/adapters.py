"""Study ``adapters``: methods at equal trained parameters and at equal memory.

A generalist is tuned by the file's ``build`` and ``tune``, one for each seed. From it, the job is
learnt by every method at every learning rate of its grid, on equally many tokens. A method is
judged at its best rate, which the loss on rows of the job decides that are neither trained on nor
asked (:mod:`regimen.studies.adapters_rates`); what is made of it is in
:mod:`regimen.studies.adapters_found`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regimen.settings.adapters_study import FULL, LORA
from regimen.studies.adapters_found import findings
from regimen.studies.adapters_rates import GENERAL
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

AT_THE_END = 1_000_000
"""Steps between two measurements of the validation loss, more than there are: the last step is
always measured."""


class AdaptersStudy:
    """Cells: the job's items, a generalist for each seed, methods x learning rates x seeds.

    Full tuning and LoRA are there once more with few rows of the job, where that is wanted.
    """

    question = "At equal parameters or equal memory: which method learns a job, and forgets least?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """The job's items, the generalists, every method at every rate."""
        plain = lean(asked.settings, asked)
        job = job_cell(plain, asked)
        made = [job]
        for seed in asked.seeds:
            general = generalist(plain, asked, seed, asked.options["general_tokens"])
            made += [general, asked_generalist(GENERAL, plain, asked, seed, general, job)]
            made += [
                _learner(plain, asked, seed, (general, job), name, rate, rows)
                for name, rows in arms(asked.options)
                for rate in sorted(asked.options["methods"][name]["learning_rates"])
            ]
        return tuple(made)

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Every method at its best learning rate: quality, retention, memory, speed.

        Raises:
            EvaluationError: there is no generalist to compare with, or no method has a result.
        """
        return findings(asked, outcomes)


def arms(options: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Methods with their training rows: all with many, full tuning and LoRA also with few."""
    found = [(name, options["rows"]) for name in options["methods"]]
    if options["few_rows"]:
        found += [(name, options["few_rows"]) for name in (FULL, LORA)]
    return found


def _learner(
    plain: Mapping[str, Any],
    asked: Question,
    seed: int,
    needs: tuple[Cell, Cell],
    name: str,
    rate: float,
    rows: int,
) -> Cell:
    """One method on the job, from the generalist of its seed."""
    method, kept = asked.options["methods"][name], asked.options["validation_rows"]
    settings = asked_files(job_build(plain, asked))
    tune = {
        # the generalist may have been made with an adapter
        **{k: v for k, v in last_tuning(settings).items() if k not in ("adapter", "quantise")},
        **{k: method[k] for k in ("adapter", "quantise") if method[k] is not None},
        "model": {"path": generalist_model(plain)},
        "learning_rate": rate,
        "validation": {"share": kept / (rows + kept), "every": AT_THE_END, "keep_best": False},
    }
    return pipeline_cell(
        {"method": name, "rate": rate, "rows": rows},
        seed,
        changed(settings, {"build.rows": rows + kept, "tune": tune}),
        asked,
        needs=[one.name for one in needs],
    )
