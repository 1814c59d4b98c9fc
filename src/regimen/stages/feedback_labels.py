"""RLAIF in ``build``: a judge's comparisons of answers as preferences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from regimen.alignment.ai_labels import Labelling, consistency, labelled
from regimen.curation.ledger import Ledger
from regimen.evaluation.agreement import judge_against_people
from regimen.judging.comparisons import AnswerPair, Comparison, compare
from regimen.judging.judge import Judge
from regimen.judging.people import CATEGORIES, LabelledPairs, read_labelled_pairs
from regimen.protocols import Generator
from regimen.records import Preference
from regimen.settings.feedback import AiLabelSettings
from regimen.stages.evaluate_judge import make_judge
from regimen.stages.feedback_made import Made, nothing
from regimen.stages.sampled import Sources, prompts_of, sample, stored_generator, usable


def ai_labels(
    section: AiLabelSettings,
    name: str,
    sources: Sources,
    ledger: Ledger,
    generator: Generator | None = None,
    judge: Judge | None = None,
) -> Made:
    """Pairs by a judge; the ledger gets ``<name>-labels``, one unit of which is a comparison.

    Raises:
        DataError: the judge gave no verdict at all (``no-labels``), or all are ties (``all-ties``).
    """
    judge = judge or make_judge(section.judge, _constitution(section), sources.seed)
    people: LabelledPairs | None = None
    if section.pairs is not None:
        people = read_labelled_pairs(section.pairs, needed=False)
        pairs = list(people.pairs)
        author = ""
        with ledger.step(f"{name}-pairs", entered=len(pairs) + len(people.failures)) as step:
            step.keep(len(pairs))
            for failure in people.failures:
                where = f"{failure.source}:{failure.row}"
                step.fail(where, failure.error, failure.got, failure.fix)
    else:
        pairs, author = _sampled_pairs(section, name, sources, ledger, generator)
    judged = compare(judge, pairs, swap=section.judge.swap)
    found = [
        labelled(one, _texts(pair), judge.name, author, section.min_margin)
        for one, pair in zip(judged, pairs, strict=True)
    ]
    kept = _account(name, found, ledger)
    agreement = _agreement(people, judged)
    about = {
        "judge": judge.name,
        "pairs": len(found),
        "kept": len(kept),
        "position_consistency": consistency(found),
        "mean_margin": fmean(pair.margin or 0.0 for pair in kept) if kept else None,
        **({"people": agreement} if agreement else {}),
    }
    return Made(pairs=kept, about=about)


def _constitution(section: AiLabelSettings) -> Sequence[str]:
    if not section.constitution:
        return ()
    from regimen.assets.starter.conversations import constitution

    return constitution()


def _sampled_pairs(
    section: AiLabelSettings,
    name: str,
    sources: Sources,
    ledger: Ledger,
    generator: Generator | None,
) -> tuple[list[AnswerPair], str]:
    """Every two usable answers to each prompt, and who answered."""
    wanted = section.sampled
    assert wanted is not None
    generator = generator or stored_generator(wanted.generator)
    items = prompts_of(wanted, name, sources, ledger)
    asked = sample(wanted, name, items, wanted.samples, sources.seed, generator)
    kept = usable(asked, name, ledger, keep_cut=wanted.keep_cut)
    pairs = [
        AnswerPair(item=item, systems=(str(a), str(b)), a=(texts[a],), b=(texts[b],))
        for item, texts in kept
        for a, b in combinations(range(len(texts)), 2)
    ]
    return pairs, generator.name


def _texts(pair: AnswerPair) -> tuple[str, str]:
    assert pair.a is not None
    assert pair.b is not None
    return pair.a[0], pair.b[0]


def _account(name: str, found: Sequence[Labelling], ledger: Ledger) -> list[Preference]:
    """The step ``<name>-labels``."""
    kept: list[Preference] = []
    fix = "Look at what the judge says: its prompt, its length, its time limit."
    with ledger.step(f"{name}-labels", entered=len(found)) as step:
        for one in found:
            if one.failed:
                step.fail(one.comparison.item.item_id, one.outcome, one.detail, fix)
            elif one.outcome:
                step.remove(one.pair, one.outcome, one.detail)
            else:
                step.keep()
                kept.append(one.pair)
    if not kept:
        lost = step.removed | step.failed
        if step.removed:
            raise nothing("all-ties", f"The judge of {name} prefers nothing.", lost, name)
        raise nothing("no-labels", f"The judge of {name} gave no verdict.", lost, name)
    return kept


def _agreement(people: LabelledPairs | None, judged: Sequence[Comparison]) -> dict[str, Any] | None:
    """The judge against the people who judged the same pairs.

    None where no pair has both a verdict and a label that most people gave.
    """
    if people is None:
        return None
    votes = list(zip(*people.raters.values(), strict=True))
    voted = [place for place, own in enumerate(votes) if any(one is not None for one in own)]
    if not any(judged[p].value is not None and _majority(votes[p]) for p in voted):
        return None
    values = [judged[place].value for place in voted]
    said = [None if value is None else int(value) for value in values]
    raters = {name: [own[p] for p in voted] for name, own in people.raters.items()}
    clusters = [people.clusters[p] for p in voted]
    return judge_against_people(said, raters, CATEGORIES, clusters) | {"pairs": len(voted)}


def _majority(votes: Sequence[int | None]) -> bool:
    """Whether one label was given more often than any other."""
    counts = Counter(vote for vote in votes if vote is not None).most_common(2)
    return bool(counts) and (len(counts) == 1 or counts[0][1] > counts[1][1])
