"""Best-of-n in ``build``: answers are sampled and scored, the best one is a demonstration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from regimen import console
from regimen.alignment.best_of import Best, best_instance, best_of, kl_of_best
from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.protocols import AnswerScorer, Generator
from regimen.settings.feedback import BestOfNSettings
from regimen.stages.feedback_made import Made
from regimen.stages.on_policy import make_scorer
from regimen.stages.sampled import (
    Scored,
    Sources,
    needs_of,
    prompts_of,
    sample,
    scored,
    stored_generator,
    usable,
)


def best_of_n(
    section: BestOfNSettings,
    name: str,
    sources: Sources,
    ledger: Ledger,
    generator: Generator | None = None,
    scorer: AnswerScorer | None = None,
) -> Made:
    """The best of several answers to each prompt; generator and scorer are the section's if None.

    The ledger gets ``<name>-prompts``, ``-samples``, ``-scores`` and ``-best``, one unit of which
    is a prompt.
    """
    items = prompts_of(section, name, sources, ledger, needs_of(section.score))
    generator = generator or stored_generator(section.generator)
    scorer = scorer or make_scorer(section.score)
    asked = sample(section, name, items, section.samples, sources.seed, generator)
    kept = usable(asked, name, ledger, keep_cut=section.keep_cut)
    found = scored(kept, name, scorer, ledger)
    if section.min_score is None and _all_tie(found):
        raise _ties(name, found)
    best: list[Best] = []
    with ledger.step(f"{name}-best", entered=len(found)) as step:
        for item, answers in found:
            if not answers:
                step.remove(item, "no_answer_left")
                continue
            one = best_of(item, answers)
            if section.min_score is not None and one.score < section.min_score:
                step.remove(item, "below_min_score", f"{one.score:g}")
                continue
            step.keep()
            if one.tied:
                step.change("tied_at_the_top")
            best.append(one)
    about = sampling_block(section.samples, scorer.name, found, best)
    console.line(f"{name}: {in_words(about)}")
    made = [best_instance(one, generator.name, scorer.name) for one in best]
    return Made(instances=made, about=about)


def _all_tie(found: Sequence[Scored]) -> bool:
    """Whether some prompt has answers to choose from, and none has two scores."""
    some = any(len({text for text, _ in answers}) > 1 for _, answers in found)
    return some and all(len({score for _, score in answers}) < 2 for _, answers in found)


def _ties(name: str, found: Sequence[Scored]) -> DataError:
    scores = sorted({score for _, answers in found for _, score in answers})
    return DataError(
        f"The score of {name} tells no two answers to a prompt apart: there is no best one.",
        slug="all-ties",
        got=f"{len(found):,} prompts, all scores of each the same: "
        f"{', '.join(f'{score:g}' for score in scores[:5])}",
        expected="a prompt with answers of different scores",
        fix="Score by something that tells them apart, or take more samples. To keep answers that "
        "are all good, say how good with min_score.",
    )


def sampling_block(
    samples: int, scorer: str, found: Sequence[Scored], best: Sequence[Best]
) -> dict[str, Any]:
    """Scores before and after the choice, and how far the choice is from the model in nats."""
    every = [score for _, answers in found for _, score in answers]
    return {
        "samples": samples,
        "scored_by": scorer,
        "prompts": len(found),
        "kept": len(best),
        "mean_score": fmean(every) if every else None,
        "mean_best_score": fmean(one.score for one in best) if best else None,
        "kl": kl_of_best(samples),
        "kl_of_usable": fmean(kl_of_best(one.answers) for one in best) if best else None,
    }


def in_words(about: Mapping[str, Any]) -> str:
    """A line about a choice of the best."""
    if about["mean_best_score"] is None:
        return f"none of {about['prompts']:,} prompts has an answer that is kept"
    return (
        f"{about['kept']:,} of {about['prompts']:,} prompts; mean {about['scored_by']} "
        f"{about['mean_score']:.3g} of all answers, {about['mean_best_score']:.3g} of the best "
        f"(KL at most {about['kl_of_usable']:.2f} nats)"
    )
