"""AI feedback in ``build``: what ``build.feedback`` asks for, one section after another."""

from __future__ import annotations

from collections.abc import Sequence

from regimen.curation.ledger import Ledger
from regimen.settings.feedback import (
    AiLabelSettings,
    BestOfNSettings,
    ConstitutionalSettings,
    FeedbackSettings,
    SelfAlignSettings,
)
from regimen.settings.sampled import AnsweredSettings
from regimen.stages.common import path_key
from regimen.stages.evaluate_judge import judge_inputs
from regimen.stages.feedback_best import best_of_n
from regimen.stages.feedback_labels import ai_labels
from regimen.stages.feedback_made import Made
from regimen.stages.feedback_principles import constitutional, self_align
from regimen.stages.on_policy import score_inputs
from regimen.stages.sampled import Sources, generator_inputs


def names_of(sections: Sequence[FeedbackSettings]) -> list[str]:
    """The name of each section, as the ledger's steps have it: its kind, numbered from the second
    of a kind on."""
    names: list[str] = []
    for section in sections:
        kind = section.kind.replace("_", "-")
        before = sum(name == kind or name.startswith(f"{kind}-") for name in names)
        names.append(kind if not before else f"{kind}-{before + 1}")
    return names


def feedback_inputs(sections: Sequence[FeedbackSettings]) -> dict[str, str]:
    """What feedback depends on, by content: a change makes the build stale."""
    found: dict[str, str] = {}
    for name, section in zip(names_of(sections), sections, strict=True):
        place = f"feedback.{name}"
        files: dict[str, str | None] = {}
        answered: AnsweredSettings | None
        if isinstance(section, AiLabelSettings):
            found |= {f"{place}.{key}": it for key, it in judge_inputs(section.judge).items()}
            files["pairs"] = section.pairs
            answered = section.sampled
        else:
            answered = section
        if answered is not None:
            found |= generator_inputs(place, answered.generator)
            files["prompts"] = answered.prompts
        if isinstance(section, BestOfNSettings):
            found |= score_inputs(place, section.score)
        if isinstance(section, ConstitutionalSettings | SelfAlignSettings):
            files["principles"] = section.principles
        if isinstance(section, ConstitutionalSettings):
            found |= generator_inputs(f"{place}.critic", section.critic)
        found |= {f"{place}.{key}": path_key(path) for key, path in files.items() if path}
    return found


def give_feedback(sections: Sequence[FeedbackSettings], sources: Sources, ledger: Ledger) -> Made:
    """The instances and pairs of every section; every answer and verdict is in the ledger.

    Raises:
        DataError: nothing can be asked (``no-prompts``), no sample used (``no-samples``), nothing
            revised (``no-revisions``), nothing judged (``no-labels``), or everything is a tie
            (``all-ties``).
    """
    made = Made()
    for name, section in zip(names_of(sections), sections, strict=True):
        if isinstance(section, BestOfNSettings):
            made.add(name, best_of_n(section, name, sources, ledger))
        elif isinstance(section, ConstitutionalSettings):
            made.add(name, constitutional(section, name, sources, ledger))
        elif isinstance(section, SelfAlignSettings):
            made.add(name, self_align(section, name, sources, ledger))
        else:
            made.add(name, ai_labels(section, name, sources, ledger))
    return made
