"""What ``tune`` and ``align`` share: the model, its adapter, the optimisation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from regimen.settings.adapters import OF_THE_BASE, AdapterSettings
from regimen.settings.base import (
    Conflict,
    Count,
    MissingLibrary,
    Section,
    Seed,
    Share,
    Text,
    Texts,
    exactly_one,
)
from regimen.settings.compress import AwareSettings, of_aware
from regimen.settings.memory import MemorySettings, of_memory
from regimen.settings.optimizers import OptimizerName, OptimizerSettings, of_an_optimizer
from regimen.settings.quantised import Quantise, of_a_base


def goes_on(model: Any) -> Any:
    """A model section as it is written, with ``previous`` where it names no model."""
    if model is None:
        return {"previous": True}
    if isinstance(model, dict) and model.get("path") is None and model.get("config") is None:
        return {"previous": True, **model}
    return model


LIMITS = ("num_train_epochs", "max_steps", "max_tokens", "max_time")
"""The fields that end training; at least one is set."""

REPORTING = ("report_to", "run_name", "project")
"""The fields that say where a training is shown; what it makes does not depend on them."""


def installed(library: str) -> str:
    """Look for a library without importing it: its import may take seconds.

    Raises:
        MissingLibrary: it is not there.
    """
    if library not in sys.modules and find_spec(library) is None:
        raise MissingLibrary(library)
    return library


Library = Annotated[Literal["tensorboard", "wandb", "mlflow", "trackio"], AfterValidator(installed)]
"""A tracker, by the name of the library that it needs."""


class ModelSettings(Section):
    """The model to start from: a directory, or a configuration for a fresh one."""

    path: Text | None = None
    """Directory of a model as transformers saves it."""

    config: dict[str, Any] | None = None
    """Configuration of a fresh model, as in ``config.json``: ``{model_type: llama, ...}``."""

    previous: bool = False
    """Start from what the training before this one ended with: the tuning before it in a list of
    tunings, the last tuning for ``align``. So it is where the settings name no model there."""

    tokenizer: Text | None = None
    """Directory of the tokenizer; the model's own when not given."""

    train_tokenizer: Annotated[int, Field(ge=260, le=1_000_000)] | None = None
    """Train a byte-level BPE tokenizer with this many entries on the text, for a fresh model."""

    bare_words: bool = False
    """With ``train_tokenizer``: no token holds both a letter and a blank, so that a word is the
    same tokens at a line start, in quotes and after a blank."""

    new_tokens: Texts = ()
    """Tokens that the vocabulary gains, each one id from then on. With an adapter, LoRA or
    ``tokens``, their rows alone are trained beside it, not the whole embedding."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights while they are trained."""

    save_dtype: Literal["float32", "bfloat16"] | None = None
    """Type of the weights on disk; the type they are trained in when not given."""

    chat_template: Text | None = None
    """A Jinja file to use in place of the tokenizer's chat template."""

    def conflicts(self) -> Iterator[Conflict]:
        """One origin; a fresh model brings no tokenizer."""
        if not self.previous:
            yield from exactly_one(self, ("path", "config"))
        elif self.path is not None or self.config is not None:
            yield Conflict(
                what="says to go on from the training before, and another model is named as well",
                at=("previous",),
                fix="Remove it, or 'path' and 'config' beside it.",
            )
        twice = sorted({token for token in self.new_tokens if self.new_tokens.count(token) > 1})
        if twice:
            yield Conflict(what=f"names {', '.join(twice)} more than once", at=("new_tokens",))
        if self.config is not None and "model_type" not in self.config:
            yield Conflict(
                what="does not name an architecture",
                at=("config",),
                expected="a 'model_type', such as llama",
            )
        if self.config is not None and not (self.tokenizer or self.train_tokenizer):
            yield Conflict(
                what="describes a fresh model, which has no tokenizer of its own",
                at=("config",),
                fix="Add 'tokenizer' or 'train_tokenizer' beside 'config'.",
            )
        if self.bare_words and self.train_tokenizer is None:
            yield Conflict(
                what="is about a tokenizer that is trained here, and none is",
                at=("bare_words",),
                fix="Add 'train_tokenizer', or remove it.",
            )
        if self.train_tokenizer and (self.config is None or self.tokenizer is not None):
            yield Conflict(
                what="is for a fresh model without a tokenizer",
                at=("train_tokenizer",),
                fix="Remove it, or the tokenizer and the path beside it.",
            )


class TrainingSettings(Section):
    """Optimisation: what is stepped, how far, how often it is saved and measured."""

    adapter: AdapterSettings | None = None
    """Train an adapter; all weights when not given."""

    quantise: Quantise | None = None
    """Keep the frozen base in few bits, in 4 (``nf4``, ``fp4``) or 8 (``int8``), or as torchao has
    them; needs an adapter. Options follow the name: ``{kind: nf4, double_quant: false}``."""

    quantisation_aware: AwareSettings | None = None
    """Train all weights through their rounded values; ``packed`` beside ``final`` has them in few
    bits. Weights are not rounded when not given."""

    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-4
    """Peak learning rate."""

    schedule: Literal["constant", "linear", "cosine", "wsd"] = "cosine"
    """Course of the learning rate after the warm-up; ``wsd`` is stable, then decays linearly."""

    warmup_ratio: Share = 0.03
    """Share of the steps in which the learning rate rises from 0."""

    decay_ratio: Share = 0.2
    """Share of the steps in which ``wsd`` decays."""

    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Decoupled weight decay of matrices."""

    max_grad_norm: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    """Gradients are scaled down to this norm."""

    num_train_epochs: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Passes over the data; 1 when no other limit is set."""

    max_steps: Count | None = None
    """Optimizer steps after which training ends."""

    max_tokens: Count | None = None
    """Tokens seen after which training ends."""

    max_time: Annotated[float, Field(gt=0, le=100_000_000)] | None = None
    """Seconds after which training ends; the learning rate follows the time."""

    tokens_per_batch: Annotated[int, Field(ge=8, le=100_000_000)] = 4096
    """Token budget of a micro-batch: what goes through the model at once."""

    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Micro-batches in an optimizer step."""

    max_length: Annotated[int, Field(ge=8, le=10_000_000)] = 1024
    """Longest row in tokens; see ``overflow`` for what is longer."""

    max_lost_share: Share = 0.1
    """Largest share of the supervised tokens that ``overflow`` may lose; where it would be more,
    training does not begin."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Type of the arithmetic; ``auto`` takes bf16 where the machine is faster with it."""

    torch_compile: bool = False
    """Compile the decoder layers with torch's compiler, in the place of the functions that are
    written here; for accelerators. The first steps take minutes, and results differ by rounding."""

    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: another name of
    ``memory.activations: full``."""

    memory: MemorySettings = MemorySettings()
    """What is kept in memory while training."""

    optimizer: OptimizerName = "adamw"
    """The optimizer; what each keeps in memory and does not take is in ``docs/optimizers.md``."""

    optimizer_settings: OptimizerSettings | None = None
    """Hyper-parameters of the optimizer."""

    neftune_noise_alpha: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """Size of uniform noise on input embeddings while training (NEFTune); 5 to 15 are usual."""

    save_steps: Count | None = None
    """Optimizer steps between checkpoints; none but the final model when not given."""

    save_total_limit: Count | None = 2
    """Keep at most this many checkpoints; null keeps all."""

    logging_steps: Count = 10
    """Optimizer steps between lines of ``metrics.jsonl``."""

    report_to: Annotated[tuple[Library, ...], Strict(False)] = ()
    """Trackers that get every line of ``metrics.jsonl`` as well. A training that is done already
    is not run again for them."""

    run_name: Text | None = None
    """Name of the run in the trackers; the run's directory and the stage when not given."""

    project: Text | None = None
    """Project (MLflow: experiment) of the run in the trackers; what the tracker's environment
    variable says when not given, or else ``regimen``."""

    seed: Seed | None = None
    """Seed of initialisation, order and dropout; the pipeline's when not given."""

    @model_validator(mode="before")
    @classmethod
    def _one_epoch_by_default(cls, data: Any) -> Any:
        # A default of 1 on the field would also cut short a run whose only limit is max_steps.
        if isinstance(data, dict) and not any(name in data for name in LIMITS):
            return {**data, "num_train_epochs": 1.0}
        return data

    @property
    def returns_blocks(self) -> bool:
        """Whether freed blocks of memory go back to the system while this trains."""
        return self.memory.returns_blocks(quantised=self.quantise is not None)

    def _compile_conflicts(self) -> Iterator[Conflict]:
        """What does not go with compiled layers."""
        if not self.torch_compile:
            return
        memory, adapter = self.memory, None if self.adapter is None else self.adapter.kind
        against = {
            "quantise": (self.quantise is not None, "its libraries bring kernels of their own"),
            "quantisation_aware": (self.quantisation_aware is not None, "its layers round anew"),
            "memory.budget": (memory.budget is not None, "it is planned for plain layers"),
            "memory.stream": (memory.stream, "the weights of a layer come and go around it"),
            "memory.tiled_mlp": (memory.tiled_mlp is not None, "networks go over their tokens"),
            "memory.activations": (
                memory.activations != "keep",
                "what is kept of a layer is arranged around its functions",
            ),
            "gradient_checkpointing": (
                self.gradient_checkpointing,
                "a compiled layer keeps other tensors when it is computed again",
            ),
            "adapter.kind": (adapter not in (None, "lora"), f"{adapter} was not tried with it"),
            "optimizer": (self.optimizer == "badam", "each turn would compile a layer again"),
        }
        for name, (is_given, why) in against.items():
            if is_given:
                yield Conflict(
                    what=f"compiles layers, and does not go with {name}: {why}",
                    at=("torch_compile",),
                    fix=f"Remove 'torch_compile', or {name}.",
                )

    def optimisation_conflicts(self) -> Iterator[Conflict]:
        """What the shared fields demand of each other."""
        yield from of_an_optimizer(
            self.optimizer,
            self.optimizer_settings,
            accumulation=self.gradient_accumulation_steps,
            adapter=None if self.adapter is None else self.adapter.kind,
        )
        yield from of_a_base(self.adapter, self.quantise)
        yield from of_aware(
            self.quantisation_aware,
            adapter=self.adapter is not None,
            quantised=self.quantise is not None,
        )
        yield from self._compile_conflicts()
        yield from of_memory(
            self.memory,
            self.adapter,
            checkpointing=self.gradient_checkpointing,
            own=OF_THE_BASE,
        )
        if all(getattr(self, name) is None for name in LIMITS):
            yield Conflict(
                what="nothing ends the training",
                at=("num_train_epochs",),
                expected="a value for one of " + ", ".join(repr(name) for name in LIMITS),
            )
        for name in REPORTING[1:]:
            if getattr(self, name) is not None and not self.report_to:
                yield Conflict(
                    what="is for trackers, and report_to lists none",
                    at=(name,),
                    fix="Add 'report_to', for example [tensorboard], or remove it.",
                )
        if self.schedule == "wsd" and self.warmup_ratio + self.decay_ratio > 1:
            yield Conflict(
                what=f"and warmup_ratio make {self.warmup_ratio + self.decay_ratio:g} of the run",
                at=("decay_ratio",),
                expected="together at most 1",
            )
        if self.max_length > self.tokens_per_batch:
            yield Conflict(
                what=f"({self.max_length}) does not fit tokens_per_batch ({self.tokens_per_batch})",
                at=("max_length",),
                expected=f"at most {self.tokens_per_batch}",
                fix="Lower 'max_length' or raise 'tokens_per_batch'.",
            )
