"""AdaLoRA (Zhang et al. 2023): ranks move to the layers where they matter, while training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regimen.adapters.lora import Targets
from regimen.adapters.spec import Spec, Upkeep
from regimen.adapters.targets import resolved
from regimen.errors import AdapterError


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaLora(Spec):
    """W + P diag(e) Q, of which triplets of little importance are set to 0 (equations 3 to 10).

    Args:
        r: rank of a layer on average at the end.
        initial_r: rank of every layer at the beginning.
        alpha: the scale times the rank.
        dropout: before Q.
        warmup_share: of the steps, before ranks begin to fall.
        final_share: of the steps, in which ranks stay as they are.
        every: steps between two allocations.
        beta1, beta2: of the moving means of sensitivity and uncertainty.
        orthogonality: weight of the penalty that keeps P and Q orthogonal.
        target_modules: a preset or ends of names.
    """

    r: int = 8
    initial_r: int = 12
    alpha: float = 32.0
    dropout: float = 0.0
    warmup_share: float = 0.1
    final_share: float = 0.3
    every: int = 1
    beta1: float = 0.85
    beta2: float = 0.85
    orthogonality: float = 0.5
    target_modules: Targets = "all-linear"

    def config(self, model: Any) -> Any:
        """As ``Spec``; the steps are told later, by ``upkeep``."""
        from peft import AdaLoraConfig, TaskType

        return AdaLoraConfig(
            task_type=TaskType.CAUSAL_LM,
            target_r=self.r,
            init_r=self.initial_r,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            deltaT=self.every,
            beta1=self.beta1,
            beta2=self.beta2,
            orth_reg_weight=self.orthogonality,
            total_step=1,
            target_modules=resolved(model, self.target_modules),
        )

    def upkeep(self, adapted: Any, steps: int | None) -> Upkeep:
        """As ``Spec``.

        Raises:
            AdapterError: nothing says how many steps there are, or they are too few.
        """
        if steps is None or steps < 3:
            raise AdapterError(
                "AdaLoRA has to know how many steps there are, and needs some.",
                slug="adalora-steps",
                got="no number of steps" if steps is None else f"{steps} steps",
                expected="3 steps or more",
                fix="End the training by max_steps or num_train_epochs.",
            )
        config = adapted.peft_config["default"]
        config.total_step = steps
        config.tinit = min(round(self.warmup_share * steps), steps - 2)
        config.tfinal = min(round(self.final_share * steps), steps - config.tinit - 1)
        return _Allocation(adapted)


class _Allocation(Upkeep):
    """PEFT's allocator, which wants to be asked after every step."""

    def __init__(self, adapted: Any) -> None:
        self.tuner = adapted.base_model
        self.config = adapted.peft_config["default"]

    def penalty(self) -> Tensor | None:
        """The mean distance of P^T P and Q Q^T from the identity (equation 4)."""
        found = []
        for name, parameter in self.tuner.named_parameters():
            if "lora_A." in name or "lora_B." in name:
                gram = parameter @ parameter.T if "lora_A." in name else parameter.T @ parameter
                found.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram)).to(gram)))
        return torch.stack(found).mean() * float(self.config.orth_reg_weight)

    def after(self, step: int) -> None:
        """Moves ranks: step counts from 0, and PEFT's from 0 as well."""
        self.tuner.update_and_allocate(step)

    def state(self) -> dict[str, Any]:
        """The moving means, and which ranks are left."""
        allocator = self.tuner.rankallocator
        means = {
            "sensitivity": allocator.exp_avg_ipt,
            "uncertainty": allocator.exp_avg_unc,
            "last": allocator.ipt,
        }
        return {**means, "ranks": self.config.rank_pattern}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """As ``Upkeep``."""
        allocator = self.tuner.rankallocator
        allocator.exp_avg_ipt = dict(state["sensitivity"])
        allocator.exp_avg_unc = dict(state["uncertainty"])
        allocator.ipt = dict(state["last"])
        self.config.rank_pattern = state["ranks"]
