"""Rewording in ``build``: tasks, a generator, the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from regimen.curation.ledger import Ledger
from regimen.instances.rewording.rounds import reword_tasks
from regimen.instances.rewording.wanted import RewordingSpec
from regimen.protocols import Generator
from regimen.records import Task
from regimen.settings.rewording import RewordingSettings
from regimen.stages.generators import make_generator

GENERATOR_FIX = "Look at the generator: the endpoint's log, or the length of the model's context."


def reword(
    tasks: Sequence[Task],
    section: RewordingSettings,
    seed: int,
    ledger: Ledger,
    generator: Generator | None = None,
) -> list[Task]:
    """The tasks, in their order, with the wordings that pass the checks added.

    The ledger gets one step, ``reword``: every wording that is wanted is kept, removed with one of
    the reasons of ``instances.rewording.checks``, or failed.

    Args:
        tasks: whose templates and definitions are reworded.
        section: what to ask for, and whom.
        seed: of the requests, and of the rows whose outputs must not come into a prompt.
        ledger: of the build.
        generator: who writes, where it is not the one that ``section`` names.

    Raises:
        DataError: the file of prepared answers cannot be used (``scripted-answers``).
    """
    spec = RewordingSpec(
        paraphrases=section.paraphrases,
        languages=section.languages,
        templates=section.templates,
        definitions=section.definitions,
        temperature=section.generator.temperature,
        max_new_tokens=section.generator.max_new_tokens,
        seed=seed,
    )
    with ledger.step("reword") as step:
        found = reword_tasks(tasks, generator or make_generator(section.generator, []), spec)
        step.enter(found.wanted)
        step.keep(found.kept)
        for one in found.refused:
            if one.outcome == "failed":
                step.fail(one.where, one.reason, one.detail, GENERATOR_FIX)
            else:
                record = {"wording": one.where, "language": one.language, "text": one.text}
                step.remove(record, one.reason, one.detail)
    return list(found.tasks)
