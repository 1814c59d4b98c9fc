"""Methods that train vectors: factors of activations, norms, rows of new tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from regimen.adapters.spec import TRAINABLE_TOKENS, Spec, needs_modules
from regimen.adapters.targets import (
    feedforward_outputs,
    last,
    linear_modules,
    resolved,
    vocabulary_modules,
)

KEYS_AND_VALUES = {
    "k_proj", "v_proj", "key", "value", "c_attn", "query_key_value", "qkv_proj", "Wqkv",
}  # fmt: skip
"""How layers are called that make keys and values, alone or together with queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ia3(Spec):
    """Keys, values and inner activations of the network are scaled by vectors (Liu et al. 2022).

    Args:
        target_modules: layers whose output is scaled; those of keys and values if None.
        feedforward_modules: layers whose input is scaled; those from the inner width of the
            feed-forward networks if None.
    """

    part: ClassVar[str] = "ia3_"

    target_modules: tuple[str, ...] | None = None
    feedforward_modules: tuple[str, ...] | None = None

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import IA3Config, TaskType

        outputs, inputs = self.target_modules, self.feedforward_modules
        if outputs is None:
            outputs = tuple(_keys_and_values(model))
        if inputs is None:
            names = needs_modules(
                feedforward_outputs(model),
                method="(IA)3",
                what="feed-forward network",
                model=model,
            )
            inputs = tuple({".".join(name.split(".")[-2:]): None for name in names})
        inputs = tuple(resolved(model, inputs))
        return IA3Config(
            task_type=TaskType.CAUSAL_LM,
            target_modules=[*resolved(model, outputs), *inputs],
            feedforward_modules=list(inputs),
        )


def _keys_and_values(model: Any) -> list[str]:
    found = [last(name) for name in linear_modules(model) if last(name) in KEYS_AND_VALUES]
    return needs_modules(
        found, method="(IA)3", what="layer of keys and values with a known name", model=model
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNorms(Spec):
    """The scales (and biases) of norms are trained (Zhao et al. 2023, section 3).

    Args:
        target_modules: ends of names of norms; all norms if None.
    """

    part: ClassVar[str] = "ln_tuning_"

    target_modules: tuple[str, ...] | None = None

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import LNTuningConfig, TaskType

        norms = {
            name: module
            for name, module in model.named_modules()
            if "Norm" in type(module).__name__ and list(module.parameters(recurse=False))
        }
        if self.target_modules is not None:
            ends = resolved(model, self.target_modules, among=norms)
        else:
            ends = needs_modules(
                map(last, norms), method="layernorm tuning", what="norm with weights", model=model
            )
        return LNTuningConfig(task_type=TaskType.CAUSAL_LM, target_modules=ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRows(Spec):
    """Rows of the embedding, and of an untied vocabulary projection, are trained; nothing else.

    Args:
        tokens: ids whose rows are trained, beside those of tokens that the vocabulary gains.
    """

    takes_rows: ClassVar[bool] = True
    part: ClassVar[str] = TRAINABLE_TOKENS

    tokens: tuple[int, ...] = ()

    def config(self, model: Any) -> Any:
        """As ``Spec``; with the rows of ``tokens`` alone."""
        from peft import TaskType, TrainableTokensConfig

        return TrainableTokensConfig(
            task_type=TaskType.CAUSAL_LM,
            token_indices=list(self.tokens),
            target_modules=vocabulary_modules(model),
        )
