"""Checkpoints: written whole or not at all, and enough to go on from."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from regimen.adapters.files import save_adapter
from regimen.adapters.spec import NO_UPKEEP, Upkeep
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
from regimen.training.identity import Identity, check_identity
from regimen.training.optimizers.blocks import is_trained
from regimen.training.options import State

_NAME = re.compile(r"checkpoint-(\d+)$")
_STATE = "trainer_state.json"
_HASHES = "hashes.json"
_LEARNT = "learnt.safetensors"
_UPKEEP = "upkeep.pt"


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
    if hasattr(model, "peft_config"):
        save_adapter(model, directory)
    elif state is None:
        model.save_pretrained(directory)
    else:
        model.save_pretrained(directory, state_dict=state)
        # transformers writes the type of the weights in memory; the file says what is in it
        config = json.loads((directory / "config.json").read_text())
        config["dtype"] = dtype
        (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tokenizer.save_pretrained(directory)


def save_weights(model: Any, tokenizer: Any, directory: Path) -> None:
    """``save_model``, and for an adapter its weights as they are trained.

    What PEFT writes may be less: a prefix without the network that makes it, ranks that are left.
    """
    save_model(model, tokenizer, directory)
    if hasattr(model, "peft_config"):
        save_file(learnt(model), directory / _LEARNT)


def learnt(model: Any) -> dict[str, Any]:
    """The trainable tensors by name, also those whose turn it is not."""
    return {
        name: parameter.detach().contiguous()
        for name, parameter in model.named_parameters()
        if is_trained(parameter)
    }


def write_model(model: Any, tokenizer: Any, directory: Path, *, dtype: str | None = None) -> None:
    """``save_model``, whole or not at all.

    Raises:
        RunError: it cannot be written, for instance because the disk is full.
    """
    with whole(directory) as partial:
        save_model(model, tokenizer, partial, dtype=dtype)


def write_weights(model: Any, tokenizer: Any, directory: Path) -> None:
    """``save_weights``, whole or not at all.

    Raises:
        RunError: it cannot be written, for instance because the disk is full.
    """
    with whole(directory) as partial:
        save_weights(model, tokenizer, partial)


@contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """A folder to write into that takes its name only once it is complete and flushed.

    Raises:
        RunError: it cannot be written; nothing of it stays, and what had the name before does.
    """
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        for name in files_below(partial):
            flush(partial / name)
        flush_directory(partial)
    # safetensors and torch report a full disk as an error of their own
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(
            f"{directory.name} could not be written.",
            slug="not-saved",
            got=str(error).splitlines()[0],
            fix="Free space on this disk, or set 'run' to another; then run the same command "
            "again: it goes on from the last complete checkpoint.",
            where=str(directory.parent),
        ) from error
    if directory.exists():
        shutil.rmtree(directory)
    os.replace(partial, directory)
    flush_directory(directory.parent)


def save_checkpoint(
    directory: Path,
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    state: State,
    *,
    keep: int | None = None,
    identity: Identity | None = None,
    upkeep: Upkeep = NO_UPKEEP,
) -> Path:
    """Write ``checkpoint-<step>`` under ``directory``; older ones beyond ``keep`` go.

    Weights, optimizer, position in the data, random states, and a hash of every file. The folder
    appears under its name only when it is complete and flushed.

    Raises:
        RunError: it cannot be written, for instance because the disk is full; checkpoints that
            were there before stay.
    """
    final = directory / f"checkpoint-{state.step}"
    with whole(final) as partial:
        _write(partial, model, tokenizer, optimizer, state, identity, upkeep)
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
    identity: Identity | None,
    upkeep: Upkeep,
) -> None:
    save_weights(model, tokenizer, directory)
    torch.save(optimizer.state_dict(), directory / "optimizer.pt")
    if kept := upkeep.state():
        torch.save(kept, directory / _UPKEEP)
    random = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    torch.save(random, directory / "rng_state.pt")
    told = {**asdict(state), "identity": dict(identity or {})}
    (directory / _STATE).write_text(json.dumps(told, indent=1))
    names = files_below(directory)
    atomic_write(directory / _HASHES, json_text(hashes_of(directory, names)))


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
    path: Path,
    model: Any,
    optimizer: torch.optim.Optimizer,
    identity: Identity | None = None,
    upkeep: Upkeep = NO_UPKEEP,
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
    return _restore(path, model, optimizer, identity, upkeep)


def load_newest(
    directory: Path,
    model: Any,
    optimizer: torch.optim.Optimizer,
    identity: Identity,
    upkeep: Upkeep = NO_UPKEEP,
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
            return _restore(path, model, optimizer, identity, upkeep), path, damaged
        damaged.append((path, wrong))
    return State(), None, damaged


def _restore(
    path: Path,
    model: Any,
    optimizer: torch.optim.Optimizer,
    identity: Identity | None,
    upkeep: Upkeep,
) -> State:
    """Read a checkpoint whose files are known to be whole."""
    told = json.loads((path / _STATE).read_text())
    known = told.pop("identity", {})
    if identity is not None:
        check_identity(path, known, identity)
    load_weights(path, model)
    optimizer.load_state_dict(_loaded(path / "optimizer.pt"))
    if (path / _UPKEEP).is_file():
        upkeep.go_on(_loaded(path / _UPKEEP))
    random = _loaded(path / "rng_state.pt")
    torch.set_rng_state(random["torch"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return State(**told)


def _loaded(path: Path) -> Any:
    """What torch saved, where it was; on the CPU where the device is not there any more."""
    place = None if torch.cuda.is_available() else "cpu"
    return torch.load(path, map_location=place, weights_only=True)


def load_weights(path: Path, model: Any) -> None:
    """Put the weights (or the adapter's) that ``save_model`` wrote back into the same model.

    transformers writes the experts of a mixture under other names than it holds them; where names
    differ, it reads them back itself.

    Raises:
        RunError: the folder does not hold all weights of the model.
    """
    from safetensors.torch import load_file

    if hasattr(model, "peft_config"):
        _put_back(learnt(model), load_file(path / _LEARNT), path)
        return
    weights: dict[str, Any] = {}
    for file in sorted(path.glob("model*.safetensors")):
        weights |= load_file(file)
    if _put(model, weights):
        kind = type(model)
        again, told = kind.from_pretrained(path, dtype="auto", output_loading_info=True)
        left = sorted(told["missing_keys"]) or _put(model, again.state_dict())
        if left:
            raise RunError(
                "A checkpoint does not hold all weights of its model.",
                slug="checkpoint-incomplete",
                got=f"{path.name} without {', '.join(left[:3])}"
                + (f" and {len(left) - 3} more" if len(left) > 3 else ""),
                fix="Remove this folder; the run goes on from an earlier one.",
            )
    model.tie_weights()


@torch.no_grad()
def _put_back(into: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy the weights of an adapter into the tensors of the same names.

    Raises:
        RunError: other names or shapes.
    """
    here, there = ({n: tuple(t.shape) for n, t in some.items()} for some in (into, weights))
    if here != there:
        other = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
        raise RunError(
            "A checkpoint does not hold the weights of this adapter.",
            slug="checkpoint-incomplete",
            got=f"{path.name}, other in {', '.join(other[:3])}",
            fix="Remove this folder; the run goes on from an earlier one.",
        )
    for name, tensor in into.items():
        tensor.copy_(weights[name])


def _put(model: Any, weights: Mapping[str, Any]) -> list[str]:
    """Copy weights into the model; the names of those that got nothing, tied ones left out."""
    missing = model.load_state_dict(weights, strict=False).missing_keys
    own = model.state_dict()
    got = {own[name].data_ptr() for name in weights if name in own}
    return [name for name in missing if own[name].data_ptr() not in got]


def peak_memory_gib() -> float:
    """Peak resident memory of this process in GiB (peak allocation on an accelerator)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
