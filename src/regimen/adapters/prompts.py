"""Trained positions before every row: prompt tuning, P-tuning, prefix tuning.

PEFT owns configuration, weights and files; in flat batches the positions stand before every segment
once (``models/virtual``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from regimen.adapters.spec import Spec

INIT = {"vocabulary": "SAMPLE_VOCAB", "random": "RANDOM", "text": "TEXT"}
"""Where embeddings before every row begin, in PEFT's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(Spec):
    """Embeddings before every row are trained (Lester et al. 2021).

    Args:
        num_virtual_tokens: how many.
        init: ``vocabulary``: they begin as embeddings of random tokens; ``random``: as random
            numbers; ``text``: as the embeddings of a text, repeated or cut.
        text: that text.
        tokenizer: the tokenizer's directory, which ``text`` needs.
    """

    merges: ClassVar[bool] = False
    virtual: ClassVar[bool] = True
    part: ClassVar[str] = "prompt_encoder"

    num_virtual_tokens: int = 20
    init: str = "vocabulary"
    text: str | None = None
    tokenizer: str | None = None

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import PromptTuningConfig, TaskType

        return PromptTuningConfig(
            task_type=TaskType.CAUSAL_LM,
            num_virtual_tokens=self.num_virtual_tokens,
            prompt_tuning_init=INIT[self.init],
            prompt_tuning_init_text=self.text,
            tokenizer_name_or_path=self.tokenizer,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PTuning(Spec):
    """The embeddings come from a small network over trained ones (Liu et al. 2021).

    Args:
        num_virtual_tokens: how many.
        encoder: ``mlp`` or ``lstm``.
        hidden_size: of the network; the model's width if None.
        layers: of the network.
        dropout: in it.
    """

    merges: ClassVar[bool] = False
    virtual: ClassVar[bool] = True
    part: ClassVar[str] = "prompt_encoder"

    num_virtual_tokens: int = 20
    encoder: str = "mlp"
    hidden_size: int | None = None
    layers: int = 2
    dropout: float = 0.0

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import PromptEncoderConfig, TaskType

        return PromptEncoderConfig(
            task_type=TaskType.CAUSAL_LM,
            num_virtual_tokens=self.num_virtual_tokens,
            encoder_reparameterization_type=self.encoder.upper(),
            encoder_hidden_size=self.hidden_size or model.config.get_text_config().hidden_size,
            encoder_num_layers=self.layers,
            encoder_dropout=self.dropout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixTuning(Spec):
    """Keys and values before every row, in every layer, are trained (Li and Liang 2021).

    Args:
        num_virtual_tokens: how many.
        init: ``random`` or ``zero``.
        projection: they come from a network over trained vectors (section 4.3).
        hidden_size: of that network; the model's width if None.
    """

    merges: ClassVar[bool] = False
    virtual: ClassVar[bool] = True
    part: ClassVar[str] = "prompt_encoder"

    num_virtual_tokens: int = 20
    init: str = "random"
    projection: bool = False
    hidden_size: int | None = None

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import PrefixTuningConfig, TaskType

        return PrefixTuningConfig(
            task_type=TaskType.CAUSAL_LM,
            num_virtual_tokens=self.num_virtual_tokens,
            prefix_projection=self.projection,
            init_weights="zero" if self.init == "zero" else None,
            encoder_hidden_size=self.hidden_size or model.config.get_text_config().hidden_size,
        )
