"""Judges made of judges: several votes on one question, and one principle for each question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regimen.judging.judge import Judge, Shown, Verdict
from regimen.records import content_of, stable_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class VotingJudge:
    """The mean of several judges' verdicts on each question (self-consistency).

    The judges are samples of one model, as in Wang et al. 2022, arXiv 2203.11171, and Lee et al.
    2023, section 3.1. A judge that has no verdict does not vote; where none has one, the verdict
    says why.
    """

    judges: tuple[Judge, ...]

    @property
    def name(self) -> str:
        """The first judge's: they are the same model."""
        return self.judges[0].name

    def verdicts(self, shown: Sequence[Shown]) -> tuple[Verdict, ...]:
        """One mean verdict for each question, in order."""
        said = [judge.verdicts(shown) for judge in self.judges]
        return tuple(_mean(votes) for votes in zip(*said, strict=True))


def _mean(votes: Sequence[Verdict]) -> Verdict:
    values = [one.value for one in votes if one.value is not None]
    errors = "; ".join(dict.fromkeys(one.error for one in votes if one.error))
    if not values:
        return Verdict(error=errors)
    counts = ", ".join(f"{value:g}" for value in values)
    missing = f"; {len(votes) - len(values)} without a verdict" if errors else ""
    return Verdict(value=sum(values) / len(values), reason=f"votes {counts}{missing}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipleJudge:
    """Each question by one principle (Bai et al. 2022b, section 4.1, arXiv 2212.08073).

    Which of the judges answers is drawn by the seed and by what is compared, whatever the order in
    which it is shown.
    """

    judges: tuple[Judge, ...]
    seed: int = 0

    @property
    def name(self) -> str:
        """The first judge's."""
        return self.judges[0].name

    def verdicts(self, shown: Sequence[Shown]) -> tuple[Verdict, ...]:
        """One verdict for each question, in order; each judge is asked once."""
        drawn = [self.place(one) for one in shown]
        found: dict[int, Verdict] = {}
        for number, judge in enumerate(self.judges):
            places = [place for place, own in enumerate(drawn) if own == number]
            verdicts = judge.verdicts([shown[place] for place in places]) if places else ()
            found |= zip(places, verdicts, strict=True)
        return tuple(found[place] for place in range(len(shown)))

    def place(self, one: Shown) -> int:
        """The number of the judge of a question."""
        answers = sorted("\n\n".join(turns) for turns in one.answers)
        key = stable_hash([self.seed, content_of(one.item.messages), answers], length=12)
        return int(key, 16) % len(self.judges)
