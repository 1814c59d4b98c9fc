"""Checkpoints: written whole or not at all, and enough to go on from."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from regimen.errors import RunError
from regimen.training.loop import State

_NAME = re.compile(r"checkpoint-(\d+)$")


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


def save_checkpoint(
    directory: Path,
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    state: State,
    *,
    keep: int | None = None,
) -> Path:
    """Write ``checkpoint-<step>`` under ``directory``; older ones beyond ``keep`` go.

    Weights, optimizer, position in the data and random states; the folder appears under its name
    only when it is complete.
    """
    final = directory / f"checkpoint-{state.step}"
    partial = directory / f".checkpoint-{state.step}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    save_model(model, tokenizer, partial)
    torch.save(optimizer.state_dict(), partial / "optimizer.pt")
    torch.save({"torch": torch.get_rng_state()}, partial / "rng_state.pt")
    (partial / "trainer_state.json").write_text(json.dumps(asdict(state), indent=1))
    if final.exists():
        shutil.rmtree(final)
    os.replace(partial, final)
    if keep is not None:
        for old in checkpoints(directory)[:-keep]:
            shutil.rmtree(old)
    return final


def checkpoints(directory: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    found = [(int(m[1]), p) for p in directory.glob("checkpoint-*") if (m := _NAME.match(p.name))]
    return [path for _, path in sorted(found)]


def load_checkpoint(path: Path, model: Any, optimizer: torch.optim.Optimizer) -> State:
    """Put weights, optimizer, random states and position back.

    Raises:
        RunError: the folder is no checkpoint.
    """
    if not (path / "trainer_state.json").is_file():
        raise RunError(
            "This folder is no checkpoint.",
            slug="checkpoint-missing",
            got=str(path),
            expected="a checkpoint-<step> folder with trainer_state.json",
        )
    from safetensors.torch import load_file

    if hasattr(model, "peft_config"):
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, load_file(path / "adapter_model.safetensors"))
    else:
        weights: dict[str, Any] = {}
        for file in sorted(path.glob("model*.safetensors")):
            weights |= load_file(file)
        model.load_state_dict(weights, strict=False)
        model.tie_weights()
    optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
    torch.set_rng_state(torch.load(path / "rng_state.pt", weights_only=True)["torch"])
    return State(**json.loads((path / "trainer_state.json").read_text()))


def peak_memory_gib() -> float:
    """Peak resident memory of this process in GiB (peak allocation on an accelerator)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
