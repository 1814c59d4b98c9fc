"""Checkpoints: written whole or not at all, and enough to go on from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from regimen.errors import RunError
from regimen.files import (
    atomic_write,
    file_hash,
    files_below,
    flush,
    flush_directory,
    hashes_of,
    json_text,
)
from regimen.tokens.store import TokenRows
from regimen.training.loop import LoopOptions, State

_NAME = re.compile(r"checkpoint-(\d+)$")
_STATE = "trainer_state.json"
_HASHES = "hashes.json"


def save_model(model: Any, tokenizer: Any, directory: Path, *, dtype: str | None = None) -> None:
    """Write a model (or adapter) and its tokenizer as transformers and peft expect them.

    ``dtype`` casts floating-point weights on the way out; the model in memory stays as it is.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    directory.mkdir(parents=True, exist_ok=True)
    state = None
    if dtype is not None and not hasattr(model, "peft_config"):
        target = getattr(torch, dtype)
        state = {
            name: value.detach().to(target) if value.is_floating_point() else value
            for name, value in model.state_dict().items()
        }
        tied = set(getattr(model, "_tied_weights_keys", None) or {})
        if model.config.tie_word_embeddings:
            state = {name: value for name, value in state.items() if name not in tied}
    if state is None:
        model.save_pretrained(directory)
    else:
        model.save_pretrained(directory, state_dict=state)
        # transformers writes the type of the weights in memory; the file says what is in it
        config = json.loads((directory / "config.json").read_text())
        config["dtype"] = dtype
        (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tokenizer.save_pretrained(directory)


def identity_of(model: Any, rows: TokenRows, options: LoopOptions) -> str:
    """Names what a checkpoint belongs to: the weights' names and shapes, the rows, the options."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            digest.update(f"{name} {tuple(parameter.shape)};".encode())
    for array in (rows.ids, rows.weights, rows.offsets, rows.parents, rows.row_offsets):
        digest.update(np.ascontiguousarray(array).tobytes())
    # How often something is written or shown does not change the run.
    digest.update(repr(replace(options, log_every=1, save_every=None)).encode())
    return digest.hexdigest()


def save_checkpoint(
    directory: Path,
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    state: State,
    *,
    keep: int | None = None,
    identity: str = "",
) -> Path:
    """Write ``checkpoint-<step>`` under ``directory``; older ones beyond ``keep`` go.

    Weights, optimizer, position in the data, random states, and a hash of every file. The folder
    appears under its name only when it is complete and flushed.

    Raises:
        RunError: it cannot be written, for instance because the disk is full; checkpoints that
            were there before stay.
    """
    final = directory / f"checkpoint-{state.step}"
    partial = directory / f".checkpoint-{state.step}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, model, tokenizer, optimizer, state, identity)
    # safetensors and torch report a full disk as an error of their own
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(
            f"checkpoint-{state.step} could not be written.",
            slug="checkpoint-not-saved",
            got=str(error).splitlines()[0],
            fix="Free space on this disk, or set 'run' to another; then run the same command "
            "again: it goes on from the last complete checkpoint.",
            where=str(directory),
        ) from error
    if final.exists():
        shutil.rmtree(final)
    os.replace(partial, final)
    flush_directory(directory)
    if keep is not None:
        for old in checkpoints(directory)[:-keep]:
            shutil.rmtree(old)
    return final


def _write(
    directory: Path,
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    state: State,
    identity: str,
) -> None:
    save_model(model, tokenizer, directory)
    torch.save(optimizer.state_dict(), directory / "optimizer.pt")
    random = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    torch.save(random, directory / "rng_state.pt")
    told = {**asdict(state), "identity": identity}
    (directory / _STATE).write_text(json.dumps(told, indent=1))
    names = files_below(directory)
    for name in names:
        flush(directory / name)
    atomic_write(directory / _HASHES, json_text(hashes_of(directory, names)))
    flush_directory(directory)


def checkpoints(directory: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    found = [(int(m[1]), p) for p in directory.glob("checkpoint-*") if (m := _NAME.match(p.name))]
    return [path for _, path in sorted(found)]


def damage(path: Path) -> str:
    """What is wrong with a checkpoint's files, or nothing: each has its hash in the folder."""
    try:
        hashes = json.loads((path / _HASHES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"it has no {_HASHES}"
    except ValueError:
        return f"{_HASHES} is not JSON"
    for name, digest in hashes.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if file_hash(path / name) != digest:
            return f"{name} is not what was written"
    return "" if _STATE in hashes else f"{_STATE} is missing"


def load_checkpoint(
    path: Path, model: Any, optimizer: torch.optim.Optimizer, identity: str | None = None
) -> State:
    """Put weights, optimizer, random states and position back.

    Raises:
        RunError: the folder is no checkpoint, is damaged, or belongs to other weights, data or
            options than ``identity`` names.
    """
    if not (path / _STATE).is_file():
        raise RunError(
            "This folder is no checkpoint.",
            slug="checkpoint-missing",
            got=str(path),
            expected=f"a checkpoint-<step> folder with {_STATE}",
        )
    wrong = damage(path)
    if wrong:
        raise RunError(
            "This checkpoint is damaged.",
            slug="checkpoint-damaged",
            got=f"{path}: {wrong}",
            fix="Remove the folder; the checkpoint before it is used then.",
        )
    return _restore(path, model, optimizer, identity)


def load_newest(
    directory: Path, model: Any, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[State, Path | None, list[tuple[Path, str]]]:
    """Put the newest whole checkpoint of a run back, as ``load_checkpoint`` does.

    Returns:
        Its state and folder, a fresh state and None where there is none; and the newer checkpoints
        that are damaged, each with what is wrong.
    """
    damaged: list[tuple[Path, str]] = []
    for path in reversed(checkpoints(directory)):
        wrong = damage(path)
        if not wrong:
            return _restore(path, model, optimizer, identity), path, damaged
        damaged.append((path, wrong))
    return State(), None, damaged


def _restore(
    path: Path, model: Any, optimizer: torch.optim.Optimizer, identity: str | None
) -> State:
    """Read a checkpoint whose files are known to be whole."""
    told = json.loads((path / _STATE).read_text())
    if told.pop("identity", "") != identity and identity is not None:
        raise RunError(
            "This checkpoint is of another training.",
            slug="checkpoint-other",
            got=str(path),
            expected="the same weights, the same rows and the same options",
            fix="Go on with the settings that it was made with, or remove the folder.",
        )
    load_weights(path, model)
    optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
    random = torch.load(path / "rng_state.pt", weights_only=True)
    torch.set_rng_state(random["torch"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return State(**told)


def load_weights(path: Path, model: Any) -> None:
    """Put the weights (or the adapter's) that ``save_model`` wrote back into the same model."""
    from safetensors.torch import load_file

    if hasattr(model, "peft_config"):
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, load_file(path / "adapter_model.safetensors"))
        return
    weights: dict[str, Any] = {}
    for file in sorted(path.glob("model*.safetensors")):
        weights |= load_file(file)
    model.load_state_dict(weights, strict=False)
    model.tie_weights()


def peak_memory_gib() -> float:
    """Peak resident memory of this process in GiB (peak allocation on an accelerator)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
