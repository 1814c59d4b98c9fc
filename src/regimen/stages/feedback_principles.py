"""Feedback by principles in ``build``: critique and revision, and self-alignment."""

from __future__ import annotations

from collections import Counter
from functools import partial

from regimen.alignment.constitutional import Revising, Revision, revise, revised_pair
from regimen.alignment.self_align import engraved, prompted
from regimen.curation.ledger import Ledger
from regimen.instances.answer_sets import demonstration
from regimen.protocols import Generator
from regimen.records import Item, Message
from regimen.settings.feedback import ConstitutionalSettings, SelfAlignSettings
from regimen.stages.feedback_made import Made, nothing
from regimen.stages.principles import read_principles
from regimen.stages.sampled import (
    Sources,
    completions,
    each_usable,
    prompts_of,
    sample,
    stored_generator,
    usable,
)


def constitutional(
    section: ConstitutionalSettings,
    name: str,
    sources: Sources,
    ledger: Ledger,
    generator: Generator | None = None,
    critic: Generator | None = None,
) -> Made:
    """Answers, criticised and revised; the ledger gets ``<name>-revisions``, one unit an answer.

    Raises:
        DataError: no answer was revised (``no-revisions``).
    """
    by = section.critic or section.generator
    generator = generator or stored_generator(section.generator)
    critic = critic or (generator if section.critic is None else stored_generator(by))
    items = prompts_of(section, name, sources, ledger)
    asked = sample(section, name, items, 1, sources.seed, generator)
    first = list(each_usable(usable(asked, name, ledger, keep_cut=section.keep_cut)))
    how = Revising(
        principles=read_principles(section.principles, section.kinds).principles,
        rounds=section.rounds,
        seed=sources.seed,
        max_new_tokens=by.max_new_tokens,
        temperature=by.temperature,
    )
    found = revise(first, how, partial(completions, critic, name=name, unit="requests"))
    kept: list[Revision] = []
    with ledger.step(f"{name}-revisions", entered=len(found)) as step:
        for one in found:
            if one.failed:
                step.fail(one.item.item_id, one.outcome, one.detail, "Look at the critic.")
            elif one.outcome:
                step.remove(revised_pair(one, critic.name), one.outcome, one.detail)
            else:
                step.keep()
                kept.append(one)
    if not kept:
        raise nothing("no-revisions", "No answer was revised.", step.removed | step.failed, name)
    pairs = [revised_pair(one, critic.name) for one in kept]
    counts = Counter(principle for one in kept for principle in one.principles)
    about = {
        "answers": len(found),
        "revised": len(kept),
        "principles": dict(sorted(counts.items())),
    }
    wanted = section.makes
    return Made(
        instances=[demonstration(pair) for pair in pairs] if wanted != "pairs" else [],
        pairs=pairs if wanted != "demonstrations" else [],
        about=about,
    )


def self_align(
    section: SelfAlignSettings,
    name: str,
    sources: Sources,
    ledger: Ledger,
    generator: Generator | None = None,
) -> Made:
    """Answers under principles, as answers to the bare prompts."""
    own = read_principles(section.principles, section.kinds)
    shown = own.demonstrations[: section.demonstrations]
    generator = generator or stored_generator(section.generator)
    items = prompts_of(section, name, sources, ledger)

    def messages(item: Item) -> tuple[Message, ...]:
        return prompted(item, own.principles, shown)

    asked = sample(section, name, items, 1, sources.seed, generator, messages)
    kept = list(each_usable(usable(asked, name, ledger, keep_cut=section.keep_cut)))
    made = [engraved(item, text, generator.name, own.principles) for item, text in kept]
    about = {
        "answers": len(made),
        "principles": [one.id for one in own.principles],
        "demonstrations": len(shown),
    }
    return Made(instances=made, about=about)
