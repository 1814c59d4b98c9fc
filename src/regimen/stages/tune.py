"""``tune``: supervised fine-tuning of a model on instances, or language modelling on plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regimen import console
from regimen.errors import DataError
from regimen.models.hardware import set_up
from regimen.models.loading import load_tokenizer
from regimen.objectives.base import Objective
from regimen.objectives.supervised import Supervised
from regimen.runs import Run
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.training import ModelSettings
from regimen.settings.tune import TuneSettings
from regimen.stages.common import StageResult, path_key, run_stage, section_name
from regimen.stages.plan import FILE as PLAN
from regimen.stages.plan import arranged
from regimen.stages.profile import profile_stage
from regimen.stages.rows import conversation_rows, document_rows
from regimen.stages.teachers import distillation, own_answers
from regimen.stages.texts import load_texts
from regimen.stages.training import (
    MERGED,
    Prepared,
    finish_model,
    prepare_model,
    start_from,
)
from regimen.stages.training_run import KEPT, Job, Validation, run_training, training_summary
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.store import (
    TokenRows,
    load_token_rows,
    save_token_rows,
)
from regimen.training.data import Data


def tune(
    settings: PipelineSettings,
    root: Path,
    data: Path | None = None,
    *,
    stage: str = "tune",
    before: ModelSettings | None = None,
) -> StageResult:
    """Train the model that one of ``settings.tunings`` names.

    Args:
        settings: of the pipeline.
        root: the pipeline's run directory; this stage writes ``root/<stage>``.
        data: the directory of ``build``; the section's own ``data`` if None.
        stage: which of the tunings.
        before: what the tuning before ended with.

    Raises:
        DataError: no usable instance is left.
        ModelError, AdapterError, TokenError, TrainingError: the model cannot be trained.
    """
    section, source = _inputs(settings, data, stage, before)
    inputs = {"model": path_key(section.model.path or "fresh")}
    if section.objective == "supervised" and source is not None:
        inputs["instances"] = path_key(source)
    if section.distil is not None:
        inputs["teacher"] = path_key(section.distil.teacher)
    replay = section.replay.text if section.replay is not None else None
    texts = {"text": section.text, "replay": replay}
    for name, text in texts.items():
        if text is not None:
            inputs[name] = path_key(text.path or (text.function.file if text.function else ""))
    return run_stage(
        stage,
        settings,
        root / stage,
        inputs,
        lambda run: _work(arranged(section, run.directory), settings.seed_of(stage), run, source),
        keep=(*KEPT, PLAN),
    )


def profile_tune(
    settings: PipelineSettings,
    root: Path,
    data: Path | None = None,
    *,
    stage: str = "tune",
    before: ModelSettings | None = None,
) -> StageResult:
    """Measure some steps of what ``tune`` would train, with the same arguments and errors."""
    section, source = _inputs(settings, data, stage, before)
    seed = settings.seed_of(stage)
    return profile_stage(stage, root, lambda run: _job(section, seed, run, source))


def tuning_job(settings: PipelineSettings, run: Run, data: Path) -> Job:
    """What ``tune`` would train on a build, in the folder of another run."""
    section, source = _inputs(settings, data, "tune", None)
    return _job(section, settings.seed_of("tune"), run, source)


def _inputs(
    settings: PipelineSettings, data: Path | None, stage: str, before: ModelSettings | None
) -> tuple[TuneSettings, Path | None]:
    section = settings.tunings[stage]
    section = section.model_copy(update={"model": start_from(section.model, before)})
    return section, instances_path(section.data or data)


def instances_path(data: str | Path | None, name: str = "instances.parquet") -> Path | None:
    """The Parquet file of a build directory, or the file itself."""
    if data is None:
        return None
    path = Path(data)
    return path / name if path.is_dir() else path


def _work(section: TuneSettings, seed: int, run: Run, source: Path | None) -> Mapping[str, Any]:
    hardware = set_up()
    job = _job(section, seed, run, source)
    done = run_training(run, job)
    told = finish_model(run, job.prepared, dtype=section.model.save_dtype)
    return training_summary(job.prepared, done, hardware, {**job.extra, **told})


def _job(section: TuneSettings, seed: int, run: Run, source: Path | None) -> Job:
    """What is trained: model, rows, objective."""
    if section.objective == "language_modelling":
        prepared, rows, extra = _plain_text(section, run, seed)
    else:
        assert source is not None
        prepared = prepare_model(
            section.model, section, seed=seed, mask=section.mask, merged=run.path(MERGED)
        )
        rows, extra = conversation_rows(section, prepared, run, source)
    save_token_rows(run.path("tokens.arrow"), rows)
    rows = load_token_rows(run.path("tokens.arrow"))
    console.line(
        f"{run.stage}: {len(rows):,} rows, {int(rows.lengths.sum()):,} tokens, "
        f"{int(rows.supervised.sum()):,} supervised"
        + ("" if prepared.language_model.ragged else f"; {prepared.notes[-1]}")
    )
    validation = None
    if section.validation is not None:
        kept = section.validation
        if len(rows) < 2:
            raise DataError(
                "There are too few rows to keep some for validation.",
                slug="validation-too-few",
                got=f"{len(rows)} row",
                expected="at least 2",
                fix=f"Remove {section_name(run.stage)}.validation, or add data.",
            )
        rows, held_out = rows.split(kept.share, seed)
        validation = Validation(held_out, kept.every, kept.patience, kept.keep_best)
    objective: Objective = Supervised(section.label_smoothing, section.z_loss)
    data = None
    if section.distil is not None:
        objective, told = distillation(section.distil, prepared, section.max_length)
        data = own_answers(section.distil, prepared)
        extra |= {"distil": told}
    return Job(
        prepared=prepared,
        rows=rows,
        objective=objective,
        training=section,
        seed=seed,
        validation=validation,
        data=data or Data,
        extra={"seed": seed, **extra},
    )


def _plain_text(
    section: TuneSettings, run: Run, seed: int
) -> tuple[Prepared, TokenRows, dict[str, Any]]:
    """Tokens of plain text; a fresh tokenizer is trained on the head of the text."""
    assert section.text is not None
    texts = load_texts(section.text)
    size = sum(len(text.encode()) for text in texts)
    console.line(f"{run.stage}: {len(texts):,} documents, {size / 1e6:.1f} MB of text")
    tokenizer = text_tokenizer(section.model, texts)
    prepared = prepare_model(
        section.model,
        section,
        seed=seed,
        tokenizer=tokenizer,
        chat=False,
        merged=run.path(MERGED),
    )
    rows, extra = document_rows(section, prepared, run, texts)
    return prepared, rows, {"documents": len(texts), "bytes": size, **extra}


def text_tokenizer(model: ModelSettings, texts: Sequence[str]) -> Any:
    """The tokenizer of language modelling: trained on the head of the text, loaded, or None.

    None stands for the model's own.
    """
    if model.train_tokenizer is not None:
        size = sum(len(text.encode()) for text in texts)
        sample = texts if size < 40e6 else texts[:: int(size // 40e6) + 1]
        return train_tokenizer(sample, model.train_tokenizer, model.bare_words)
    return None if model.tokenizer is None else load_tokenizer(model.tokenizer)
