"""Adapters on disk, as PEFT writes and reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regimen.adapters.spec import quiet, spec_of


def save_adapter(model: Any, directory: Path) -> None:
    """Write an adapter as PEFT loads it."""
    spec = spec_of(model)
    with quiet():
        if spec is None:
            model.save_pretrained(directory)
        else:
            spec.save(model, directory)


def load_adapter(model: Any, path: str, *, trainable: bool = False) -> Any:
    """Attach a saved PEFT adapter."""
    from peft import PeftModel

    with quiet():
        return PeftModel.from_pretrained(model, path, is_trainable=trainable)


def is_adapter(path: str) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (Path(path) / "adapter_config.json").is_file()


def base_path(path: str) -> str:
    """The base that an adapter folder names."""
    config = json.loads((Path(path) / "adapter_config.json").read_text())
    return str(config["base_model_name_or_path"])
