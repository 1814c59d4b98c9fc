"""Quantised models on disk, as compressed-tensors lays them out: vLLM and transformers read them.

Weights alone are ``pack-quantized``; with rounded inputs, ``int-quantized``. Beside the usual files
there is ``quantization_config`` in config.json, which names every layer with its grid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regimen.errors import ModelError
from regimen.memory.quantisation.grid import ROW, TENSOR, Grid
from regimen.memory.quantisation.linear import QuantLinear
from regimen.memory.quantisation.spec import Activations
from regimen.models.hardware import placed

METHOD = "compressed-tensors"
PACKED, INT = "pack-quantized", "int-quantized"


def quantisation_config(network: Any, layers: Mapping[str, QuantLinear]) -> dict[str, Any]:
    """The object ``quantization_config`` of a model with these layers rounded."""
    groups: dict[tuple[Grid, Activations | None], list[str]] = {}
    for name, module in layers.items():
        groups.setdefault((module.grid, module.activations), []).append(name)
    ignored = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and name not in layers
    ]
    formats = {PACKED if inputs is None else INT for _, inputs in groups}
    return {
        "quant_method": METHOD,
        "format": formats.pop() if len(formats) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
        "ignore": ignored,
        "config_groups": {
            f"group_{number}": {
                "targets": names,
                "weights": _weights(grid),
                "input_activations": None if inputs is None else _inputs(inputs),
                "output_activations": None,
                "format": PACKED if inputs is None else INT,
            }
            for number, ((grid, inputs), names) in enumerate(groups.items())
        },
    }


def _weights(grid: Grid) -> dict[str, Any]:
    strategy = {ROW: "channel", TENSOR: "tensor"}.get(grid.group_size, "group")
    return {
        "num_bits": grid.bits,
        "type": "int",
        "symmetric": grid.symmetric,
        "strategy": strategy,
        "group_size": grid.group_size if grid.group_size > 0 else None,
        "dynamic": False,
        "actorder": None,
        "block_structure": None,
        "observer": "minmax",
        "observer_kwargs": {},
    }


def _inputs(inputs: Activations) -> dict[str, Any]:
    return {
        "num_bits": inputs.bits,
        "type": "int",
        "symmetric": True,
        "strategy": inputs.granularity,
        "group_size": inputs.group_size if inputs.granularity == "group" else None,
        "dynamic": inputs.dynamic,
        "actorder": None,
        "block_structure": None,
        "observer": None if inputs.dynamic else "minmax",
        "observer_kwargs": {},
    }


def save_quantised(
    network: Any,
    tokenizer: Any,
    directory: Path,
    *,
    dtype: str,
    layers: Mapping[str, QuantLinear] | None = None,
) -> int:
    """Write a quantised model and its tokenizer; returns the bytes of its weights.

    Args:
        network: the model.
        tokenizer: its tokenizer.
        directory: to write into.
        dtype: of everything that is not a whole number; scales must be exact in it.
        layers: rounded layers by name, written in the place of the model's own; those that the
            model has, if None.
    """
    from safetensors.torch import save_file

    if layers is None:
        modules = network.named_modules()
        layers = {name: module for name, module in modules if isinstance(module, QuantLinear)}

    directory.mkdir(parents=True, exist_ok=True)
    target = getattr(torch, dtype)
    network.config.save_pretrained(directory)
    if network.generation_config is not None:
        network.generation_config.save_pretrained(directory)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config |= {"dtype": dtype, "quantization_config": quantisation_config(network, layers)}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    own = {f"{name}.{each}" for name in layers for each in ("weight", "bias")}
    state = {n: t for n, t in network.state_dict().items() if n not in own | _tied(network)}
    for name, module in layers.items():
        state |= {f"{name}.{each}": tensor for each, tensor in module.state_dict().items()}
    tensors = {
        name: (value.to(target) if value.is_floating_point() else value).contiguous()
        for name, value in state.items()
    }
    file = directory / "model.safetensors"
    save_file(tensors, file, metadata={"format": "pt"})
    tokenizer.save_pretrained(directory)
    return file.stat().st_size


def _tied(network: Any) -> set[str]:
    """Names of tensors that are others under a second name."""
    if not network.config.get_text_config().tie_word_embeddings:
        return set()
    return set(getattr(network, "_tied_weights_keys", None) or {})


def read_config(path: str | Path) -> Mapping[str, Any] | None:
    """``quantization_config`` of a folder that this module can load; None where there is none."""
    file = Path(path) / "config.json"
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8")).get("quantization_config")
    except ValueError:
        return None
    return config if config and config.get("quant_method") == METHOD else None


def load_quantised(path: str | Path, *, dtype: str = "float32") -> Any:
    """A model from a folder of ``save_quantised``, or of another tool that writes the same layout.

    Weights stay packed; scales and what is not quantised are in ``dtype``.

    Raises:
        ModelError: ``quantised-unreadable`` where the layout is not one of ours, or a tensor of it
            is missing.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    found = read_config(path)
    if found is None:
        raise _unreadable(path, "no quantization_config of compressed-tensors")
    config = AutoConfig.from_pretrained(path)
    del config.quantization_config
    target = getattr(torch, dtype)
    network: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, dtype=target
    )
    modules = dict(network.named_modules())
    for name, grid, inputs in _layers(path, found, modules):
        linear = modules[name]
        made = QuantLinear.empty(
            linear.out_features, linear.in_features, grid, inputs, bias=linear.bias is not None
        )
        network.set_submodule(name, made.to(target))
    tensors: dict[str, Tensor] = {}
    for file in sorted(Path(path).glob("model*.safetensors")):
        tensors |= load_file(file)
    try:
        missing, extra = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise _unreadable(path, str(error).splitlines()[-1].strip()) from error
    lacking = sorted(set(missing) - _tied(network))
    if lacking or extra:
        raise _unreadable(path, f"missing {lacking[:3]}, not known {sorted(extra)[:3]}")
    network.tie_weights()
    network.name_or_path = str(path)
    return placed(network.eval())


def _unreadable(path: str | Path, got: str) -> ModelError:
    return ModelError(
        "A quantised model cannot be loaded.",
        slug="quantised-unreadable",
        got=f"{path}: {got}",
        expected="the layout pack-quantized or int-quantized of compressed-tensors",
        fix="Quantise the model again with `regimen compress`, or use the model in 16 bits.",
    )


def _layers(
    path: str | Path, config: Mapping[str, Any], modules: Mapping[str, nn.Module]
) -> list[tuple[str, Grid, Activations | None]]:
    """Every quantised layer with its grid."""
    ignored = set(config.get("ignore") or ())
    found = []
    for group in config["config_groups"].values():
        grid, inputs = _grid(path, group["weights"]), _activations(group.get("input_activations"))
        for target in group["targets"]:
            names = [target]
            if target == "Linear":
                kinds = {n for n, m in modules.items() if type(m) is nn.Linear}
                names = sorted(kinds - ignored)
            for name in names:
                if type(modules.get(name)) is not nn.Linear:
                    raise _unreadable(path, f"target {target!r}, which names no linear layer")
                found.append((name, grid, inputs))
    return found


def _grid(path: str | Path, told: Mapping[str, Any]) -> Grid:
    sizes = {"channel": ROW, "tensor": TENSOR, "group": told.get("group_size")}
    size = sizes.get(str(told.get("strategy")))
    if size is None or told.get("type") != "int" or told.get("actorder") == "group":
        raise _unreadable(path, f"weights as {dict(told)}")
    return Grid(int(told["num_bits"]), int(size), bool(told["symmetric"]))


def _activations(told: Mapping[str, Any] | None) -> Activations | None:
    if told is None:
        return None
    return Activations(
        int(told["num_bits"]),
        told["strategy"],
        int(told.get("group_size") or 128),
        bool(told.get("dynamic")),
    )
