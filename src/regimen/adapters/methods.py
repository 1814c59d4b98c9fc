"""Methods of parameter-efficient adaptation by name, as a visible table, and putting them in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from regimen.adapters.adalora import AdaLora
from regimen.adapters.files import base_hashes
from regimen.adapters.lora import Lora, Vera
from regimen.adapters.networks import Bottleneck
from regimen.adapters.own_weights import BitFit, Freeze, Lisa, OwnWeights
from regimen.adapters.products import Loha, Lokr
from regimen.adapters.prompts import PrefixTuning, Prompt, PTuning
from regimen.adapters.rotations import Boft, Oft
from regimen.adapters.spec import ATTACHED, HASHES, SEED, Spec, quiet
from regimen.adapters.targets import classification_heads, linear_names, vocabulary_modules
from regimen.adapters.vectors import Ia3, LayerNorms, TokenRows
from regimen.errors import AdapterError
from regimen.models.quantised import kind_of, quantised_layers

METHODS: Mapping[str, type[Spec]] = {
    "lora": Lora,
    "adalora": AdaLora,
    "vera": Vera,
    "loha": Loha,
    "lokr": Lokr,
    "oft": Oft,
    "boft": Boft,
    "ia3": Ia3,
    "prompt": Prompt,
    "p_tuning": PTuning,
    "prefix": PrefixTuning,
    "bottleneck": Bottleneck,
    "layernorm": LayerNorms,
    "bitfit": BitFit,
    "freeze": Freeze,
    "lisa": Lisa,
    "tokens": TokenRows,
}


TASKS = {"ForSequenceClassification": "SEQ_CLS", "ForTokenClassification": "TOKEN_CLS"}
"""PEFT's names of what a model is for, by the ends of the names of models with other heads."""


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


def trainable(model: Any, optimizer: torch.optim.Optimizer | None = None) -> Trainable:
    """Count trainable tensors and parameters: those of an optimizer where one is given, because a
    method may train them in turns."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    if optimizer is not None:
        learnt = [p for group in optimizer.param_groups for p in group["params"]]
    total = sum(p.numel() for p in model.parameters())
    return Trainable(len(learnt), sum(p.numel() for p in learnt), total)


def add_adapter(model: Any, spec: Spec, *, seed: int, new_tokens: Sequence[int] = ()) -> Any:
    """Put an adapter in; the base is frozen. The seed is set first: weights are drawn at random.

    Args:
        model: a Hugging Face causal language model, quantised or not; or a model for
            classification, whose head is trained whole and saved with the adapter.
        spec: the method with its options.
        seed: of the adapter's initial weights.
        new_tokens: ids whose embedding rows (and head rows, if untied) are trained as well.

    Raises:
        AdapterError: a target matches nothing, a module takes no such adapter, or the method
            cannot train rows of new tokens, a classification head or on a quantised base.
    """
    _check_base(model, spec)
    rows = token_rows(model, new_tokens)
    if rows and not spec.takes_rows:
        raise AdapterError(
            "This kind of adapter cannot train the rows of new tokens.",
            slug="adapter-new-tokens",
            got=f"{type(spec).__name__}, {len(new_tokens)} new tokens",
            fix="Use adapter.kind: lora, or a base whose chat template needs no new tokens.",
        )
    hashes = {} if isinstance(spec, OwnWeights) else base_hashes(model)
    adapted = (
        _some_weights(model, spec)
        if isinstance(spec, OwnWeights)
        else _put_in(model, spec, seed, rows)
    )
    setattr(adapted, ATTACHED, spec)
    setattr(adapted, SEED, seed)
    setattr(adapted, HASHES, hashes)
    return spec.finish(adapted)


def _check_base(model: Any, spec: Spec) -> None:
    """Not every method can be trained on every quantised base.

    Raises:
        AdapterError: this one cannot on this one.
    """
    kinds = sorted({str(kind_of(layer)) for layer in quantised_layers(model).values()})
    init = getattr(spec, "init", "")
    from_weights = init if kinds and init in ("pissa", "olora") else ""
    if (kinds and spec.own) or set(kinds) & set(spec.never_on) or from_weights:
        method = f"init: {from_weights}" if from_weights else f"the adapter {type(spec).__name__}"
        raise AdapterError(
            "This adapter cannot be trained on this quantised base.",
            slug="adapter-quantised-base",
            got=f"{method}, on weights in {', '.join(kinds)}",
            expected="weights of 16 or 32 bits" + (", or int8" if spec.never_on else ""),
            fix="Choose another adapter.kind, for example lora, or another base.",
        )


def _some_weights(model: Any, spec: OwnWeights) -> Any:
    """The model with only the weights that a method chooses trainable."""
    names, heads = set(spec.chosen(model)), classification_heads(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names or name.partition(".")[0] in heads)
    return model


def _put_in(model: Any, spec: Spec, seed: int, rows: Mapping[str, list[int]]) -> Any:
    """The model with PEFT's modules in it."""
    from peft import get_peft_model

    config = spec.config(model)
    if rows:
        _train_rows(config, rows)
    _train_heads(config, model)
    torch.manual_seed(seed)
    known = linear_names(model)  # PEFT may have changed some before it refuses one
    try:
        with quiet():
            return get_peft_model(model, config)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _refused(str(model.config.model_type), known, str(error)) from error


def _train_heads(config: Any, model: Any) -> None:
    """Tell PEFT's configuration which heads of a classification model are trained whole.

    Raises:
        AdapterError: PEFT trains no head beside this method.
    """
    heads = classification_heads(model)
    if not heads:
        return
    if not hasattr(config, "modules_to_save"):
        raise AdapterError(
            "This kind of adapter cannot train the head of a classification model.",
            slug="adapter-head",
            got=f"{type(model).__name__}, whose head is {', '.join(heads)}",
            fix="Choose another adapter.kind, for example lora.",
        )
    config.task_type = next(
        (kind for ending, kind in TASKS.items() if type(model).__name__.endswith(ending)), None
    )
    config.modules_to_save = heads


def _train_rows(config: Any, rows: Mapping[str, list[int]]) -> None:
    """Tell PEFT's configuration which rows of which modules are trained beside the adapter."""
    if hasattr(config, "trainable_token_indices"):
        config.trainable_token_indices = dict(rows)
    else:
        config.token_indices = sorted({*config.token_indices, *next(iter(rows.values()))})
        config.target_modules = list(rows)


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


def token_rows(model: Any, new_tokens: Sequence[int]) -> dict[str, list[int]]:
    """Which rows of which embedding modules are trained, by the modules' last names."""
    return {name: list(new_tokens) for name in vocabulary_modules(model)} if new_tokens else {}
