"""Which modules of a model an adapter is for: presets, names, and what to say when none fits."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from regimen.errors import AdapterError, near

PRESETS = ("all-linear", "attention", "mlp")
"""All linear layers below the vocabulary projection; those of attention; the others."""

LINEAR = ("Linear", "Conv1D", "Linear4bit", "Linear8bitLt")
"""Kinds of linear layers; ``Conv1D`` is GPT-2's."""

_ATTENTION = re.compile(r"attn|attention")


def linear_modules(model: Any) -> dict[str, Any]:
    """The linear layers below the vocabulary projection or the classification head, by name."""
    output = model.get_output_embeddings()
    heads = set(classification_heads(model))
    return {
        name: module
        for name, module in model.named_modules()
        if type(module).__name__ in LINEAR
        and module is not output
        and name.partition(".")[0] not in heads
    }


def classification_heads(model: Any) -> list[str]:
    """Names of the modules above the body of a model that is no language model.

    Such a head is new, so it is trained whole, and saved with an adapter.
    """
    body = getattr(model, "base_model", model)
    if body is model or model.get_output_embeddings() is not None:
        return []
    return [
        name
        for name, child in model.named_children()
        if child is not body and any(True for _ in child.parameters())
    ]


def vocabulary_modules(model: Any) -> list[str]:
    """Last name parts of the modules that hold a row for each token: of the embedding, and of the
    vocabulary projection where it is not the same weight."""
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): last(name) for name, module in model.named_modules()}
    found = [names[id(inputs)]]
    if outputs is not None and outputs.weight is not inputs.weight:
        found.append(names[id(outputs)])
    return found


def linear_names(model: Any) -> set[str]:
    """Last name parts of the linear layers below the vocabulary projection."""
    return {last(name) for name in linear_modules(model)}


def last(name: str) -> str:
    """The last part of a module's name."""
    return name.rsplit(".", 1)[-1]


def resolved(
    model: Any, targets: str | Sequence[str], *, among: Collection[str] | None = None
) -> list[str]:
    """The ends of names that PEFT is to adapt, for a preset or for names that a user gives.

    Args:
        model: a Hugging Face causal language model.
        targets: a preset, or ends of names such as ``q_proj`` or ``mlp.c_proj``.
        among: the names of the modules that may be adapted; the linear ones if None.

    Raises:
        AdapterError: a name, or a preset, matches nothing.
    """
    known = sorted(linear_modules(model) if among is None else among)
    if isinstance(targets, str):
        found = _shortest(known, [name for name in known if _belongs(name, targets)])
        if not found:
            some = ", ".join(sorted(set(map(last, known)))[:6])
            raise AdapterError(
                "The model has no module that this preset stands for.",
                slug="adapter-target-missing",
                got=f"{targets!r}, for {model.config.model_type}",
                expected=f"names of modules, such as {some}",
                fix="Name the modules: adapter.target_modules: [...].",
            )
        return found
    for name in targets:
        if not any(matches(module, name) for module in known):
            ends = {last(module) for module in known}
            raise AdapterError(
                "An adapter target matches no module that can be adapted.",
                slug="adapter-target-missing",
                got=repr(name),
                expected=", ".join(sorted(ends)),
                fix=near(name, ends),
            )
    return list(targets)


def matches(module: str, name: str) -> bool:
    """Whether a module's name ends in ``name``, part by part."""
    return module == name or module.endswith(f".{name}")


def _belongs(module: str, preset: str) -> bool:
    if preset == "all-linear":
        return True
    return bool(_ATTENTION.search(module)) == (preset == "attention")


def _shortest(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The shortest ends of names that match what is wanted and nothing else."""
    others = set(known) - set(wanted)
    found: list[str] = []
    for name in wanted:
        end = next(end for end in _longer_ends(name) if not any(matches(o, end) for o in others))
        if end not in found:
            found.append(end)
    return sorted(found)


def _longer_ends(name: str) -> Iterator[str]:
    """The ends of a name, the shortest first, the whole name last."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[-length:])


def feedforward_outputs(model: Any) -> list[str]:
    """Whole names of the layers beside attention that lead back to the width of the model."""
    width = model.config.get_text_config().hidden_size
    found = []
    for name, module in linear_modules(model).items():
        inputs, outputs = sides(module)
        if not _ATTENTION.search(name) and outputs == width and inputs != width:
            found.append(name)
    return found


def feedforward_modules(model: Any) -> list[str]:
    """Whole names of the feed-forward networks: what holds these layers."""
    return [name.rpartition(".")[0] for name in feedforward_outputs(model)]


def attention_outputs(model: Any) -> list[str]:
    """Whole names of the last linear layer of each attention."""
    last_of: dict[str, str] = {}
    for name in linear_modules(model):
        if _ATTENTION.search(name):
            last_of[name.rpartition(".")[0]] = name
    return list(last_of.values())


def sides(module: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear layer."""
    if type(module).__name__ == "Conv1D":
        return int(module.weight.shape[0]), int(module.weight.shape[1])
    return int(module.in_features), int(module.out_features)
