"""Bottleneck adapters, which PEFT does not have, in PEFT's files and with its switches.

``register`` makes them known to PEFT; whoever loads one with PEFT alone calls it first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig, TaskType
from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional as F

NAME, PREFIX = "BOTTLENECK", "bottleneck_"
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


@dataclass
class BottleneckConfig(PeftConfig):
    """PEFT's configuration of a bottleneck adapter; the fields are those of ``Layer``."""

    target_modules: list[str] | None = field(default=None)
    inner: int = field(default=64)
    activation: str = field(default="relu")
    parallel: bool = field(default=False)
    scale: float = field(default=1.0)
    bias: str = field(default="none")
    modules_to_save: list[str] | None = field(default=None)

    def __post_init__(self) -> None:
        """PEFT asks a config for its type."""
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = NAME


class Layer(nn.Module, BaseTunerLayer):
    """y + scale * up(f(down(h))), with h the module's output y, or its input where ``parallel``.

    ``down`` is drawn as torch draws a linear layer, ``up`` begins at 0.
    """

    adapter_layer_names: tuple[str, ...] = ("bottleneck_down", "bottleneck_up")

    def __init__(self, base_layer: nn.Module, name: str, config: BottleneckConfig, width: int):
        super().__init__()
        self.base_layer, self.width = base_layer, width
        self.bottleneck_down, self.bottleneck_up = nn.ModuleDict(), nn.ModuleDict()
        self.configs: dict[str, BottleneckConfig] = {}
        self._disable_adapters, self.merged_adapters = False, []
        self._active_adapter = name
        self.update_layer(name, config)

    def update_layer(self, name: str, config: BottleneckConfig) -> None:
        """One more adapter."""
        self.configs[name] = config
        self.bottleneck_down[name] = nn.Linear(self.width, config.inner)
        self.bottleneck_up[name] = nn.Linear(config.inner, self.width)
        for parameter in self.bottleneck_up[name].parameters():
            nn.init.zeros_(parameter)
        self._move_adapter_to_device_of_base_layer(name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the module that it stands for."""
        y: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return y
        total = y
        for name in self.active_adapters:
            if name in self.configs:
                config = self.configs[name]
                down, up = self.bottleneck_down[name], self.bottleneck_up[name]
                read = x if config.parallel else y
                inner = down(read.to(next(down.parameters()).dtype))
                added = up(ACTIVATIONS[config.activation](inner))
                total = total + config.scale * added.to(y.dtype)
        return total


class Model(BaseTuner):
    """A model with bottleneck adapters."""

    prefix: str = PREFIX
    tuner_layer_cls = Layer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012

    def _create_and_replace(  # type: ignore[override]
        self,
        config: BottleneckConfig,
        name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **_: Any,
    ) -> None:
        if isinstance(target, Layer):
            target.update_layer(name, config)
            return
        made = Layer(target, name, config, int(self.model.config.get_text_config().hidden_size))
        if name not in self.active_adapters:
            made.requires_grad_(False)
        self._replace_module(parent, target_name, made, target)


def register() -> None:
    """Make bottleneck adapters known to PEFT; calling it again is harmless."""
    PEFT_TYPE_TO_CONFIG_MAPPING[NAME] = BottleneckConfig  # type: ignore[index]
    PEFT_TYPE_TO_TUNER_MAPPING[NAME] = Model  # type: ignore[index]
    PEFT_TYPE_TO_PREFIX_MAPPING[NAME] = PREFIX  # type: ignore[index]


def config_for(targets: list[str], **options: Any) -> BottleneckConfig:
    """The configuration for a causal language model."""
    register()
    return BottleneckConfig(task_type=TaskType.CAUSAL_LM, target_modules=targets, **options)
