"""Self-Instruct in ``build``: seed instructions, a generator, a novelty pool, the ledger."""

from __future__ import annotations

from regimen.curation.ledger import Ledger
from regimen.curation.novelty import NoveltyPool
from regimen.instances.synthetic import self_instruct
from regimen.instances.synthetic_round import SelfInstructSpec
from regimen.instances.synthetic_text import Seed
from regimen.records import Example, Instance
from regimen.settings.build import SyntheticSettings
from regimen.stages.generators import make_generator

TOKENS = SelfInstructSpec()
"""The longest answers of the paper; the settings may ask for shorter ones."""


def synthesise(section: SyntheticSettings, seed: int, ledger: Ledger) -> list[Instance]:
    """The instances of all rounds; every candidate that is dropped is in the ledger."""
    seeds = starter_seeds()
    generator = make_generator(section.generator, seeds)
    machine: list[Seed] = []
    instances: list[Instance] = []
    longest = section.generator.max_new_tokens
    for number in range(section.rounds):
        pool = NoveltyPool([one.instruction for one in (*seeds, *machine)])
        spec = SelfInstructSpec(
            instructions=section.instructions,
            seed=seed,
            round=number,
            temperature=section.generator.temperature,
            instruction_tokens=min(TOKENS.instruction_tokens, longest),
            example_tokens=min(TOKENS.example_tokens, longest),
        )
        found = self_instruct(seeds, generator, pool.admit, spec, machine)
        for name in found.entered:
            with ledger.step(f"synthetic-{number + 1}-{name}", found.entered[name]) as step:
                step.keep(found.kept.get(name, 0))
                for drop in found.dropped:
                    if drop.step == name:
                        step.remove(dict(drop.record), drop.reason, drop.detail)
                for failure in found.failed:
                    if failure.step == name:
                        step.fail(failure.where, failure.error, failure.got, failure.fix)
        machine += found.seeds
        instances += found.instances
    return instances


def starter_seeds() -> list[Seed]:
    """The seed instructions that come with regimen."""
    from regimen.assets.starter.conversations import seeds

    return [
        Seed(
            instruction=one["instruction"],
            examples=(Example(input=one["input"], output=one["output"]),),
            classification=one["is_classification"],
            language=one.get("language", "en"),
            licence=one["licence"],
        )
        for one in seeds()
    ]
