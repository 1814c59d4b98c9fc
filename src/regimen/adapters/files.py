"""Adapters on disk, as PEFT writes and reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from regimen.adapters.spec import HASHES, quiet, spec_of, write
from regimen.adapters.targets import classification_heads
from regimen.errors import AdapterError
from regimen.models.loading import ModelSpec, fit_vocabulary, load_model
from regimen.models.quantised import is_plain, quantised_as
from regimen.models.virtual import is_virtual

NOT_MERGED = ("bottleneck",)
"""PEFT's names of methods that no weight of the base can do the work of, in lower case."""


SAW = "quantised"
"""What of that file says in how few bits the adapter saw its base."""

BASE = "base.json"
"""The file beside an adapter that says what its base's weights are."""


def base_hashes(model: Any) -> dict[str, str]:
    """What tells one base from another, whatever the type of its weights: without an adapter.

    The first values of every tensor, in bf16, stand for it. ``kept`` is over what quantisation
    leaves alone, norms and embeddings; ``all`` over everything, where nothing is quantised. The
    head of a classification model is drawn anew whenever its base is loaded, and left out.
    """
    heads = classification_heads(model)
    embedding = model.get_input_embeddings().weight
    parts: dict[str, list[bytes]] = {"all": [], "kept": []}
    whole = True
    for name, parameter in model.named_parameters():
        if name.partition(".")[0] in heads:
            continue
        if not parameter.is_floating_point() or not is_plain(parameter):
            whole = False
            continue
        values = parameter.detach().flatten()[:16].to("cpu", torch.bfloat16)
        text = name.encode() + values.view(torch.int16).numpy().tobytes()
        parts["all"].append(text)
        if parameter.ndim < 2 or parameter is embedding:
            parts["kept"].append(text)
    found = {kind: sha256(b"".join(sorted(some))).hexdigest() for kind, some in parts.items()}
    return found if whole else {"kept": found["kept"]}


def save_adapter(model: Any, directory: Path) -> None:
    """Write an adapter as PEFT loads it, and beside it what its base is."""
    spec = spec_of(model)
    hashes = getattr(model, HASHES, None)
    directory.mkdir(parents=True, exist_ok=True)
    if hashes:
        write_base(directory, hashes, quantised_as(model))
    with quiet():
        if spec is None:
            write(model, directory)
        else:
            spec.save(model, directory)


def write_base(
    directory: Path, hashes: Mapping[str, str], saw: Mapping[str, Any] | None = None
) -> None:
    """What an adapter's base is: hashes of its weights, and the few bits in which it saw them."""
    told = {**hashes, **({SAW: dict(saw)} if saw else {})}
    (directory / BASE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def saw(path: str) -> dict[str, Any] | None:
    """The quantised base that an adapter was trained on: ``kind`` and ``double_quant``.

    None for a plain base, and for adapters that do not say.
    """
    file = Path(path) / BASE
    if not file.is_file():
        return None
    found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")).get(SAW)
    return found


def load_adapter(model: Any, path: str, *, trainable: bool = False, name: str = "default") -> Any:
    """Attach a saved PEFT adapter, or one of ours in PEFT's files.

    Raises:
        AdapterError: it was trained on another base, or its file cannot be read.
    """
    from peft import PeftModel

    from regimen.adapters.bottleneck import register

    register()
    hashes = check_base(model, path)
    try:
        with quiet():
            adapted = PeftModel.from_pretrained(
                model, path, is_trainable=trainable, adapter_name=name
            )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise AdapterError(
            "An adapter cannot be read.",
            slug="adapter-unreadable",
            got=str(error).splitlines()[0][:200],
            fix="Train it again, or take the folder from where it is whole.",
            where=path,
        ) from error
    setattr(adapted, HASHES, hashes)
    return adapted


def load_base(
    path: str, tokenizer: Any, *, dtype: str = "float32", quantisation: Any = None
) -> tuple[Any, str]:
    """A base with the vocabulary of the tokenizer that lies beside its adapter, and what was done
    to make it fit.

    The rows of new tokens that an adapter trained lie in its own files.
    """
    network = load_model(ModelSpec(path=path, dtype=dtype), quantisation=quantisation)
    return network, fit_vocabulary(network, tokenizer, added=len(tokenizer))


def check_base(model: Any, path: str) -> dict[str, str]:
    """An adapter's base must be what it was trained on; the hashes of the base.

    Raises:
        AdapterError: it is another one. Adapters of other makers do not say, and pass.
    """
    found, file = base_hashes(model), Path(path) / BASE
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        both = known.keys() & found.keys() - {SAW}
        if any(known[kind] != found[kind] for kind in both):
            raise AdapterError(
                "This adapter was trained on another base.",
                slug="adapter-other-base",
                got=f"weights of {model.name_or_path or model.config.model_type}",
                expected=f"those of {base_path(path)} as they were",
                fix="Load it onto the base that it was trained on, or train it again.",
                where=path,
            )
    return found


def can_merge(model: Any) -> bool:
    """Whether an adapter can become part of the base's weights."""
    kind = str(model.active_peft_config.peft_type).rpartition(".")[2].lower()
    return kind not in NOT_MERGED and not is_virtual(model)


def merge(model: Any) -> Any:
    """The base with the adapter's weights in its own.

    Raises:
        AdapterError: what the adapter does cannot be done by weights of the base.
    """
    if not can_merge(model):
        raise AdapterError(
            "This adapter cannot become part of the base's weights.",
            slug="adapter-not-merged",
            got=str(model.active_peft_config.peft_type).rpartition(".")[2].lower(),
            fix="Use it beside its base, or train another kind, for example lora.",
        )
    with quiet():
        return model.merge_and_unload()


def adapter_tensors(path: str) -> int:
    """Tensors of a saved adapter."""
    from safetensors import safe_open

    with safe_open(Path(path) / "adapter_model.safetensors", framework="pt") as file:
        return len(file.keys())


def is_adapter(path: str) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (Path(path) / "adapter_config.json").is_file()


def base_path(path: str) -> str:
    """The base that an adapter folder names."""
    config = json.loads((Path(path) / "adapter_config.json").read_text())
    return str(config["base_model_name_or_path"])
