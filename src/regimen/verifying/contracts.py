"""The visible table of contracts, and how one subject is taken through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from regimen.verifying.batches import accumulation, packed, parity, shared_prefix
from regimen.verifying.exports import exported, merged
from regimen.verifying.heads import reduced
from regimen.verifying.outcomes import Outcome, not_run
from regimen.verifying.plain import Alone, measure_alone
from regimen.verifying.references import reference
from regimen.verifying.resuming import resumed
from regimen.verifying.subject import Subject

ALONE: dict[str, Callable[[Subject, Alone], Outcome]] = {
    "packed = unpacked": packed,
    "accumulation = one batch": accumulation,
}
"""Contracts against the same measurement: each sequence alone in transformers."""

CONTRACTS: dict[str, Callable[[Subject], Outcome]] = {
    "loop = transformers": parity,
    "shared prefix = separate": shared_prefix,
    "reduced = full logits": reduced,
    "merged = adapter": merged,
    "exported = trained": exported,
    "resumed = uninterrupted": resumed,
    "reference = policy": reference,
}
"""The others; each opens what it needs and lets it go again."""

NAMES = (*ALONE, *CONTRACTS)


@dataclass(frozen=True, slots=True)
class Checked:
    """A contract's outcome for one section of the settings."""

    section: str
    contract: str
    outcome: Outcome


def check(subject: Subject) -> Iterator[Checked]:
    """Every contract on one subject, in the order of ``NAMES``.

    The global random state is the caller's again after each.
    """
    with torch.random.fork_rng():
        alone = measure_alone(subject.plain(), subject.rows, subject.twin.formula)
    for name, contract in ALONE.items():
        with torch.random.fork_rng():
            outcome = contract(subject, alone)
        yield Checked(subject.section, name, outcome)
    del alone  # gradients are as large as the model
    for name, single in CONTRACTS.items():
        with torch.random.fork_rng():
            outcome = single(subject)
        yield Checked(subject.section, name, outcome)


def all_not_run(section: str, reason: str) -> Iterator[Checked]:
    """Every contract of a section that has no model or no rows."""
    for name in NAMES:
        yield Checked(section, name, not_run(reason))
