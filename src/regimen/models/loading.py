"""Loading a causal language model and its tokenizer from a folder, a hub name or a fresh config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from regimen.errors import ModelError, near
from regimen.models.hardware import placed
from regimen.models.mapped import release
from regimen.models.quantised import check_quantised, is_plain, make_trainable
from regimen.models.streaming import load_streamed

MOST_NAMED = 6
"""Weights that an error names."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What to load. Exactly one of ``path`` and ``config`` is set.

    ``config`` makes a fresh model: the fields of a Hugging Face config with ``model_type``.
    """

    path: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str = ""
    dtype: str = "float32"
    quantise: str = ""


def load_tokenizer(path: str) -> Any:
    """A fast tokenizer from a folder or hub name.

    Raises:
        ModelError: nothing is there, or there is no fast tokenizer.
    """
    from transformers import AutoTokenizer

    _check_folder(path, "tokenizer.json", "tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            "The tokenizer cannot be loaded.",
            slug="tokenizer-unreadable",
            got=f"{path}: {str(error).splitlines()[0]}",
            fix="Name a folder with tokenizer.json and tokenizer_config.json.",
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            "The tokenizer has no fast form.",
            slug="tokenizer-slow",
            got=path,
            expected="a folder with tokenizer.json",
        )
    return tokenizer


def load_model(spec: ModelSpec, *, seed: int = 0, quantisation: Any = None) -> Any:
    """The model that a spec names, in ``spec.dtype``; fresh weights are drawn from ``seed``.

    It is on the CUDA device where there is one, and on the CPU elsewhere.

    A base that is quantised, or to be quantised, is read tensor by tensor, and what is silently
    wrong in its layers is mended.

    Raises:
        ModelError: the folder, its config or its weights are missing or unreadable, or another
            tool quantised it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # ours is the only one
    dtype = getattr(torch, spec.dtype)
    if spec.config:
        fields = dict(spec.config)
        kind = fields.pop("model_type", "")
        torch.manual_seed(seed)
        try:
            config = AutoConfig.for_model(kind, **fields)
        except ValueError as error:
            raise ModelError(
                "The config names a model type that transformers does not know.",
                slug="model-type-unknown",
                got=repr(kind),
                fix=near(kind, _model_types()),
            ) from error
        fresh = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=dtype
        )
        return placed(fresh)
    _check_folder(spec.path, "config.json", "model")
    extra = {"quantization_config": quantisation} if quantisation is not None else {}
    told = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what is missing is told below
    try:
        network: Any = AutoModelForCausalLM  # its types know only one of the two results
        config = AutoConfig.from_pretrained(spec.path)
        _check_language(spec.path, config)
        library = check_quantised(spec.path, config, quantisation)
        streamed = None
        if library != "torchao" and (library or quantisation is not None):
            asked = None if library else quantisation
            streamed = load_streamed(spec.path, config, dtype, asked)
        if library:
            extra = {}
        model, found = streamed or network.from_pretrained(
            spec.path, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **extra
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            "The model cannot be loaded.",
            slug="model-unreadable",
            got=f"{spec.path}: {str(error).splitlines()[0]}",
            fix="Name a folder with config.json and model.safetensors, or a hub name.",
        ) from error
    finally:
        logging.set_verbosity(told)
    _check_complete(spec.path, found)
    if make_trainable(model) == 0 and quantisation is not None:
        raise ModelError(
            "No layer of this model can be quantised in this way.",
            slug="base-not-quantised",
            got=f"{spec.path}: a {config.model_type} without layers that {_library(quantisation)}"
            " takes",
            fix="Set quantise: nf4 or int8, which take GPT-2's layers too, or remove it.",
        )
    return placed(model)


def _library(quantisation: Any) -> str:
    return "torchao" if "ao" in type(quantisation).__name__.lower() else "bitsandbytes"


def _check_language(path: str, config: Any) -> None:
    """A model that scores texts has lost what predicts tokens.

    Raises:
        ModelError: ``no-language-model``.
    """
    kinds = getattr(config, "architectures", None) or ()
    if any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise ModelError(
            "This model scores texts and predicts no tokens.",
            slug="no-language-model",
            got=f"{path}: {', '.join(kinds)}",
            expected="a causal language model",
            fix="Name the model that it was trained from; a reward model is used with 'score'.",
        )


def _check_complete(path: str, found: Mapping[str, Any]) -> None:
    """Every weight must have come from the files; transformers draws those that have not.

    A head that is tied to the embedding is not in the files and not missing.
    """
    missing = sorted(found["missing_keys"])
    shapes = sorted(str(name[0]) for name in found["mismatched_keys"])
    absent = missing or shapes
    if not absent:
        return
    named = ", ".join(absent[:MOST_NAMED])
    more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
    raise ModelError(
        "Some weights of the model are not in its files."
        if missing
        else "Some weights in the model's files have another shape than its config says.",
        slug="weights-missing" if missing else "weights-mismatched",
        got=f"{path}: {named}{more}",
        expected="every weight that config.json describes",
        fix="Get the model again; with these weights drawn at random it would be another model.",
    )


def _model_types() -> list[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def _check_folder(path: str, needed: str, what: str) -> None:
    folder = Path(path)
    looks_local = folder.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1
    if not looks_local or (folder / needed).is_file():
        return
    parent = folder.parent if folder.parent.is_dir() else Path()
    raise ModelError(
        f"There is no {what} at this path.",
        slug=f"{what}-missing",
        got=path + ("" if folder.is_dir() else " (no such folder)"),
        expected=f"a folder with {needed}",
        fix=near(folder.name, [p.name for p in parent.iterdir() if p.is_dir()] or [needed]),
    )


def fit_vocabulary(model: Any, tokenizer: Any, *, added: int) -> str:
    """Make the embedding rows cover the tokenizer's ids; says what was done.

    Only tokens that were added by us may grow the embeddings. Any other disagreement means that
    tokenizer and model do not belong together.

    Raises:
        ModelError: the tokenizer has ids beyond the embeddings that nobody added.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])
    size = len(tokenizer)
    if size - added > rows:
        raise ModelError(
            "The tokenizer's vocabulary does not fit the model.",
            slug="vocabulary-mismatch",
            got=f"{size - added} token ids, {rows} embedding rows",
            expected="at least one embedding row per token id",
            fix="Use the tokenizer that came with the model, or resize and train the embeddings.",
        )
    if size <= rows:
        return ""
    # new rows are drawn around the mean: the same ones each time, whatever was drawn before
    place = model.get_input_embeddings().weight.device
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(0)
        model.resize_token_embeddings(size, mean_resizing=True)
    return f"{size - rows} embedding rows added for new tokens"


def check_finite(model: Any) -> None:
    """Every weight must be a number, or nothing that is trained with it will be one.

    Raises:
        ModelError: a tensor holds NaN or an infinite value.
    """
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or not parameter.numel() or not is_plain(parameter):
            continue
        # NaN goes through to both; and nothing of the tensor's size is made
        low, high = torch.aminmax(parameter.detach())
        release(parameter)
        if not (torch.isfinite(low) and torch.isfinite(high)):
            bad = int((~torch.isfinite(parameter.detach())).sum())
            raise ModelError(
                "A weight of the model is not a finite number.",
                slug="weights-not-finite",
                got=f"{name}: {bad:,} of {parameter.numel():,} values are NaN or infinite",
                expected="finite values only",
                fix="Get the model again, or start from an earlier one; a training whose loss was "
                "no longer finite leaves such weights.",
            )
