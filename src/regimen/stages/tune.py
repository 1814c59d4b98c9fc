"""``tune``: supervised fine-tuning of a model on instances, or language modelling on plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from regimen import console
from regimen.errors import DataError, TokenError
from regimen.models.hardware import Hardware, set_up
from regimen.models.loading import load_tokenizer
from regimen.objectives.supervised import Supervised
from regimen.records import Instance
from regimen.runs import Run
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.tune import ReplaySettings, TuneSettings
from regimen.stages.common import StageResult, path_key, run_stage
from regimen.stages.texts import load_texts
from regimen.stages.training import (
    Prepared,
    finish_model,
    head_masks,
    prepare_model,
    training_summary,
)
from regimen.stages.training_run import KEPT, Validation, run_training
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.rendering import Rendered
from regimen.tokens.sharing import RenderedShared, share_prefixes
from regimen.tokens.store import (
    TokenRows,
    cut_document,
    document_rows,
    load_token_rows,
    save_token_rows,
    token_rows,
)


def tune(settings: PipelineSettings, root: Path, data: Path | None = None) -> StageResult:
    """Train the model that ``settings.tune`` names.

    Args:
        settings: of the pipeline.
        root: the pipeline's run directory; this stage writes ``root/tune``.
        data: the directory of ``build``; ``settings.tune.data`` if None.

    Raises:
        DataError: no usable instance is left.
        ModelError, AdapterError, TokenError, TrainingError: the model cannot be trained.
    """
    section = settings.tune
    assert section is not None
    source = instances_path(section.data or data)
    inputs = {"model": path_key(section.model.path or "fresh")}
    if section.objective == "supervised" and source is not None:
        inputs["instances"] = path_key(source)
    replay = section.replay.text if section.replay is not None else None
    texts = {"text": section.text, "replay": replay}
    for name, text in texts.items():
        if text is not None:
            inputs[name] = path_key(text.path or (text.function.file if text.function else ""))
    return run_stage(
        "tune",
        settings,
        root / "tune",
        inputs,
        lambda run: _work(settings, section, run, source),
        keep=KEPT,
    )


def instances_path(data: str | Path | None, name: str = "instances.parquet") -> Path | None:
    """The Parquet file of a build directory, or the file itself."""
    if data is None:
        return None
    path = Path(data)
    return path / name if path.is_dir() else path


def _work(
    settings: PipelineSettings, section: TuneSettings, run: Run, source: Path | None
) -> Mapping[str, Any]:
    hardware = set_up()
    seed = settings.seed_of("tune")
    if section.objective == "language_modelling":
        prepared, rows, extra = _plain_text(section, seed)
    else:
        assert source is not None
        prepared = prepare_model(section.model, section, seed=seed, mask=section.mask)
        rows, extra = _conversations(section, prepared, run, source)
    save_token_rows(run.path("tokens.arrow"), rows)
    return _train(section, prepared, run, hardware, seed, extra)


def _train(
    section: TuneSettings,
    prepared: Prepared,
    run: Run,
    hardware: Hardware,
    seed: int,
    extra: Mapping[str, Any],
) -> Mapping[str, Any]:
    rows = load_token_rows(run.path("tokens.arrow"))
    console.line(
        f"tune: {len(rows):,} rows, {int(rows.lengths.sum()):,} tokens, "
        f"{int(rows.supervised.sum()):,} supervised"
        + ("" if prepared.language_model.ragged else f"; {prepared.notes[-1]}")
    )
    objective = Supervised(section.label_smoothing, section.z_loss)
    validation = None
    if section.validation is not None:
        kept = section.validation
        rows, held_out = rows.split(kept.share, seed)
        validation = Validation(held_out, kept.every, kept.patience, kept.keep_best)
    state = run_training(run, prepared, rows, objective, section, seed=seed, validation=validation)
    finish_model(run, prepared, dtype=section.model.save_dtype)
    return training_summary(prepared, state, hardware, {"seed": seed, **extra})


def _conversations(
    section: TuneSettings, prepared: Prepared, run: Run, source: Path
) -> tuple[TokenRows, dict[str, Any]]:
    """Render instances; what cannot be rendered or is too long is counted."""
    rendered: list[Rendered] = []
    counts = {"in": 0, "kept": 0, "removed": {}, "failed": {}}  # type: dict[str, Any]
    limit = section.max_length
    for instance in _instances(source):
        counts["in"] += 1
        try:
            rows = prepared.renderer.conversation(instance.messages)
        except TokenError as error:
            counts["failed"][error.slug] = counts["failed"].get(error.slug, 0) + 1
            continue
        reason, kept = fit_length(rows, limit, section.overlength)
        if reason:
            counts["removed"][reason] = counts["removed"].get(reason, 0) + 1
            continue
        counts["kept"] += 1
        rendered += [_scaled(row, instance.weight) for row in kept]
    if not rendered:
        raise DataError(
            "No instance is left to train on.",
            slug="no-instances",
            got=f"{counts['in']} read, removed {counts['removed']}, failed {counts['failed']}",
            fix="Raise tune.max_length, or look at the rows with `regimen show`.",
        )
    picked = rendered[:: max(1, len(rendered) // 3)][:3]
    samples = head_masks(prepared, [r.ids for r in picked], [r.weights for r in picked])
    run.write_json("samples.json", samples)
    rows_out: list[Rendered | RenderedShared] = share_prefixes(rendered, section.rows_per_prefix)
    if section.replay is not None:
        replayed = _replayed(section.replay, prepared, rendered, limit)
        rows_out += replayed
        counts["replayed"] = {"rows": len(replayed), "tokens": sum(len(r.ids) for r in replayed)}
    run.write_json("rendering.json", {**counts, "notes": prepared.renderer.notes})
    collected = token_rows(rows_out)
    share = float((collected.weights != 0).mean())
    return collected, {"rendering": counts, "supervised_share": round(share, 4)}


def _replayed(
    replay: ReplaySettings, prepared: Prepared, rows: Sequence[Rendered], limit: int
) -> list[Rendered]:
    """Documents, in pieces of at most ``limit`` tokens, up to the share of all tokens."""
    wanted = sum(len(row.ids) for row in rows) * replay.share / (1 - replay.share)
    texts = load_texts(replay.text)
    pieces: list[Rendered] = []
    tokens = 0
    for text in texts:
        if tokens >= wanted:
            break
        (whole,) = prepared.renderer.documents([text])
        for piece in cut_document(whole.ids, limit):
            # the first token of a piece has nothing before it
            weights = (0.0, *([replay.weight] * (len(piece) - 1)))
            pieces.append(Rendered(tuple(piece.tolist()), weights))
            tokens += len(piece)
    if tokens < wanted:
        raise DataError(
            "There is too little text to replay.",
            slug="replay-too-short",
            got=f"{tokens:,} tokens in {len(texts):,} documents",
            expected=f"{round(wanted):,} tokens, a share of {replay.share:g}",
            fix="Lower tune.replay.share, or name more text.",
        )
    return pieces


def _instances(source: Path) -> Iterator[Instance]:
    from regimen.tables import read_table, table_to_instances

    if source.suffix == ".parquet":
        yield from table_to_instances(read_table(source))
        return
    raise DataError(
        "Training data must be a build directory or a Parquet file of instances.",
        slug="not-instances",
        got=str(source),
        fix="Run `regimen build` first, or add a build section to the settings.",
    )


def fit_length(rows: Sequence[Rendered], limit: int, policy: str) -> tuple[str, Sequence[Rendered]]:
    """Apply the over-length policy; a non-empty reason means that the conversation is removed.

    Raises:
        DataError: the policy is ``error`` and a row is too long.
    """
    longest = max(len(row.ids) for row in rows) if rows else 0
    if not any(row.supervised for row in rows):
        return "nothing supervised", ()
    if longest <= limit:
        return "", rows
    if policy == "error":
        raise DataError(
            "A conversation is longer than max_length.",
            slug="overlength",
            got=f"{longest} tokens",
            expected=f"at most {limit}",
            fix="Raise tune.max_length, or set tune.overlength to drop or truncate.",
        )
    if policy == "drop":
        return "longer than max_length", ()
    cut = [Rendered(row.ids[:limit], row.weights[:limit]) for row in rows]
    kept = [row for row in cut if row.supervised]
    return ("", kept) if kept else ("nothing supervised once truncated", ())


def _scaled(row: Rendered, weight: float) -> Rendered:
    if weight == 1.0:
        return row
    return Rendered(row.ids, tuple(w * weight for w in row.weights))


def _plain_text(section: TuneSettings, seed: int) -> tuple[Prepared, TokenRows, dict[str, Any]]:
    """Tokens of plain text; a fresh tokenizer is trained on the head of the text."""
    assert section.text is not None
    texts = list(_texts(section))
    size = sum(len(text.encode()) for text in texts)
    console.line(f"tune: {len(texts):,} documents, {size / 1e6:.1f} MB of text")
    tokenizer = None
    if section.model.train_tokenizer is not None:
        sample = texts if size < 40e6 else texts[:: int(size // 40e6) + 1]
        tokenizer = train_tokenizer(sample, section.model.train_tokenizer, section.model.bare_words)
    elif section.model.tokenizer is not None:
        tokenizer = load_tokenizer(section.model.tokenizer)
    prepared = prepare_model(section.model, section, seed=seed, tokenizer=tokenizer, chat=False)
    rows = document_rows(_tokenised(prepared, texts), section.max_length)
    return prepared, rows, {"documents": len(texts), "bytes": size}


def _tokenised(prepared: Prepared, texts: Sequence[str]) -> Iterator[np.ndarray]:
    done = iter(texts)
    with console.progress(len(texts), "tokenise", "documents") as bar:
        while batch := list(islice(done, 2000)):
            for row in prepared.renderer.documents(batch):
                yield np.asarray(row.ids, dtype=np.int32)
            bar.advance(len(batch))


def _texts(section: TuneSettings) -> Iterable[str]:
    text = section.text
    assert text is not None
    return load_texts(text)
