"""What ``tune`` and ``align`` share: model, adapter, optimizer, loop options, logging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from regimen.adapters.files import (
    base_path,
    can_merge,
    is_adapter,
    load_adapter,
    load_base,
    merge,
    saw,
)
from regimen.adapters.methods import METHODS, add_adapter
from regimen.adapters.serving import problems as serving_problems
from regimen.adapters.spec import Spec
from regimen.errors import AdapterError, ModelError
from regimen.memory.activations import arrange
from regimen.memory.merging import in_words, rounded_base
from regimen.memory.quantisation.aware import exported, make_aware, settle
from regimen.memory.quantisation.files import save_quantised
from regimen.memory.streaming import Streaming
from regimen.models.forward import LanguageModel, prepare
from regimen.models.hardware import tune_allocator
from regimen.models.head_kernels import in_words as in_words_of_head
from regimen.models.loading import (
    ModelSpec,
    check_finite,
    fit_vocabulary,
    load_model,
    load_tokenizer,
)
from regimen.models.quantised import is_quantised, quantised_in_words
from regimen.models.scoring import pad_id_of, with_scores
from regimen.runs import Run
from regimen.settings.training import ModelSettings, TrainingSettings
from regimen.stages.arrangements import (
    aware_of,
    kept_of,
    quantisation_of,
    scratch_directory,
    wants_bf16,
)
from regimen.tokens.rendering import (
    CHATML_TOKENS,
    MaskPolicy,
    Renderer,
    add_tokens,
    adopt_template,
    ensure_chat_tokens,
    stop_ids,
)
from regimen.training.checkpoints import whole, write_model
from regimen.training.options import LoopOptions
from regimen.training.schedules import Schedule

MERGED = "base"
"""Folder of a stage with the base of an adapter that goes on from another adapter."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model ready to be trained."""

    language_model: LanguageModel
    tokenizer: Any
    renderer: Renderer
    notes: tuple[str, ...]

    @property
    def model(self) -> Any:
        """The Hugging Face model, with its adapter if it has one."""
        return self.language_model.model


def start_from(model: ModelSettings, before: ModelSettings | None) -> ModelSettings:
    """The model to start from: where it says ``previous``, what the training before ended with."""
    if not model.previous:
        return model
    assert before is not None, "the settings were checked"
    return model.model_copy(update={"path": before.path, "previous": False})


@dataclass(frozen=True, slots=True)
class Opened:
    """A model as transformers and PEFT make it, before the probe switches it to flat batches.

    ``fresh_adapter`` says whether an adapter was added that has learnt nothing yet.
    """

    network: Any
    tokenizer: Any
    renderer: Renderer
    notes: tuple[str, ...]
    fresh_adapter: bool


def prepare_model(
    model: ModelSettings,
    training: TrainingSettings,
    *,
    seed: int,
    tokenizer: Any = None,
    mask: MaskPolicy = "assistant",
    chat: bool = True,
    merged: Path | None = None,
    scores: Sequence[str] = (),
) -> Prepared:
    """Open the model as ``open_model`` does, and probe whether it takes flat batches."""
    opened = open_model(
        model,
        training,
        seed=seed,
        tokenizer=tokenizer,
        mask=mask,
        chat=chat,
        merged=merged,
        scores=scores,
    )
    language_model = prepare(opened.network, compiled=training.torch_compile)
    notes = opened.notes
    if not language_model.ragged:
        notes += (f"padded batches: {language_model.reason}",)
    if training.torch_compile:
        notes += ("decoder layers compiled by torch",)
    if not scores and (head := in_words_of_head(language_model.device)):
        notes += (head,)
    return Prepared(language_model, opened.tokenizer, opened.renderer, notes)


def open_model(
    model: ModelSettings,
    training: TrainingSettings,
    *,
    seed: int,
    tokenizer: Any = None,
    mask: MaskPolicy = "assistant",
    chat: bool = True,
    merged: Path | None = None,
    scores: Sequence[str] = (),
) -> Opened:
    """Load model and tokenizer, fit the vocabulary, quantise, add the adapter.

    ``merged`` is where the base of an adapter is written that goes on from another adapter; None
    for a model that is not saved. ``scores`` are the names of what a model that scores texts has
    in place of a vocabulary projection.
    """
    notes = []
    if training.returns_blocks:
        notes.append(tune_allocator(keep=False))
    scratch = scratch_directory(training, merged)
    tokenizer = tokenizer or load_tokenizer(model.tokenizer or model.path or "")
    template = Path(model.chat_template).read_text() if model.chat_template else None
    renderer = Renderer(tokenizer, policy=mask, template=template)
    added = ensure_chat_tokens(tokenizer, renderer) if chat else 0
    fresh, lacking = add_tokens(tokenizer, model.new_tokens)
    added += lacking
    quantisation = quantisation_of(training)
    spec = ModelSpec(
        path=model.path or "", config=fresh_config(model, tokenizer), dtype=model.dtype
    )
    streaming = Streaming(scratch) if training.memory.stream else None
    network, grown = start_model(
        spec, tokenizer, added, seed=seed, quantisation=quantisation, streaming=streaming
    )
    notes += [grown] if grown else []
    check_finite(network)
    check_context(network, training.max_length)
    if is_quantised(network):
        notes.append(quantised_in_words(network))
        check_learns(network, training)
    if training.quantisation_aware is not None:
        stored = model.save_dtype or model.dtype
        count = make_aware(network, aware_of(training.quantisation_aware, stored))
        notes.append(f"{count} layers compute with rounded weights")
    method = None
    if training.adapter is not None and not hasattr(network, "peft_config"):
        method = adapter_spec(training, tokenizer)
    fresh_adapter = method is not None and not method.own
    if merged is not None and fresh_adapter and is_adapter(spec.path):
        notes.append(keep_merged(network, tokenizer, merged))
    if scores:
        network = with_scores(network, scores, seed=seed, pad_id=pad_id_of(tokenizer))
    if method is not None:
        if chat and renderer.uses_chatml:
            fresh = tuple(dict.fromkeys((*chatml_ids(tokenizer), *fresh)))
        network = add_adapter(network, method, seed=seed, new_tokens=fresh)
    if streaming is not None:
        notes.append(streaming.start(network))
    arrange(network, kept_of(training, scratch))
    if chat:
        adopt_template(tokenizer, renderer)
    if chat and not scores:
        network.generation_config.eos_token_id = list(stop_ids(tokenizer, renderer))
    return Opened(network, tokenizer, renderer, tuple(notes), fresh_adapter)


def check_learns(network: Any, training: TrainingSettings) -> None:
    """A base that its own files say is quantised needs an adapter, as ``quantise`` does.

    Raises:
        AdapterError: there is none.
    """
    if training.adapter is None and not hasattr(network, "peft_config"):
        raise AdapterError(
            "This base is quantised, and weights in few bits cannot be trained.",
            slug="adapter-needed",
            got=quantised_in_words(network),
            fix="Add an 'adapter' section, for example {kind: lora}.",
        )


def check_context(network: Any, max_length: int) -> None:
    """Rows must fit the positions that the model knows.

    Raises:
        ModelError: ``max_length`` is beyond the model's context.
    """
    context = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and max_length > context:
        raise ModelError(
            "max_length is beyond the model's context.",
            slug="context-too-short",
            got=f"max_length {max_length}, a context of {context} tokens",
            fix=f"Set max_length to {context} or less; longer conversations are then counted.",
        )


def start_model(
    spec: ModelSpec,
    tokenizer: Any,
    added: int,
    *,
    seed: int,
    quantisation: Any,
    streaming: Streaming | None = None,
) -> tuple[Any, str]:
    """The model to train and what was done to its vocabulary.

    The result of an adapter's training is its base, as the adapter saw it, with the adapter merged
    in; over a quantised base the adapter goes on being trained instead, because merging would round
    the weights again, and so does one that no weight of the base can do the work of. With
    ``streaming``, the weights stay in their files where these can be mapped.
    """
    if not is_adapter(spec.path):
        network = None
        if streaming is not None and spec.path and quantisation is None:
            network = streaming.load(spec.path, getattr(torch, spec.dtype))
        if network is None:
            network = load_model(spec, seed=seed, quantisation=quantisation)
        return network, fit_vocabulary(network, tokenizer, added=added)
    seen = saw(spec.path)
    if quantisation is None and seen is not None:
        base = rounded_base(base_path(spec.path), tokenizer, seen, dtype=spec.dtype)
        grown = f"the base is what the adapter before saw: {in_words(seen)}, in {spec.dtype}"
    else:
        base, grown = load_base(
            base_path(spec.path), tokenizer, dtype=spec.dtype, quantisation=quantisation
        )
    network = load_adapter(base, spec.path, trainable=True)
    if not is_quantised(network) and can_merge(network):
        network = merge(network)
        network.requires_grad_(True)  # PEFT froze the base
    return network, grown


def keep_merged(network: Any, tokenizer: Any, directory: Path) -> str:
    """Write a base with an adapter merged in, so that the next adapter names what it is trained on.

    The base that the first adapter names would be without the first adapter.
    """
    write_model(network, tokenizer, directory)
    network.name_or_path = str(directory)
    return f"the new adapter's base is {directory}: the base with the adapter before it merged in"


def fresh_config(model: ModelSettings, tokenizer: Any) -> Mapping[str, Any]:
    """The config of a fresh model, with the tokenizer's size and special ids filled in."""
    if model.config is None:
        return {}
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **model.config,
    }


def chatml_ids(tokenizer: Any) -> tuple[int, ...]:
    """Ids of the ChatML markers, whose rows no base has learnt."""
    return tuple(tokenizer.convert_tokens_to_ids(list(CHATML_TOKENS)))


def adapter_spec(training: TrainingSettings, tokenizer: Any) -> Spec:
    """The adapter section as the method of row 7.

    Raises:
        AdapterError: a token that is to be trained is not in the vocabulary.
    """
    section = training.adapter
    assert section is not None
    fields = section.model_dump(exclude={"kind"})
    if "tokens" in fields:
        fields["tokens"] = token_ids(tokenizer, fields["tokens"])
    if "tokenizer" in fields:
        fields["tokenizer"] = fields["tokenizer"] or tokenizer.name_or_path
    return METHODS[section.kind](**fields)


def token_ids(tokenizer: Any, tokens: Sequence[str]) -> tuple[int, ...]:
    """The ids of tokens.

    Raises:
        AdapterError: the vocabulary does not have one.
    """
    vocabulary = tokenizer.get_vocab()
    for token in tokens:
        if token not in vocabulary:
            close = get_close_matches(token, vocabulary, n=1)
            raise AdapterError(
                "A token that is to be trained is not in the vocabulary.",
                slug="adapter-token",
                got=repr(token),
                fix=f"Did you mean {close[0]!r}?" if close else "Write it as the vocabulary does.",
            )
    return tuple(vocabulary[token] for token in tokens)


def loop_options(training: TrainingSettings, seed: int) -> LoopOptions:
    """The optimisation fields as the dataclass of row 10."""
    return LoopOptions(
        learning_rate=training.learning_rate,
        schedule=Schedule(training.schedule, training.warmup_ratio, training.decay_ratio),
        tokens_per_batch=training.tokens_per_batch,
        accumulation=training.gradient_accumulation_steps,
        num_train_epochs=training.num_train_epochs,
        max_steps=training.max_steps,
        max_tokens=training.max_tokens,
        max_time=training.max_time,
        max_grad_norm=training.max_grad_norm,
        neftune_noise_alpha=training.neftune_noise_alpha,
        bf16=wants_bf16(training),
        seed=seed,
        log_every=training.logging_steps,
        save_every=training.save_steps,
    )


def finish_model(run: Run, prepared: Prepared, *, dtype: str | None = None) -> dict[str, Any]:
    """Write ``final/``: model or adapter and tokenizer, as transformers and peft load them.

    After quantisation-aware tuning its weights are the rounded ones, and ``packed/`` has them in
    few bits.

    Returns what is to be told of it: for an adapter, what keeps vLLM from loading it.
    """
    folder, packed = run.path("final"), {}
    rounded = exported(prepared.model)
    if rounded:
        stored = dtype or str(next(prepared.model.parameters()).dtype).removeprefix("torch.")
        with whole(run.path("packed")) as partial:
            size = save_quantised(
                prepared.model, prepared.tokenizer, partial, dtype=stored, layers=rounded
            )
        packed = {"packed_bytes": size}
        settle(prepared.model)
    write_model(prepared.model, prepared.tokenizer, folder, dtype=dtype)
    return {"not_for_vllm": serving_problems(folder)} if is_adapter(str(folder)) else packed


def head_masks(
    prepared: Prepared, ids: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """Token pieces and masks of a few rows, for the coloured view."""
    return [
        {
            "pieces": [prepared.tokenizer.decode([int(i)]) for i in row],
            "mask": [bool(w) for w in row_weights],
        }
        for row, row_weights in zip(ids, weights, strict=True)
    ]
