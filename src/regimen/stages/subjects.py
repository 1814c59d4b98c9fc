"""What ``verify`` checks: the models and a few rows that a settings file names."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import torch
from torch import Tensor

from regimen.adapters import methods as adapters
from regimen.alignment.forms import (
    Record,
    Row,
    all_alike,
    answer_table,
    answers_in,
    records_of,
    row_of,
    with_mismatched,
)
from regimen.errors import DataError, TokenError
from regimen.models.loading import ModelSpec
from regimen.models.quantised import is_quantised
from regimen.objectives.table import METHODS
from regimen.settings.align import AlignSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.quantised import base_kind
from regimen.settings.training import ModelSettings, TrainingSettings
from regimen.settings.tune import TuneSettings
from regimen.stages.align import with_new_tokens
from regimen.stages.align_rows import (
    asks_for_margins,
    conditioned_rows,
    read_records,
    source_of,
    why_left_out,
)
from regimen.stages.arrangements import quantisation_of
from regimen.stages.replay import replay_source
from regimen.stages.rows import document_pieces, read_instances, replayed_rows
from regimen.stages.texts import read_texts
from regimen.stages.training import (
    MERGED,
    Opened,
    loop_options,
    open_model,
    start_from,
    start_model,
)
from regimen.stages.training_run import optimizer_of
from regimen.stages.tune import instances_path, text_tokenizer
from regimen.tables import read_table, spread
from regimen.tokens.overflow import fit_answers, fit_conversation
from regimen.tokens.rendering import Rendered, RenderedAnswers, Renderer
from regimen.verifying.losses import supervised_twin
from regimen.verifying.plain import answer_logps
from regimen.verifying.preferences import Term, answers_twin, with_replay
from regimen.verifying.rows import beginning_alike, made_alike, varied
from regimen.verifying.subject import Subject

POOL = 240
"""Rows of the data that the few are chosen from."""

CHARACTERS = 1 << 20
"""Plain text that the few rows are chosen from: documents may be books."""

PAIRS = 8
"""A pair has two answers, so fewer pairs than rows will do."""

MARGIN = 2.0
"""Nats by which references are moved, so that no margin is 0 and each pair counts differently."""

Training = TypeVar("Training", bound=TrainingSettings)


def tune_subject(settings: PipelineSettings, stage: str) -> Subject | str:
    """The model and rows of one of the tunings, or why there are none yet.

    Raises:
        DataError: the data cannot be read, or no row is left of it.
        ModelError, AdapterError, TokenError: the model cannot be trained.
    """
    section, seed = settings.tunings[stage], settings.seed_of(stage)
    if section.model.previous:
        before = _result(settings, stage)
        if before is None:
            return "the tuning before it has not run"
        section = section.model_copy(update={"model": start_from(section.model, before)})
    section = _in_fp32(section)
    if section.objective == "language_modelling":
        opener, opened, pool = _documents(section, seed)
        remark = ""
    else:
        source = instances_path(section.data or _built(settings))
        if source is None:
            return "there are no instances yet: run `regimen build` first"
        opener = _opener(section.model, section, seed, mask=section.mask)
        opened = opener()
        pool, remark = _conversations(source, opened.renderer, section)
    rows = varied(pool)
    if not rows:
        return "no token of its rows is learnt"
    shared = beginning_alike(pool) or made_alike(rows)
    if section.replay is not None:
        rows += replayed_rows(section.replay, opened.renderer, rows, section.max_length)
    return Subject(
        section=stage,
        about=_about(section.model, section) + remark,
        open=opener,
        rows=rows,
        shared=shared,
        twin=supervised_twin(section.label_smoothing, section.z_loss),
        options=loop_options(section, seed),
        optimizer=_optimizer(section),
        merge=_merge(section, opened, seed),
        quantisation=quantisation_of(section),
        compiled=section.torch_compile,
        save_dtype=section.model.save_dtype,
    )


def align_subject(settings: PipelineSettings, stage: str = "align") -> Subject | str:
    """The model and pairs of ``align``, or why there are none yet.

    Where ``tune`` has not been run, its starting model takes the place of its result.

    Raises:
        DataError: the preferences cannot be read, or none is left of them.
        ModelError, AdapterError, TokenError: the model cannot be trained.
    """
    assert settings.align is not None
    section, seed = _in_fp32(settings.align), settings.seed_of("align")
    if section.method == "raft":
        return "raft tunes on answers that it samples: verify a tuning with the same options"
    if section.rewards:
        return "a reward model predicts no tokens; its own tests hold its loss to the formula"
    try:
        source = source_of(section, _built(settings))
    except DataError:
        return "there are no preferences yet: run `regimen build` first"
    model, note = _start(settings)
    if model is None:
        return "there is no model to start from yet: run `regimen tune` first"
    model = with_new_tokens(section, model)
    opener = _opener(model, section, seed)
    opened = opener()
    records, remark = _records(source, opened.renderer, section)
    given: dict[str, Any] = {
        "section": stage,
        "about": _about(model, section) + note + remark,
        "open": opener,
        "options": loop_options(section, seed),
        "optimizer": _optimizer(section),
        "merge": _merge(section, opened, seed),
        "quantisation": quantisation_of(section),
        "compiled": section.torch_compile,
    }
    if not section.losses:
        rows = varied(conditioned_rows(section, opened.renderer, records))
        if not rows:
            return "no record of its preferences fits"
        shared = beginning_alike(rows) or made_alike(rows)
        return Subject(rows=rows, shared=shared, twin=supervised_twin(), **given)
    subject = _answers_subject(section, opened, records, given, seed)
    if section.replay is None or isinstance(subject, str):
        return subject
    try:
        replayed = replay_source(section.replay, _built(settings))
    except DataError:
        return "there are no instances to replay yet: run `regimen build` first"
    again = varied(_conversations(replayed, opened.renderer, section)[0], PAIRS)
    if not again:
        return "no token of the rows to replay is learnt"
    twin = with_replay(subject.twin, section.replay.weight, again)
    return replace(subject, rows=[*subject.rows, *again], twin=twin)


def _answers_subject(
    section: AlignSettings,
    opened: Opened,
    records: Sequence[Record],
    given: dict[str, Any],
    seed: int,
) -> Subject | str:
    """The subject of methods over answers."""
    pool = [row for record in records for row in _fitted(section, opened.renderer, record)]
    if any(METHODS[loss.name].mismatched for loss in section.losses):
        pool = with_mismatched(pool, seed, section.max_length)
    chosen = varied([row.rendered for row in pool], PAIRS)
    if not chosen:
        return "no record of its preferences fits"
    named = {row.rendered: row for row in pool}
    rows = [named[rendered] for rendered in chosen]
    terms = [Term(loss.name, loss.weight, loss.given()) for loss in section.losses]
    compared = any(METHODS[loss.name].reference for loss in section.losses)
    reference_A = _reference(opened, chosen) if compared else None
    moved_A = None
    if reference_A is not None:
        signs_A = 1 - 2 * (torch.arange(len(reference_A)) % 2)
        moved_A = reference_A + signs_A * torch.linspace(-MARGIN, MARGIN, len(reference_A))
    return Subject(
        rows=chosen,
        shared=chosen,
        twin=answers_twin(terms, answer_table(rows, moved_A), chosen),
        reference_A=reference_A,
        **given,
    )


def _fitted(section: AlignSettings, renderer: Renderer, record: Record) -> list[Row]:
    """The row of a record that can be rendered and learnt from."""
    if why_left_out(section, record):
        return []
    fitted, _ = fit_answers(
        renderer, record.prompt, answers_in(record), section.max_length, section.overflow
    )
    if fitted is None or all_alike(fitted):
        return []
    return [row_of(record, fitted, margins=asks_for_margins(section))]


def _conversations(
    source: Path, renderer: Renderer, section: TuneSettings | AlignSettings
) -> tuple[list[Rendered], str]:
    """Rows to choose from, and a remark where some of the data cannot be rendered."""
    rows: list[Rendered] = []
    failed = 0
    policy = section.overflow or "drop"
    for instance in read_instances(source, POOL):
        try:
            fitted = fit_conversation(renderer, instance.messages, section.max_length, policy)
        except TokenError:
            failed += 1
            continue
        weight = instance.weight
        rows += [replace(r, weights=tuple(w * weight for w in r.weights)) for r in fitted.rows]
    return rows, _left_out(failed)


def _records(source: Path, renderer: Renderer, section: AlignSettings) -> tuple[list[Record], str]:
    """Records that can be rendered, to choose from, and a remark as that of ``_conversations``."""
    found: list[Record] = []
    failed = 0
    table = spread(read_table(source), POOL)
    for read in read_records(section, table, source):
        for record in records_of(section.form, read):  # type: ignore[arg-type]
            try:
                renderer.answered(record.prompt, answers_in(record))
            except TokenError:
                failed += 1
                continue
            found.append(record)
    return found, _left_out(failed)


def _left_out(failed: int) -> str:
    return f" ({failed} of the rows looked at cannot be rendered)" if failed else ""


def _documents(
    section: TuneSettings, seed: int
) -> tuple[Callable[[], Opened], Opened, list[Rendered]]:
    """Rows of plain text; a tokenizer that is to be trained is trained on these documents."""
    assert section.text is not None
    texts = list(_head(read_texts(section.text)))
    tokenizer = text_tokenizer(section.model, texts)
    opener = _opener(section.model, section, seed, tokenizer=tokenizer, chat=False)
    opened = opener()
    pieces = [document_pieces(opened.renderer, text, section.max_length) for text in texts]
    return opener, opened, [piece for made in pieces for piece in made]


def _head(texts: Iterable[str]) -> Iterator[str]:
    """The first documents, ``CHARACTERS`` at most."""
    left = CHARACTERS
    for text in islice(texts, POOL):
        yield text[:left]
        left -= len(text)
        if left <= 0:
            return


def _in_fp32(section: Training) -> Training:
    changes: dict[str, Any] = {"precision": "fp32"}
    model = getattr(section, "model", None)
    if model is not None:
        changes["model"] = model.model_copy(update={"dtype": "float32"})
    return section.model_copy(update=changes)


def _opener(
    model: ModelSettings, training: TrainingSettings, seed: int, **more: Any
) -> Callable[[], Opened]:
    """Opens the same model at each call; rows for new tokens are drawn at random.

    The base of an adapter that goes on from another one lies in a folder for as long as this is
    used.
    """
    folder = mkdtemp(prefix="regimen-")

    def opened() -> Opened:
        torch.manual_seed(seed)
        merged = Path(folder) / MERGED
        shutil.rmtree(merged, ignore_errors=True)
        return open_model(model, training, seed=seed, merged=merged, **more)

    weakref.finalize(opened, shutil.rmtree, folder, ignore_errors=True)
    return opened


def _optimizer(section: TrainingSettings) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda model: optimizer_of(model, section)


def _merge(section: TrainingSettings, opened: Opened, seed: int) -> Callable[[Path], Any] | str:
    """How the next stage starts from the adapter that is written, or why it does not merge it."""
    if section.adapter is None:
        return "the settings have no adapter"
    if section.quantise is not None or is_quantised(opened.network):
        return "an adapter on a quantised base stays one: merging would round the weights again"
    if not adapters.METHODS[section.adapter.kind].merges:
        return f"{section.adapter.kind} is nothing that can be merged"

    tokenizer = opened.tokenizer

    def merged(folder: Path) -> Any:
        spec = ModelSpec(path=str(folder), dtype="float32")
        network, _ = start_model(spec, tokenizer, 0, seed=seed, quantisation=None)
        return network

    return merged


def _reference(opened: Opened, rows: Sequence[RenderedAnswers]) -> Tensor:
    """Log-probabilities under the model that the stage starts from, by transformers alone."""
    network = opened.network.eval()
    if not opened.fresh_adapter:
        return answer_logps(network, rows)
    with network.disable_adapter():
        return answer_logps(network, rows)


def _built(settings: PipelineSettings) -> Path | None:
    return _finished(Path(settings.run) / "build") if settings.build is not None else None


def _start(settings: PipelineSettings) -> tuple[ModelSettings | None, str]:
    """The model that ``align`` starts from, and what to tell about it."""
    assert settings.align is not None
    changes = {"dtype": "float32"}
    model = settings.align.model
    if model is not None and not model.previous:
        return model.model_copy(update=changes), ""
    tuned = _result(settings)
    if tuned is not None:
        return tuned if model is None else start_from(model, tuned).model_copy(update=changes), ""
    first = next(iter(settings.tunings.values())).model
    if first.path is None:
        return None, ""
    return first.model_copy(update=changes), " (what tune starts from: it has not run)"


def _result(settings: PipelineSettings, before: str | None = None) -> ModelSettings | None:
    """What the last tuning ended with, or the one before the named one; None if it has not run."""
    stages = list(settings.tunings)
    stage = stages[-1] if before is None else stages[stages.index(before) - 1]
    done = _finished(Path(settings.run) / stage)
    return None if done is None else ModelSettings(path=str(done / "final"), dtype="float32")


def _finished(directory: Path) -> Path | None:
    return directory if (directory / "manifest.json").is_file() else None


def _about(model: ModelSettings, section: TrainingSettings) -> str:
    """The model in words."""
    name = model.path or f"a fresh {(model.config or {})['model_type']}"
    parts = [
        name,
        base_kind(section.quantise) or "",
        section.adapter.kind if section.adapter else "",
    ]
    return " + ".join(part for part in parts if part)
