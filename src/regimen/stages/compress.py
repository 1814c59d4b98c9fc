"""``compress``: the finished model in few bits, by one method or several, and what each costs."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from regimen import console
from regimen.adapters.files import base_path, can_merge, is_adapter, load_adapter, load_base, merge
from regimen.errors import DataError, ModelError
from regimen.memory.quantisation.apply import Quantised, quantise
from regimen.memory.quantisation.files import read_config, save_quantised
from regimen.memory.quantisation.layers import decoder_layers
from regimen.memory.quantisation.linear import QuantLinear
from regimen.models.forward import LanguageModel
from regimen.models.hardware import set_up
from regimen.models.loading import ModelSpec, fit_vocabulary, load_model, load_tokenizer
from regimen.runs import Run
from regimen.settings.compress import CompressSettings, QuantizerSettings
from regimen.settings.pipeline import PipelineSettings
from regimen.stages.common import StageResult, path_key, run_stage
from regimen.stages.compress_measure import HeldOut, Reference, compared
from regimen.stages.grids import spec_of
from regimen.stages.models import load
from regimen.stages.texts import load_texts
from regimen.tables import write_table
from regimen.tokens.rendering import Renderer
from regimen.tokens.store import load_token_rows
from regimen.training.checkpoints import whole, write_model

FULL = "full"
"""The model before it is rounded."""
COLUMNS = ("name", "bits", "MB", "weight error", "output error", "KL", "bits per byte")


def compress(settings: PipelineSettings, root: Path, model: str) -> StageResult:
    """Quantise a model by each method of the settings.

    Args:
        settings: of the pipeline.
        root: the pipeline's run directory; this stage writes ``root/compress``, with a folder for
            each method, ``compression.json``, and ``documents.parquet`` with what was measured on
            each document of held-out text.
        model: its folder, or that of an adapter, which is merged into its base first.

    Raises:
        DataError: ``calibration-too-short``, and as ``load_texts``.
        ModelError: ``quantise-no-layers``, ``quantise-no-linear``, ``calibration-singular``,
            ``already-quantised``.
    """
    section = settings.compress
    assert section is not None
    inputs = {"model": path_key(model)}
    rows = None
    if section.calibration.text is None:
        rows = root / list(settings.tunings)[-1] / "tokens.arrow"
        inputs["rows"] = path_key(rows)
    for name, text in (("text", section.calibration.text), ("held_out", section.held_out)):
        if text is not None:
            inputs[name] = path_key(text.path or (text.function.file if text.function else ""))
    seed = settings.seed_of("compress")
    return run_stage(
        "compress",
        settings,
        root / "compress",
        inputs,
        lambda run: _work(section, seed, run, model, rows),
    )


def _work(
    section: CompressSettings, seed: int, run: Run, model: str, rows: Path | None
) -> Mapping[str, Any]:
    set_up()
    network, tokenizer = plain_model(model)
    limit = int(getattr(network.config.get_text_config(), "max_position_embeddings", 0) or 1 << 30)
    length = min(section.calibration.length, limit)
    windows = calibration_windows(section, tokenizer, rows, length, seed)
    size = _bytes(network, section.dtype)
    full = load(model).language_model
    reference = None
    if section.held_out is not None:
        most = min(section.max_length or limit, limit)
        text = HeldOut.of(load_texts(section.held_out), Renderer(tokenizer), most)
        reference = Reference.of(full, text)
    found: list[dict[str, Any]] = []
    documents: list[Mapping[str, Any]] = []

    def measured(name: str, other: LanguageModel | None = None) -> dict[str, Any]:
        if reference is None:
            return {}
        told = compared(reference, other or load(str(run.path(name))).language_model)
        numbered = enumerate(told.documents)
        documents.extend({"name": name, "document": number, **one} for number, one in numbered)
        return told.to_json()

    found.append({"name": FULL, "bytes": size, "bits": None, **measured(FULL, full)})
    for name, one in zip(section.names, section.chosen, strict=True):
        folder = run.path(name)
        done, written = quantise_folder(
            network, tokenizer, folder, one, windows, section, name=f"compress {name}"
        )
        found.append(_entry(name, one, done, written) | measured(name))
        gc.collect()
        # the layers of this one have been replaced
        network, _ = plain_model(model)
    body = {"model": model, "dtype": section.dtype, "methods": found}
    run.write_json("compression.json", body)
    if documents:
        write_table(run.path("documents.parquet"), pa.Table.from_pylist(documents))
    console.table("compress", COLUMNS, [_line(entry) for entry in found])
    return {"calibration_tokens": windows.numel(), **body}


def plain_model(model: str) -> tuple[Any, Any]:
    """A model in fp32 with its tokenizer; an adapter is merged into its base.

    Raises:
        ModelError: ``already-quantised``; ``adapter-cannot-merge`` where an adapter is no change of
            weights.
    """
    tokenizer = load_tokenizer(model)
    if not is_adapter(model):
        if read_config(model) is not None:
            raise ModelError(
                "This model is quantised already.",
                slug="already-quantised",
                got=model,
                fix="Name the model that it was made from.",
            )
        network = load_model(ModelSpec(path=model))
        fit_vocabulary(network, tokenizer, added=0)
        return network.eval(), tokenizer
    base, _ = load_base(base_path(model), tokenizer)
    network = load_adapter(base, model)
    if not can_merge(network):
        raise ModelError(
            "This adapter is no change of its base's weights, so that there is nothing to round.",
            slug="adapter-cannot-merge",
            got=model,
            fix="Quantise the base, or tune with another adapter.kind, for example lora.",
        )
    return merge(network).eval(), tokenizer


def calibration_windows(
    section: CompressSettings, tokenizer: Any, rows: Path | None, length: int, seed: int
) -> Tensor:
    """Windows of ids (N, L), cut from texts or rows that are put together in drawn order.

    Raises:
        DataError: ``calibration-too-short`` where there is not one window.
    """
    settings = section.calibration
    if settings.text is not None:
        rendered = Renderer(tokenizer).documents(load_texts(settings.text))
        pieces = [np.asarray(row.ids) for row in rendered]
    else:
        assert rows is not None
        kept = load_token_rows(rows)
        ends = kept.offsets[kept.row_offsets]
        pieces = [kept.ids[a:b] for a, b in pairwise(ends)]
    order = np.random.default_rng(seed).permutation(len(pieces))
    ids = np.concatenate([pieces[number] for number in order])[: settings.sequences * length]
    count = len(ids) // length
    if count == 0:
        raise DataError(
            "There is too little text to calibrate on.",
            slug="calibration-too-short",
            got=f"{len(ids)} tokens, windows of {length}",
            fix="Name more text, or lower compress.calibration.length.",
        )
    return torch.as_tensor(ids[: count * length].astype(np.int64)).view(count, length)


def quantise_folder(
    network: Any,
    tokenizer: Any,
    folder: Path,
    method: QuantizerSettings,
    windows: Tensor,
    section: CompressSettings,
    *,
    name: str,
) -> tuple[Quantised, int]:
    """Quantise a model in place and write it; returns what was done and the bytes of its weights.

    With ``section.dense`` its weights are written in ``section.dtype`` too, into a second folder
    that ends in ``-dense``.
    """
    with console.progress(len(decoder_layers(network)), name, "layers") as bar:
        done = quantise(
            network,
            windows,
            spec_of(method),
            batch=section.calibration.batch_size,
            dtype=getattr(torch, section.dtype),
            advance=bar.advance,
        )
    for note in done.notes:
        console.line(f"{name}: {note}")
    with whole(folder) as partial:
        size = save_quantised(network, tokenizer, partial, dtype=section.dtype)
    if section.dense:
        _make_dense(network)
        place = folder.with_name(f"{folder.name}-dense")
        write_model(network, tokenizer, place, dtype=section.dtype)
    return done, size


@torch.no_grad()
def _make_dense(network: Any) -> None:
    """Plain linear layers with the rounded weights."""
    for name, module in list(network.named_modules()):
        if isinstance(module, QuantLinear):
            plain = nn.Linear(module.in_features, module.out_features, module.bias is not None)
            plain.weight.copy_(module.dense())
            if module.bias is not None:
                plain.bias.copy_(module.bias)
            network.set_submodule(name, plain)


def _bytes(network: Any, dtype: str) -> int:
    """Of the weights, each once, in a type."""
    size = torch.finfo(getattr(torch, dtype)).bits // 8
    return sum(parameter.numel() * size for parameter in network.parameters())


def _entry(name: str, method: QuantizerSettings, done: Quantised, size: int) -> dict[str, Any]:
    return {
        "name": name,
        **method.model_dump(mode="json", exclude={"name"}),
        "bytes": size,
        "weight_error": done.weight_error,
        "output_error": done.output_error,
        "block_errors": list(done.block_errors),
        "notes": list(done.notes),
    }


def _line(entry: Mapping[str, Any]) -> Sequence[str]:
    def number(value: Any, form: str = ".4f") -> str:
        value = value["value"] if isinstance(value, Mapping) else value
        return "" if value is None else format(value, form)

    return (
        entry["name"],
        number(entry["bits"], "d"),
        number(entry["bytes"] / 1e6, ".2f"),
        *(number(entry.get(key)) for key in ("weight_error", "output_error")),
        *(number(entry.get(key)) for key in ("kl", "bits_per_byte")),
    )
