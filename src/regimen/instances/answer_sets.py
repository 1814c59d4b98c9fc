"""Several answers to one prompt, and the pairs that they make.

Ranked lists, ratings, votes between two answers, labels good and bad, and broken rules all become
an ``AnswerSet``; ``pairs_of`` makes its pairs. Every comparison that is asked for is a pair or is
dropped with a reason:

    equal_answers   both sides say the same
    tie             equal scores, or closer than ``min_margin``
    no_comparison   the set has fewer than two answers that can be compared; counts once

Answers that say nothing, and answers without a score, are left out of every comparison; how many
is in ``Pairs.left_out``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Literal

from regimen.records import Instance, Lineage, Message, Preference, content_of, stable_hash

Choose = Literal["all", "adjacent", "best_worst"]
"""Which answers are compared: every two, neighbours in the order of scores, the two ends."""

Kind = Literal["ranks", "scores", "votes", "labels", "rules"]
"""What the scores of a set are; those of ``scores`` and ``votes`` are distances, so that pairs
have a margin, the others only an order."""
_MEASURED: tuple[Kind, ...] = ("scores", "votes")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRule:
    """How answers are read and compared.

    Args:
        choose: which of them are compared.
        min_margin: scores that are closer than this are a tie, as equal ones always are.
        aspects: what a rating is the mean of; the overall score when empty.
        annotators: columns that hold one annotator's vote each.
        desirable_from: ratings from here on are good, where answers are labelled and not compared.
    """

    choose: Choose = "all"
    min_margin: float = 0.0
    aspects: tuple[str, ...] = ()
    annotators: tuple[str, ...] = ()
    desirable_from: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. The higher the score, the better; None where nobody scored it.

    ``breaks`` are names of rules that it breaks, ``author`` who wrote it.
    """

    turns: tuple[Message, ...]
    score: float | None
    author: str = ""
    breaks: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing and calls nothing."""
        return not any(turn.text.strip() or turn.tool_calls for turn in self.turns)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSet:
    """The answers to one prompt.

    ``votes`` are each annotator's preference for the first of two answers (1, 0, -1; None where
    there is none). ``loose`` sets hold what one row says of a prompt that other rows answer too:
    they are put together by prompt before they are compared.
    """

    prompt: tuple[Message, ...]
    answers: tuple[Answer, ...]
    kind: Kind
    votes: tuple[int | None, ...] = ()
    loose: bool = False
    lineage: Lineage = field(default_factory=Lineage)
    weight: float = 1.0

    @property
    def prompt_id(self) -> str:
        """Hash of the prompt."""
        return stable_hash(content_of(self.prompt))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A comparison that gave no pair: what was compared, the reason, the particulars."""

    record: Preference | str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """What became of a set. ``demonstrations`` are the pairs whose chosen answer no other beats,
    one for each such answer."""

    kept: tuple[Preference, ...]
    dropped: tuple[Dropped, ...]
    left_out: dict[str, int]
    demonstrations: tuple[Preference, ...] = ()

    @property
    def compared(self) -> int:
        """Comparisons that were asked for; in = kept + dropped."""
        return len(self.kept) + len(self.dropped)


def together(sets: Iterable[AnswerSet]) -> list[AnswerSet]:
    """Loose sets of one prompt as one, where the first of them stood; the others as they are."""
    found: dict[str | int, AnswerSet] = {}
    for number, one in enumerate(sets):
        key: str | int = f"{one.kind} {one.prompt_id}" if one.loose else number
        first = found.get(key)
        found[key] = (
            one if first is None else replace(first, answers=(*first.answers, *one.answers))
        )
    return list(found.values())


def pairs_of(found: AnswerSet, rule: PairRule) -> Pairs:
    """The pairs of a set.

    Args:
        found: the answers; sets of rules compare an answer that breaks none with one that breaks
            some (Glaese et al. 2022, *Sparrow*, arXiv 2209.14375).
        rule: which answers are compared, and what is a tie.
    """
    left_out = {
        "empty_answer": sum(one.is_empty for one in found.answers),
        "answer_without_score": sum(
            one.score is None and not one.is_empty for one in found.answers
        ),
    }
    usable = [
        (place, one)
        for place, one in enumerate(found.answers, start=1)
        if one.score is not None and not one.is_empty
    ]
    left_out = {what: count for what, count in left_out.items() if count}
    if len(usable) < 2:
        lost = Dropped(
            record=said(found, *found.answers),
            reason="no_comparison",
            detail=f"{len(usable)} usable answers",
        )
        return Pairs(kept=(), dropped=(lost,), left_out=left_out)
    kept: list[Preference] = []
    dropped: list[Dropped] = []
    demonstrations: dict[int, Preference] = {}
    highest = max(_score(one) for _, one in usable)
    for better, worse in _compared(usable, rule.choose):
        pair = _pair(found, better, worse)
        margin = _score(better[1]) - _score(worse[1])
        if content_of(pair.chosen) == content_of(pair.rejected):
            dropped.append(Dropped(record=pair, reason="equal_answers"))
        elif margin <= 0 or margin < rule.min_margin:
            dropped.append(Dropped(record=pair, reason="tie", detail=f"{margin:g} apart"))
        else:
            kept.append(pair)
            if _score(better[1]) == highest:
                demonstrations.setdefault(better[0], pair)
    return Pairs(
        kept=tuple(kept),
        dropped=tuple(dropped),
        left_out=left_out,
        demonstrations=tuple(demonstrations.values()),
    )


Numbered = tuple[int, Answer]


def _compared(usable: Sequence[Numbered], choose: Choose) -> Iterator[tuple[Numbered, Numbered]]:
    """Better and worse of every comparison; in the order of the rows where scores are equal."""
    order = sorted(usable, key=lambda one: -_score(one[1]))
    if choose == "best_worst":
        yield order[0], order[-1]
    elif choose == "adjacent":
        yield from pairwise(order)
    else:
        yield from combinations(order, 2)


def _score(one: Answer) -> float:
    assert one.score is not None
    return one.score


def _pair(found: AnswerSet, better: Numbered, worse: Numbered) -> Preference:
    first, second = better[1], worse[1]
    broken = [f"rejected_breaks:{rule}" for rule in second.breaks]
    parts = [found.lineage.variant, f"answers={better[0]}>{worse[0]}"]
    lineage = replace(
        found.lineage,
        variant=";".join(part for part in parts if part),
        generator=first.author or found.lineage.generator,
        verdicts=(*found.lineage.verdicts, *broken),
    )
    return Preference(
        prompt=found.prompt,
        chosen=first.turns,
        rejected=second.turns,
        lineage=lineage,
        weight=found.weight,
        margin=_score(first) - _score(second) if found.kind in _MEASURED else None,
    )


def said(found: AnswerSet, *answers: Answer) -> str:
    """The question of a set with some of its answers as one text, for the ledger."""
    asked = found.prompt[-1].text if found.prompt else ""
    texts = [turn.text for answer in answers for turn in answer.turns]
    return "\n---\n".join([f"{found.lineage.source}:{found.lineage.row}", asked, *texts])


def demonstration(pair: Preference) -> Instance:
    """The preferred answer as something to imitate.

    Only that answer is learned: what the assistant said before it nobody preferred.
    """
    prompt = (
        replace(turn, train=False) if turn.role == "assistant" else turn for turn in pair.prompt
    )
    variant = ";".join(part for part in (pair.lineage.variant, "demonstration") if part)
    return Instance(
        messages=(*prompt, *pair.chosen),
        lineage=replace(pair.lineage, variant=variant),
        weight=pair.weight,
    )
