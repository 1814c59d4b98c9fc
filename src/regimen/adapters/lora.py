"""LoRA (Hu et al. 2021) and its close relatives, as PEFT configures them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file

from regimen.adapters.beginnings import Batch, by_rounding, by_rows
from regimen.adapters.spec import Spec, write
from regimen.adapters.targets import linear_modules, resolved
from regimen.errors import AdapterError

Targets = str | tuple[str, ...]

TAKEN_OUT = ("pissa", "olora")
"""Initialisations that take B A out of the base, so that the whole begins as it was."""

_PEFT = {"random": True, "loftq": True}
"""What PEFT is told of an initialisation, where that is not its name: ours comes after it."""

_BEGINNING = "adapter_beginning"
_SIDES = ("lora_A.default.weight", "lora_B.default.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora(Spec):
    """W x + scale B A x with A (r, in) and B (out, r); scale is alpha / r.

    Hu et al. 2021, equation 3.

    Args:
        r: rank of the update.
        alpha: its scale times r.
        dropout: before A.
        target_modules: a preset or ends of names.
        use_rslora: scale alpha / sqrt(r) (Kalajdzievski 2023).
        use_dora: train the length of each weight vector apart (Liu et al. 2024).
        init: ``random``: A as in torch's linear layer, B zero. ``pissa``: A and B from the largest
            singular values of W, which loses them (Meng et al. 2024). ``olora``: from a QR
            decomposition of W (Buyukakyuz 2024). ``orthogonal``: of orthogonal columns. ``loftq``:
            from what quantisation lost of W (Li et al. 2023). ``eva``: A from the main directions
            of the layer's inputs on the training's rows (Paischer et al. 2024).
        rho: with ``eva``, how many times r a layer may get.
        learning_rate_ratio: the learning rate of B over that of A (LoRA+, Hayou et al. 2024).
    """

    takes_rows: ClassVar[bool] = True

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: Targets = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False
    init: str = "random"
    rho: float = 2.0
    learning_rate_ratio: float = 1.0

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import EvaConfig, LoraConfig, TaskType

        kinds = {type(module).__name__ for module in linear_modules(model).values()}
        if self.init == "olora" and "Conv1D" in kinds:  # PEFT would make matrices of wrong shapes
            raise AdapterError(
                "A module of this model cannot take the adapter.",
                slug="adapter-refused",
                got=f"init 'olora', and the layers of {model.config.model_type}",
                fix="Choose another adapter.init, for example pissa.",
            )
        return LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=self.r,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=resolved(model, self.target_modules),
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
            init_lora_weights=_PEFT.get(self.init, self.init),  # type: ignore[arg-type]
            eva_config=EvaConfig(rho=self.rho) if self.init == "eva" else None,
        )

    def finish(self, adapted: Any) -> Any:
        """As ``Spec``: the first A and B are kept where the base lost their product."""
        if self.init in TAKEN_OUT:
            first = {
                name: parameter.detach().clone()
                for name, parameter in adapted.named_parameters()
                if name.endswith(_SIDES)
            }
            setattr(adapted, _BEGINNING, first)
        if self.init == "loftq":
            by_rounding(adapted)
        return adapted

    def see(self, adapted: Any, batches: Callable[[], Iterable[Batch]]) -> None:
        """As ``Spec``."""
        if self.init == "eva":
            by_rows(adapted, batches(), rho=self.rho)

    def save(self, adapted: Any, directory: Path) -> None:
        """As ``Spec``: what the base lost is given back by ranks of the adapter.

        With W' = W - s B0 A0, W' + s B A is W + s [B, -B0] [A; A0]: an ordinary LoRA of twice the
        rank, on the base as it was (Meng et al. 2024, appendix C).
        """
        write(adapted, directory)
        if self.init not in TAKEN_OUT:
            return
        file, first = directory / "adapter_model.safetensors", getattr(adapted, _BEGINNING)
        weights = load_file(file)
        for name, value in first.items():
            saved = name.replace(".default", "")
            down = name.endswith(_SIDES[0])
            both = [weights[saved], (value if down else -value).to(weights[saved])]
            weights[saved] = torch.cat(both, dim=0 if down else 1).contiguous()
        save_file(weights, file, metadata={"format": "pt"})
        text = directory / "adapter_config.json"
        config = json.loads(text.read_text(encoding="utf-8"))
        config["r"] *= 2
        config["lora_alpha"] *= 2**0.5 if self.use_rslora else 2
        config["init_lora_weights"] = True
        text.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def rates(self) -> Mapping[str, float]:
        """As ``Spec``."""
        return {} if self.learning_rate_ratio == 1.0 else {"lora_B": self.learning_rate_ratio}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vera(Spec):
    """B and A random, shared by all layers and frozen; vectors b and d are trained.

    W x + diag(b) B diag(d) A x (Kopiczko et al. 2023, equation 2).

    Args:
        r: rank of the shared matrices.
        dropout: before A.
        d_initial: first value of the entries of d; b begins at 0.
        target_modules: as for LoRA.
    """

    part: ClassVar[str] = "vera_lambda"

    r: int = 256
    dropout: float = 0.0
    d_initial: float = 0.1
    target_modules: Targets = "all-linear"

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from peft import TaskType, VeraConfig

        return VeraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=self.r,
            vera_dropout=self.dropout,
            d_initial=self.d_initial,
            target_modules=resolved(model, self.target_modules),
        )
