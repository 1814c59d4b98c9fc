"""A causal language model as one that scores texts: transformers' class, the same backbone.

The class is that of ``AutoModelForSequenceClassification``: a linear map without bias from the last
hidden state of a text's last token (the last that is no padding) to one number for each score.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regimen.errors import ModelError
from regimen.models.forward import CUTS, base_of
from regimen.models.hardware import placed


def with_scores(network: Any, names: Sequence[str], *, seed: int, pad_id: int) -> Any:
    """The model with a fresh score for each name in place of its vocabulary projection.

    Args:
        network: a causal language model; its backbone is shared, not copied.
        names: of the scores, which the saved config has as its labels.
        seed: the scores' weights are drawn from, with the model's own spread of new weights.
        pad_id: of padding, which scores do not read.

    Raises:
        ModelError: ``scores-unsupported``, where transformers has no such class for the
            architecture, or one whose head is not linear.
    """
    if hasattr(network, "peft_config"):
        raise _unsupported(network, "it carries an adapter that is no part of its weights")
    kind = _kind(network)
    config = copy.deepcopy(network.config)
    config.num_labels = len(names)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}
    config.pad_token_id = config.get_text_config().pad_token_id = pad_id
    with torch.device("meta"):
        model = kind(config)
    prefix = kind.base_model_prefix
    head = getattr(model, "score", None)
    if prefix != network.base_model_prefix or type(head) is not nn.Linear or head.bias is not None:
        raise _unsupported(network, f"{kind.__name__} has another head")
    setattr(model, prefix, network.base_model)
    weight = network.get_input_embeddings().weight
    score = nn.Linear(head.in_features, len(names), bias=False, dtype=torch.float32)
    draw = torch.Generator().manual_seed(seed)
    spread = float(getattr(config.get_text_config(), "initializer_range", 0.02))
    with torch.no_grad():
        score.weight.normal_(0.0, spread, generator=draw)
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    model.score = score.to(weight.device, dtype)
    left = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if left:
        raise _unsupported(network, f"{kind.__name__} has weights besides: {', '.join(left[:3])}")
    model.name_or_path = network.name_or_path
    return model.train(network.training)


def pad_id_of(tokenizer: Any) -> int:
    """The id that a model which scores takes for padding, and does not read: the tokenizer's, or
    the end of text."""
    found = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if found is None else found)


def _kind(network: Any) -> Any:
    """transformers' class of models that score texts, for the architecture of a model."""
    from transformers import AutoModelForSequenceClassification

    mapping: Any = AutoModelForSequenceClassification._model_mapping
    kind = type(network.config)
    if kind not in mapping:
        raise _unsupported(network, "transformers has no class of it that scores texts")
    found = mapping[kind]
    return found[0] if isinstance(found, tuple) else found


def _unsupported(network: Any, why: str) -> ModelError:
    return ModelError(
        "This model cannot become a model that scores texts.",
        slug="scores-unsupported",
        got=f"{network.config.model_type}: {why}",
        expected="an architecture with a ...ForSequenceClassification class and a linear 'score'",
        fix="Start from another architecture, for example llama, qwen3, mistral or gpt2.",
    )


def load_scores(path: str, *, dtype: str = "float32") -> Any:
    """A folder that ``AutoModelForSequenceClassification`` reads, every weight of it from there.

    Raises:
        ModelError: it cannot be read, or weights are missing.
    """
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # ours is the only one
    kind: Any = AutoModelForSequenceClassification
    told = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what is missing is told below
    try:
        model, found = kind.from_pretrained(
            path, dtype=getattr(torch, dtype), output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            "The reward model cannot be loaded.",
            slug="model-unreadable",
            got=f"{path}: {str(error).splitlines()[0]}",
            fix="Name the folder 'final' of an `align` with a reward method.",
        ) from error
    finally:
        logging.set_verbosity(told)
    if found["missing_keys"]:
        raise ModelError(
            "Some weights of the model are not in its files.",
            slug="weights-missing",
            got=f"{path}: {', '.join(sorted(found['missing_keys'])[:6])}",
            expected="a model that was trained to score",
            fix="Name the folder 'final' of an `align` with a reward method.",
        )
    return placed(model)


def add_cuts(network: Any, start_J: Tensor) -> None:
    """Give the score head the free numbers behind the borders between levels, to be trained."""
    score = base_of(network).score
    score.register_parameter(CUTS, nn.Parameter(start_J.to(score.weight.device, torch.float32)))


def take_cuts(network: Any) -> Tensor | None:
    """These numbers as they were learnt; the head is without them afterwards, as transformers'."""
    base = base_of(network)
    found = getattr(base.score, CUTS, None)
    for module in base.score.modules():
        module._parameters.pop(CUTS, None)
    return None if found is None else found.detach().cpu()
