"""The visible tables of objectives. Adding a method adds a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from regimen.objectives.answers import ComparedOverStep
from regimen.objectives.distillation import Distillation
from regimen.objectives.labelled import Bco, Kto
from regimen.objectives.preference import Dpo, DpoNorm, Dpop, Hinge, Ipo, Odpo, Robust
from regimen.objectives.ranked import Rrhf, Slic
from regimen.objectives.reference_free import Cpo, Orpo, Sft, Simpo, Unlikelihood
from regimen.objectives.reward import BradleyTerry, Ordinal, Process
from regimen.objectives.supervised import Supervised

OBJECTIVES: dict[str, Callable[..., Any]] = {
    "supervised": Supervised,
    "language_modelling": Supervised,
    "distillation": Distillation,
}
"""What ``tune`` learns."""

Form = Literal["pairs", "labelled", "ranked", "any"]
"""The rows that a method learns from: two answers, one with a label, several with scores."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of ``align`` whose loss looks at answers.

    ``reference`` says whether it looks at the frozen reference; ``mismatched`` whether each row
    also has an answer to another prompt; ``margins`` whether it asks by how much an answer is
    better, so that scores of pairs are their margins.
    """

    loss: Callable[..., Any]
    form: Form
    reference: bool
    source: str
    mismatched: bool = False
    margins: bool = False

    @property
    def across_rows(self) -> bool:
        """Whether its loss compares rows with means over all rows of the optimizer step."""
        return isinstance(self.loss, ComparedOverStep)

    @property
    def takes(self) -> tuple[str, ...]:
        """The hyper-parameters."""
        return tuple(field.name for field in fields(self.loss))  # type: ignore[arg-type]


METHODS: dict[str, Method] = {
    "dpo": Method(Dpo, "pairs", True, "Rafailov et al. 2023, arXiv 2305.18290, eq. 7"),
    "odpo": Method(
        *(Odpo, "pairs", True, "Amini et al. 2024, arXiv 2402.10571"),
        margins=True,
    ),
    "dpo_norm": Method(DpoNorm, "pairs", True, "Lambert et al. 2024, arXiv 2411.15124"),
    "dpop": Method(Dpop, "pairs", True, "Pal et al. 2024, arXiv 2402.13228"),
    "ipo": Method(Ipo, "pairs", True, "Azar et al. 2023, arXiv 2310.12036, eq. 17"),
    "hinge": Method(Hinge, "pairs", True, "Liu et al. 2023, arXiv 2309.06657"),
    "robust": Method(Robust, "pairs", True, "Ray Chowdhury et al. 2024, arXiv 2403.00409"),
    "cpo": Method(Cpo, "pairs", False, "Xu et al. 2024, arXiv 2401.08417"),
    "simpo": Method(Simpo, "pairs", False, "Meng et al. 2024, arXiv 2405.14734, eq. 6"),
    "orpo": Method(Orpo, "pairs", False, "Hong et al. 2024, arXiv 2403.07691"),
    "kto": Method(
        *(Kto, "labelled", True, "Ethayarajh et al. 2024, arXiv 2402.01306"),
        mismatched=True,
    ),
    "bco": Method(Bco, "labelled", True, "Jung et al. 2024, arXiv 2404.04656"),
    "rrhf": Method(Rrhf, "ranked", False, "Yuan et al. 2023, arXiv 2304.05302"),
    "slic": Method(Slic, "ranked", False, "Zhao et al. 2023, arXiv 2305.10425"),
    "unlikelihood": Method(Unlikelihood, "any", False, "Welleck et al. 2019, arXiv 1908.04319"),
    "sft": Method(Sft, "any", False, "Ouyang et al. 2022, arXiv 2203.02155"),
}
"""The methods of ``align`` over answers, by the name in the settings."""


@dataclass(frozen=True, slots=True)
class RewardMethod:
    """A method of ``align`` whose result scores answers."""

    loss: Callable[..., Any]
    source: str

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Those of the loss; the settings have more, which are of the rows and the model."""
        return tuple(field.name for field in fields(self.loss))  # type: ignore[arg-type]


REWARDS: dict[str, RewardMethod] = {
    "reward": RewardMethod(BradleyTerry, "Ouyang et al. 2022, arXiv 2203.02155, eq. 1"),
    "reward_ordinal": RewardMethod(Ordinal, "McCullagh 1980, section 2.1"),
    "reward_process": RewardMethod(Process, "Lightman et al. 2023, arXiv 2305.20050"),
}
"""The methods of ``align`` that train reward models."""

CONDITIONED: dict[str, str] = {
    "chain_of_hindsight": "Liu et al. 2023, arXiv 2302.02676",
    "quark": "Lu et al. 2022, arXiv 2205.13636",
}
"""The methods of ``align`` that write what an answer is worth into the text, and learn by
``Supervised``."""
