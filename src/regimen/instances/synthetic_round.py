"""What a Self-Instruct round is told, what it brings, and the counts that must agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from regimen.instances.synthetic_text import UNSUITED, Seed
from regimen.protocols import Request
from regimen.records import Instance

Step = Literal["instructions", "instances"]
STEPS: tuple[Step, ...] = ("instructions", "instances")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfInstructSpec:
    """How a round is run; the numbers are the paper's.

    ``instructions`` are asked for, ``new_per_prompt`` at a time, after ``seeds_per_prompt`` seeds
    and ``machine_per_prompt`` instructions of earlier rounds. With ``as_text`` prompts are plain
    text to continue, for a base model without a chat template.
    """

    instructions: int = 28
    new_per_prompt: int = 7
    seeds_per_prompt: int = 6
    machine_per_prompt: int = 2
    temperature: float = 0.7
    top_p: float = 0.5
    instruction_tokens: int = 1024
    example_tokens: int = 350
    min_words: int = 4
    max_words: int = 150
    max_examples: int = 5
    shown_examples: int = 4
    unsuited: tuple[str, ...] = UNSUITED
    source: str = "self_instruct"
    seed: int = 0
    round: int = 0
    as_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A candidate that is not used, with its reason."""

    step: Step
    record: Mapping[str, str]
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A request that brought nothing usable."""

    step: Step
    where: str
    error: str
    got: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round brought. ``seeds`` are the accepted instructions: the next round's machine pool.

    ``entered`` and ``kept`` count units per step.
    """

    seeds: tuple[Seed, ...]
    instances: tuple[Instance, ...]
    dropped: tuple[Dropped, ...]
    failed: tuple[Failed, ...]
    entered: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ``ValueError`` unless in = kept + removed + failed in both steps."""
        for step in STEPS:
            lost = sum(d.step == step for d in self.dropped)
            lost += sum(f.step == step for f in self.failed)
            if self.entered.get(step, 0) != self.kept.get(step, 0) + lost:
                raise ValueError(f"Self-Instruct step {step!r} does not reconcile")


@dataclass(slots=True)
class Books:
    """The counts of a round while it runs."""

    dropped: list[Dropped] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    entered: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def drop(self, step: Step, record: Mapping[str, str], problem: str) -> None:
        """A candidate is not used; ``problem`` reads ``slug`` or ``slug: detail``."""
        reason, _, detail = problem.partition(": ")
        self.dropped.append(Dropped(step=step, record=record, reason=reason, detail=detail))

    def fail(self, step: Step, request: Request, error: str, got: str, fix: str = "") -> None:
        """A request brought nothing usable; it counts as one unit that came in."""
        self.entered[step] += 1
        self.failed.append(Failed(step=step, where=request.id, error=error, got=got, fix=fix))
