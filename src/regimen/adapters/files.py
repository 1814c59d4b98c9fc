"""Adapters on disk, as PEFT writes and reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regimen.adapters.spec import quiet, spec_of
from regimen.errors import AdapterError
from regimen.models.virtual import is_virtual

NOT_MERGED = ("bottleneck",)
"""PEFT's names of methods that no weight of the base can do the work of, in lower case."""


def save_adapter(model: Any, directory: Path) -> None:
    """Write an adapter as PEFT loads it."""
    spec = spec_of(model)
    with quiet():
        if spec is None:
            model.save_pretrained(directory)
        else:
            spec.save(model, directory)


def load_adapter(model: Any, path: str, *, trainable: bool = False) -> Any:
    """Attach a saved PEFT adapter, or one of ours in PEFT's files."""
    from peft import PeftModel

    from regimen.adapters.bottleneck import register

    register()
    with quiet():
        return PeftModel.from_pretrained(model, path, is_trainable=trainable)


def merge(model: Any) -> Any:
    """The base with the adapter's weights in its own.

    Raises:
        AdapterError: what the adapter does cannot be done by weights of the base.
    """
    kind = str(model.active_peft_config.peft_type).rpartition(".")[2].lower()
    if kind in NOT_MERGED or is_virtual(model):
        raise AdapterError(
            "This adapter cannot become part of the base's weights.",
            slug="adapter-not-merged",
            got=kind,
            fix="Use it beside its base, or train another kind, for example lora.",
        )
    with quiet():
        return model.merge_and_unload()


def is_adapter(path: str) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (Path(path) / "adapter_config.json").is_file()


def base_path(path: str) -> str:
    """The base that an adapter folder names."""
    config = json.loads((Path(path) / "adapter_config.json").read_text())
    return str(config["base_model_name_or_path"])
