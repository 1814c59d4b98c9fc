"""LoRA (Hu et al. 2021) and its close relatives, as PEFT configures them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from regimen.errors import AdapterError, near


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Rank, scaling and targets; the fields carry PEFT's names and meanings."""

    r: int = 16
    lora_alpha: float = 32.0
    lora_dropout: float = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False


@dataclass(frozen=True, slots=True)
class Trainable:
    """How much of a model is trained."""

    tensors: int
    parameters: int
    total: int

    @property
    def share(self) -> float:
        """Trainable parameters over all, 0..1."""
        return self.parameters / max(self.total, 1)


def linear_names(model: Any) -> set[str]:
    """Last name parts of the linear layers below the vocabulary projection."""
    head = model.get_output_embeddings()
    kinds = ("Linear", "Conv1D", "Linear4bit", "Linear8bitLt")
    return {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if type(module).__name__ in kinds and module is not head
    }


def add_lora(model: Any, spec: LoraSpec, *, seed: int, new_tokens: Sequence[int] = ()) -> Any:
    """Inject LoRA; the base is frozen. The seed is set first: A is drawn at random.

    Args:
        model: a Hugging Face causal language model, quantised or not.
        spec: the adapter.
        seed: of the adapter's initial weights.
        new_tokens: ids whose embedding rows (and head rows, if untied) are trained as well.

    Raises:
        AdapterError: a target module matches nothing, or takes no adapter.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    if not isinstance(spec.target_modules, str):
        known = linear_names(model)
        for name in spec.target_modules:
            if name not in known:
                raise AdapterError(
                    "An adapter target matches no linear layer of the model.",
                    slug="adapter-target-missing",
                    got=repr(name),
                    expected=", ".join(sorted(known)),
                    fix=near(name, known),
                )
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=spec.r,
        lora_alpha=spec.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=spec.lora_dropout,
        target_modules=spec.target_modules
        if isinstance(spec.target_modules, str)
        else list(spec.target_modules),
        use_rslora=spec.use_rslora,
        use_dora=spec.use_dora,
        trainable_token_indices=_token_rows(model, new_tokens),
    )
    torch.manual_seed(seed)
    known = linear_names(model)  # PEFT may have changed some before it refuses one
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise _refused(str(model.config.model_type), known, str(error)) from error


def _refused(kind: str, known: set[str], reason: str) -> AdapterError:
    """Which modules PEFT will not adapt in this model, and which it may."""
    refused = set(re.findall(r"'(\w+)'", reason)) & known
    others = ", ".join(sorted(known - refused))
    return AdapterError(
        "A module of this model cannot take the adapter.",
        slug="adapter-refused",
        got=f"{', '.join(sorted(refused))} of {kind}" if refused else f"{kind}: {reason[:200]}",
        expected=f"some of {others}",
        fix=f"Name modules that can: adapter.target_modules: [{others}].",
    )


def _token_rows(model: Any, new_tokens: Sequence[int]) -> dict[str, list[int]] | None:
    """Which rows of which embedding modules are trained, by the modules' last names."""
    if not new_tokens:
        return None
    modules = {id(m): name for name, m in model.named_modules()}
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    names = {modules[id(inputs)].rsplit(".", 1)[-1]: list(new_tokens)}
    if outputs.weight is not inputs.weight:
        names[modules[id(outputs)].rsplit(".", 1)[-1]] = list(new_tokens)
    return names


def trainable(model: Any) -> Trainable:
    """Count trainable tensors and parameters."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    total = sum(p.numel() for p in model.parameters())
    return Trainable(len(learnt), sum(p.numel() for p in learnt), total)


def load_adapter(model: Any, path: str, *, trainable: bool = False) -> Any:
    """Attach a saved PEFT adapter."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, path, is_trainable=trainable)


def is_adapter(path: str) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (Path(path) / "adapter_config.json").is_file()


def base_path(path: str) -> str:
    """The base that an adapter folder names."""
    config = json.loads((Path(path) / "adapter_config.json").read_text())
    return str(config["base_model_name_or_path"])
