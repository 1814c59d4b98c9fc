"""Pairs of a model's own answers: sampled, scored, best against worst.

As in RLAIF and iterated DPO (Yuan et al. 2024, *Self-Rewarding Language Models*, section 2.4, arXiv
2401.10020): the policy's own samples are compared, so that both sides are likely under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from regimen.curation.ledger import Ledger
from regimen.instances.answer_sets import Answer, AnswerSet, PairRule
from regimen.judging.answer_scores import RatingScores, RuleScores, WinScores
from regimen.judging.scorers import scorer_named
from regimen.protocols import AnswerScorer, Generator
from regimen.records import Item, Message, Preference
from regimen.settings.preferences import OnPolicySettings, ScoreSettings
from regimen.stages.common import path_key
from regimen.stages.evaluate_judge import judge_inputs, make_judge
from regimen.stages.guarded import guarded
from regimen.stages.pairing import pair_up
from regimen.stages.sampled import generator_inputs, sample, scored, stored_generator, usable

NAME = "on-policy"


def on_policy_inputs(section: OnPolicySettings) -> dict[str, str]:
    """What the samples and their scores depend on, by content: a change makes the build stale."""
    name = "preferences.on_policy"
    prompts = {} if section.prompts is None else {f"{name}.prompts": path_key(section.prompts)}
    return {
        **prompts,
        **generator_inputs(name, section.generator),
        **score_inputs(name, section.score),
    }


def score_inputs(name: str, section: ScoreSettings) -> dict[str, str]:
    """What scores depend on, by content."""
    own, reward = section.function, section.reward
    judged = judge_inputs(section.judge)
    models = {} if reward is None else dict(enumerate(reward.models))
    return {
        **({} if own is None else {f"{name}.score": path_key(own.file)}),
        **{f"{name}.reward[{number}]": path_key(model) for number, model in models.items()},
        **{f"{name}.{key}": value for key, value in judged.items()},
    }


def make_scorer(section: ScoreSettings) -> AnswerScorer:
    """The scorer that the settings name: a rule, a judge or a reward model.

    Raises:
        EvaluationError: ``unknown-scorer``.
        SettingsError, DataError: as :func:`regimen.stages.evaluate_judge.make_judge`.
        ModelError: a reward model cannot be loaded, or has no such dimension.
    """
    if section.scorer is not None:
        return RuleScores(scorer_named(section.scorer), section.scorer)
    if section.function is not None:
        return RuleScores(guarded(section.function, section.time_limit), section.function.function)
    if section.reward is not None:
        from regimen.stages.reward_scores import RewardScores

        return RewardScores(section.reward)
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
    generator = generator or stored_generator(section.generator)
    scorer = scorer or make_scorer(section.score)
    asked = sample(section, NAME, items, section.samples, seed, generator)
    kept = usable(asked, NAME, ledger, keep_cut=section.keep_cut)
    sets = [
        _answer_set(item, found, generator.name, scorer.name)
        for item, found in scored(kept, NAME, scorer, ledger)
    ]
    rule = PairRule(choose=section.choose, min_margin=section.min_margin)
    return pair_up(NAME, sets, rule, ledger).pairs


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
