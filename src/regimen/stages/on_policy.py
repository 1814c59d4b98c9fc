"""Pairs of a model's own answers: sampled, scored, best against worst.

As in RLAIF and iterated DPO (Yuan et al. 2024, *Self-Rewarding Language Models*, section 2.4, arXiv
2401.10020): the policy's own samples are compared, so that both sides are likely under it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from regimen import console
from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.evaluation.published.own_items import read_own_items
from regimen.evaluation.published.reading import SuiteSpec
from regimen.generation.endpoints.cache import ResponseCache
from regimen.generation.stored import StoredGenerator
from regimen.instances.answer_sets import Answer, AnswerSet, PairRule
from regimen.instances.draws import seeded
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import askable_items
from regimen.instances.readers import RowFailure
from regimen.judging.answer_scores import RatingScores, RuleScores, WinScores
from regimen.judging.scorers import Need, scorer_named
from regimen.protocols import AnswerScorer, Completion, Generator, Request
from regimen.records import Item, Message, Preference, Task
from regimen.settings.preferences import OnPolicySettings, ScoreSettings
from regimen.stages.common import path_key
from regimen.stages.evaluate_judge import judge_inputs, make_judge
from regimen.stages.generators import make_generator
from regimen.stages.pairing import pair_up
from regimen.stages.user_code import load_function

CACHE = Path(".cache") / "samples"
NAME = "on-policy"
_ROWS_OF_A_TASK = 8
Sampled = tuple[Item, list[Completion]]


def on_policy_inputs(section: OnPolicySettings) -> dict[str, str]:
    """What the samples and their scores depend on, by content: a change makes the build stale."""
    it = section.generator
    named: dict[str, str | None] = {
        "preferences.on_policy.prompts": section.prompts,
        "preferences.on_policy.model": it.model if it.endpoint is None else None,
        "preferences.on_policy.scripted": it.scripted,
    }
    if section.score.function is not None:
        named["preferences.on_policy.score"] = section.score.function.file
    inputs = {name: path_key(path) for name, path in named.items() if path is not None}
    judged = judge_inputs(section.score.judge)
    return inputs | {f"preferences.on_policy.{name}": key for name, key in judged.items()}


def prompts_of(
    section: OnPolicySettings,
    tasks: Sequence[Task],
    spec: FormattingSpec,
    seed: int,
    tokens: Callable[[str], int] | None,
    ledger: Ledger,
) -> list[Item]:
    """What is asked: the rows of the file, or rows of the training tasks drawn by the seed.

    Items that lack what the scorer needs are removed (``without_references`` and so on).

    Raises:
        DataError: nothing can be asked (``no-prompts``), or the file cannot be read.
        EvaluationError: ``unknown-scorer``.
    """
    found: list[Item | RowFailure]
    if section.prompts is not None:
        suite = SuiteSpec(name="on_policy", path=Path(section.prompts))
        found = list(read_own_items(suite))
    else:
        found = _of_tasks(tasks, section.limit, spec, seed, tokens)
    needs = _needs(section.score)
    kept: list[Item] = []
    with ledger.step(f"{NAME}-prompts", entered=len(found)) as step:
        for one in found:
            if isinstance(one, RowFailure):
                step.fail(f"{one.source}:{one.row}", one.error, one.got, one.fix)
                continue
            lacking = [need for need in needs if not getattr(one, need)]
            if lacking:
                step.remove(one, f"without_{lacking[0]}")
            elif len(kept) >= section.limit:
                step.remove(one, "beyond_limit")
            else:
                step.keep()
                kept.append(one)
    if not kept:
        raise _no_prompts(section, {**step.removed, **step.failed})
    return kept


def _of_tasks(
    tasks: Sequence[Task],
    limit: int,
    spec: FormattingSpec,
    seed: int,
    tokens: Callable[[str], int] | None,
) -> list[Item | RowFailure]:
    """Rows of tasks, the same number of each as far as the limit goes."""
    order = list(tasks)
    seeded(seed, NAME).shuffle(order)
    each = min(_ROWS_OF_A_TASK, -(-limit // max(1, len(order))))
    found: list[Item | RowFailure] = []
    for task in order:
        items, _ = askable_items(task, "on_policy", each, seed + 5, spec, tokens)
        found += items[: limit - len(found)]
        if len(found) >= limit:
            break
    return found


def _needs(section: ScoreSettings) -> list[Need]:
    return sorted(scorer_named(section.scorer).needs) if section.scorer is not None else []


def _no_prompts(section: OnPolicySettings, removed: Mapping[str, int]) -> DataError:
    return DataError(
        "There is nothing to sample answers to.",
        slug="no-prompts",
        got=", ".join(f"{reason} {n:,}" for reason, n in removed.items()) or "no training task",
        expected="prompts, with what the score needs",
        fix="Name a file with on_policy.prompts, or a source with tasks.",
        where=section.prompts or "",
    )


def make_scorer(section: ScoreSettings) -> AnswerScorer:
    """The scorer that the settings name: a rule, a judge; a reward model belongs here too.

    Raises:
        EvaluationError: ``unknown-scorer``.
        SettingsError, DataError: as :func:`regimen.stages.evaluate_judge.make_judge`.
    """
    if section.scorer is not None:
        return RuleScores(scorer_named(section.scorer), section.scorer)
    if section.function is not None:
        own = section.function
        function = partial(load_function(own.file, own.function), **own.arguments)
        return RuleScores(function, own.function)
    assert section.judge is not None
    judge = make_judge(section.judge)
    if section.judge.kind == "pointwise":
        return RatingScores(judge)
    return WinScores(judge, swap=section.judge.swap)


def on_policy_pairs(
    section: OnPolicySettings,
    items: Sequence[Item],
    seed: int,
    ledger: Ledger,
    generator: Generator | None = None,
    scorer: AnswerScorer | None = None,
) -> list[Preference]:
    """Sample, score and compare; every sample and every comparison is in the ledger.

    Args:
        section: what to sample, how to score.
        items: what is asked.
        seed: of the samples.
        ledger: gets ``on-policy-samples``, ``on-policy-scores``, ``pairs-on-policy``.
        generator, scorer: those of the section when not given.

    Raises:
        DataError: ``all-ties``, ``no-pairs``, or no sample could be used (``no-samples``).
    """
    generator = generator or _stored(section)
    scorer = scorer or make_scorer(section.score)
    usable = _usable(_sampled(section, items, seed, generator), section, ledger)
    scored = _scored(usable, scorer, ledger)
    sets = [_answer_set(item, found, generator.name, scorer.name) for item, found in scored]
    rule = PairRule(choose=section.choose, min_margin=section.min_margin)
    return pair_up(NAME, sets, rule, ledger).pairs


def _stored(section: OnPolicySettings) -> Generator:
    """The generator of the section; samples of a local model are kept on disk."""
    made = make_generator(section.generator, [])
    it = section.generator
    if it.model is None or it.endpoint is not None:
        return made
    return StoredGenerator(made, ResponseCache(CACHE), path_key(it.model))


def _sampled(
    section: OnPolicySettings, items: Sequence[Item], seed: int, generator: Generator
) -> list[Sampled]:
    """The samples of each item, those that failed among them."""
    it = section.generator
    requests = {
        f"{place}#{number}": Request(
            id=f"{place}#{number}",
            messages=item.messages,
            max_new_tokens=it.max_new_tokens,
            temperature=it.temperature,
            top_p=section.top_p,
            seed=seeded(seed, NAME, item.item_id, number).randrange(2**31),
            labels=(("task", item.lineage.task), ("language", item.lineage.language)),
        )
        for place, item in enumerate(items)
        for number in range(1, section.samples + 1)
    }
    found: dict[str, Completion] = {}
    with console.progress(len(requests), NAME, "samples") as bar:
        for name, completion in generator.generate(list(requests.values())):
            found[name] = completion
            bar.advance()
    missing = Completion(text="", finish="error", error="no answer came back")
    return [
        (item, [found.get(f"{place}#{n}", missing) for n in range(1, section.samples + 1)])
        for place, item in enumerate(items)
    ]


def _usable(
    asked: Sequence[Sampled], section: OnPolicySettings, ledger: Ledger
) -> list[tuple[Item, list[str]]]:
    """The samples that can be scored, as the step ``on-policy-samples``."""
    found = []
    with ledger.step(f"{NAME}-samples") as step:
        for item, samples in asked:
            kept: list[str] = []
            for number, sample in enumerate(samples, start=1):
                step.enter()
                where = f"{item.item_id}#{number}"
                if sample.finish == "error":
                    step.fail(where, "not_generated", sample.error, "Look at the generator.")
                elif sample.finish == "length" and not section.keep_cut:
                    step.remove(sample.text, "cut_at_longest", where)
                elif not sample.text.strip():
                    step.remove(where, "empty_answer")
                else:
                    step.keep()
                    kept.append(sample.text)
            found.append((item, kept))
    if not step.kept:
        raise _no_samples({**step.removed, **step.failed})
    return found


def _scored(
    asked: Sequence[tuple[Item, Sequence[str]]], scorer: AnswerScorer, ledger: Ledger
) -> list[tuple[Item, list[tuple[str, float]]]]:
    """The samples with their scores, as the step ``on-policy-scores``."""
    found = []
    with ledger.step(f"{NAME}-scores") as step:
        for (item, samples), own in zip(asked, scorer.scores(asked), strict=True):
            kept: list[tuple[str, float]] = []
            for number, (text, score) in enumerate(zip(samples, own, strict=True), start=1):
                step.enter()
                if score.value is None:
                    where = f"{item.item_id}#{number}"
                    step.fail(where, "not_scored", score.error, "Look at the judge or the rule.")
                else:
                    step.keep()
                    kept.append((text, score.value))
            found.append((item, kept))
    if not step.kept:
        raise _no_samples(step.failed)
    return found


def _no_samples(lost: Mapping[str, int]) -> DataError:
    return DataError(
        "No sample can be used.",
        slug="no-samples",
        got=", ".join(f"{reason} {count:,}" for reason, count in lost.items()),
        fix="Raise generator.max_new_tokens, or look at ledger/*-on-policy-*.",
    )


def _answer_set(
    item: Item, found: Sequence[tuple[str, float]], generator: str, scorer: str
) -> AnswerSet:
    lineage = replace(
        item.lineage, variant="on_policy", verdicts=(*item.lineage.verdicts, f"scored_by:{scorer}")
    )
    answers = tuple(
        Answer(turns=(Message(role="assistant", content=text),), score=score, author=generator)
        for text, score in found
    )
    return AnswerSet(prompt=item.messages, answers=answers, kind="scores", lineage=lineage)
