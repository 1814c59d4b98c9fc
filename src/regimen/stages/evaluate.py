"""``evaluate``: held-out items, base and tuned side by side, with intervals.

The items are asked of every system in one go; what else is measured on them, or beside them, is
in two tables, :data:`SUITE_BLOCKS` and :data:`BLOCKS`, each name a key of ``evaluation.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from regimen import console
from regimen.evaluation.answers import answers_to_table
from regimen.evaluation.metrics import metrics_named
from regimen.evaluation.runner import EvaluationResult
from regimen.evaluation.runner import evaluate as run_evaluation
from regimen.evaluation.traces import (
    Traces,
    contamination_blocks,
    nearest_to_table,
    overlaps_to_table,
)
from regimen.models.hardware import set_up
from regimen.runs import Run
from regimen.settings.evaluate import EvaluateSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.stages.common import StageResult, path_key, run_stage
from regimen.stages.evaluate_choices import suite_choices
from regimen.stages.evaluate_costs import retention_block, safety_block
from regimen.stages.evaluate_items import AskedItems, asked_items, item_inputs
from regimen.stages.evaluate_judge import judge_blocks, judge_inputs
from regimen.stages.evaluate_lm_eval import lm_eval_block, lm_eval_inputs
from regimen.stages.evaluate_systems import measured_change, model_generators, named_systems
from regimen.stages.evaluate_traces import traced, training_files
from regimen.stages.models import LazyGenerator
from regimen.tables import write_table

DEFAULT_METRICS = metrics_named("exact", "rouge_l")
"""Of the tasks that a build holds out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What is known once every system has answered every item.

    ``asked`` says where the items come from and how each suite is asked; ``result`` holds the
    items, the answers of every system and their scores; ``shots`` says how the prompted base was
    chosen, ``traces`` what the items have to do with the training rows.
    """

    section: EvaluateSettings
    seed: int
    run: Run
    generators: Mapping[str, LazyGenerator]
    asked: AskedItems
    result: EvaluationResult
    shots: Mapping[str, Any]
    traces: Traces


def _safety(done: Evaluated) -> dict[str, Any]:
    """Also a file of its own, which the report reads."""
    block = safety_block(done.section, done.seed, done.generators)
    done.run.write_json("safety.json", block)
    return block


def _choices(done: Evaluated) -> dict[str, dict[str, Any]]:
    """By suite: the blocks ``choices`` and ``calibration``, which are measured together."""
    shots = partial(done.asked.shots, k=done.shots.get("k", done.section.shots[0]))
    validation = done.asked.validation
    return suite_choices(
        done.section.choices, done.result, validation, done.generators, shots, done.run
    )


SUITE_BLOCKS: Mapping[str, Callable[[Evaluated], Mapping[str, Any]]] = {
    "read": lambda done: {name: plan.read.to_json() for name, plan in done.asked.plans.items()},
    "contamination": lambda done: contamination_blocks(done.result, done.traces),
}
"""By key of a suite's block: a function that gives it, by suite; suites may be left out."""

BLOCKS: Mapping[str, Callable[[Evaluated], Mapping[str, Any]]] = {
    "retention": lambda done: retention_block(done.section, done.generators),
    "prompted_base": lambda done: done.shots,
    "safety": _safety,
    "lm_eval": lambda done: lm_eval_block(
        done.section.lm_eval, done.section.systems, done.generators, done.seed
    ),
}
"""By key of ``evaluation.json``: a function that gives the block, in the order of the file."""


def evaluate(settings: PipelineSettings, root: Path, models: Mapping[str, str]) -> StageResult:
    """Compare systems on the held-out items of ``root/build`` and on the suites of the settings.

    Args:
        settings: of the pipeline.
        root: the pipeline's run directory; this stage writes ``root/evaluate``.
        models: folders of ``base``, ``tuned`` and, where something was aligned, ``aligned``.

    Raises:
        EvaluationError: no items, or the tuned model is the base.
    """
    section = settings.evaluate
    assert section is not None
    items = root / "build" / "items.parquet"
    files = training_files(settings, root)
    inputs = {name: path_key(path) for name, path in models.items()}
    inputs |= item_inputs(section, items)
    inputs |= {name: path_key(path) for name, path in files.items()}
    inputs |= judge_inputs(section.judge)
    inputs |= lm_eval_inputs(section.lm_eval)
    seed = settings.seed_of("evaluate")

    def work(run: Run) -> Mapping[str, Any]:
        asked = asked_items(section, items)
        return _written(_answered(section, seed, run, asked, models, files))

    return run_stage("evaluate", settings, root / "evaluate", inputs, work)


def _answered(
    section: EvaluateSettings,
    seed: int,
    run: Run,
    asked: AskedItems,
    models: Mapping[str, str],
    training: Mapping[str, Path],
) -> Evaluated:
    """Ask every system every item, and score the answers."""
    set_up()
    generators = model_generators(section, models)
    systems, shots = named_systems(section, generators, asked, DEFAULT_METRICS)
    # without one of the two there is nothing to compare, as in the cells of a study
    both = {"base", "tuned"} <= systems.keys()
    change = measured_change(generators, asked.items) if both else None
    with console.progress(len(systems) * len(asked.items), "evaluate", "answers") as bar:
        result = run_evaluation(
            asked.items,
            systems,
            DEFAULT_METRICS,
            suite_metrics=asked.metrics,
            change=change,
            advance=bar.advance,
        )
    return Evaluated(
        section=section,
        seed=seed,
        run=run,
        generators=generators,
        asked=asked,
        result=result,
        shots=shots,
        traces=traced(result.items, training, section.nearest),
    )


def _written(done: Evaluated) -> dict[str, Any]:
    """The stage's files; returns its summary."""
    body = done.result.to_json()
    for key, block_of in SUITE_BLOCKS.items():
        for suite, block in block_of(done).items():
            body["suites"][suite][key] = block
    for suite, more in _choices(done).items():
        body["suites"][suite] |= more
    body |= {key: dict(block_of(done)) for key, block_of in BLOCKS.items()}
    body |= judge_blocks(done.section.judge, done.run, done.result.items, done.result.answers)
    done.run.write_json("evaluation.json", body)
    answers = answers_to_table(done.result.rows, done.traces.contaminated)
    write_table(done.run.path("answers.parquet"), answers)
    write_table(done.run.path("nearest.parquet"), nearest_to_table(done.traces.nearest))
    write_table(done.run.path("contamination.parquet"), overlaps_to_table(done.traces))
    return {
        "suites": {
            name: {
                "items": block["items"],
                "metric": block["metric"],
                "scores": {
                    system: None if entry["score"] is None else round(entry["score"], 4)
                    for system, entry in block["systems"].items()
                },
            }
            for name, block in body["suites"].items()
        },
        "systems": list(done.result.answers),
    }
