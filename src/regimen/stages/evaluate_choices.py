"""Of ``evaluate``: choices ranked by likelihood, and the calibration of choices and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regimen import console
from regimen.evaluation.calibration_blocks import answer_calibration
from regimen.evaluation.choice_blocks import ROW_COLUMNS, ChoiceResult, ChoiceSystem
from regimen.evaluation.choice_blocks import evaluate_choices as rank
from regimen.evaluation.choices import Choices, ask_choices, ask_choices_prompted
from regimen.evaluation.runner import EvaluationResult
from regimen.evaluation.suites import cluster_of
from regimen.protocols import Alternatives
from regimen.record_columns import versioned
from regimen.records import Item
from regimen.runs import Run
from regimen.settings.choices import ChoiceSettings
from regimen.stages.evaluate_systems import PROMPTED
from regimen.stages.likelihoods import LocalLikelihoods
from regimen.stages.models import LazyGenerator
from regimen.tables import write_table


def suite_choices(
    section: ChoiceSettings | None,
    result: EvaluationResult,
    validation: Sequence[Item],
    generators: Mapping[str, LazyGenerator],
    shots: Callable[[Item], int],
    run: Run,
) -> dict[str, dict[str, Any]]:
    """By suite: ``choices``, where the section is given and there are some, and ``calibration``.

    Writes ``choices.parquet``, one row per choice and system.

    Args:
        section: None leaves the choices alone.
        result: items and answers of every system.
        validation: items on which temperatures are fitted.
        generators: the models by name.
        shots: demonstrations of the prompted base for an item.
        run: of the stage.
    """
    found = None
    if section is not None and any(item.choices for item in result.items):
        found = _ranked(section, result, validation, generators, shots)
        write_choices(run, found)
    answers = answers_calibration(result)
    blocks: dict[str, dict[str, Any]] = {}
    for suite, block in result.suites.items():
        own = found.calibration.get(suite, {}) if found else {}
        calibration = {
            system: {"choices": own.get(system), "answers": answers[suite].get(system)}
            for system in block["systems"]
            if own.get(system) or answers[suite].get(system)
        }
        blocks[suite] = {"calibration": calibration} if calibration else {}
        if found and suite in found.suites:
            blocks[suite]["choices"] = found.suites[suite]
    return blocks


def _ranked(
    section: ChoiceSettings,
    result: EvaluationResult,
    validation: Sequence[Item],
    generators: Mapping[str, LazyGenerator],
    shots: Callable[[Item], int],
) -> ChoiceResult:
    """Every model that answered the items, asked for the likelihood of their choices."""

    def prompted(item: Item, choices: Choices) -> Alternatives:
        return ask_choices_prompted(item, choices, shots(item))

    systems: dict[str, ChoiceSystem] = {}
    for name in result.answers:
        source = "base" if name == PROMPTED else name
        if source in generators:
            likelihoods = LocalLikelihoods(
                generators[source], tokens_per_batch=section.tokens_per_batch
            )
            ask = prompted if name == PROMPTED else ask_choices
            systems[name] = ChoiceSystem(likelihoods, ask)
    total = len(systems) * sum(bool(item.choices) for item in (*result.items, *validation))
    with console.progress(total, "choices", "items") as bar:
        return rank(
            result.items,
            systems,
            validation=validation,
            premise=section.premise,
            bins=section.bins,
            advance=bar.advance,
        )


def answers_calibration(result: EvaluationResult) -> dict[str, dict[str, Any]]:
    """By suite and system: what the likelihood of generated answers says of their being right."""
    scores = {(row.suite, row.item_id, row.system): row.score for row in result.rows}
    found: dict[str, dict[str, Any]] = {}
    for suite, block in result.suites.items():
        places = [n for n, item in enumerate(result.items) if item.suite == suite]
        own = [result.items[n] for n in places]
        found[suite] = {}
        for system, answers in result.answers.items():
            marks = [scores[suite, item.item_id, system] for item in own]
            if any(mark is None for mark in marks):
                continue  # only a judge scores this suite
            right = [mark is not None and mark >= block["right_at"] for mark in marks]
            entry = answer_calibration(
                [answers[n] for n in places], right, [cluster_of(item) for item in own]
            )
            if entry is not None:
                found[suite][system] = entry
    return found


def write_choices(run: Run, found: ChoiceResult) -> None:
    """``choices.parquet``: every choice with its log-probabilities, or why there is none."""
    import pyarrow as pa

    kinds = {
        **dict.fromkeys(("place", "tokens"), pa.int64()),
        **dict.fromkeys(("logp", "premise_logp"), pa.float64()),
        "right": pa.bool_(),
    }
    schema = versioned([(name, kinds.get(name, pa.string())) for name in ROW_COLUMNS])
    write_table(run.path("choices.parquet"), pa.Table.from_pylist(list(found.rows), schema=schema))
