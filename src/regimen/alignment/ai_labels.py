"""RLAIF: a judge's comparisons as preferences (Lee et al. 2023, arXiv 2309.00267).

A pair is shown in both orders; orders that disagree are a tie. What a judge says is soft where it
has probabilities or several votes: the margin of a pair is P(chosen) - P(rejected), the mean over
both orders, so that 1 is certain and 0 undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from regimen.judging.comparisons import Comparison
from regimen.records import Lineage, Message, Preference


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What a comparison came to: a pair, or why there is none."""

    comparison: Comparison
    pair: Preference
    outcome: str = ""
    detail: str = ""

    @property
    def failed(self) -> bool:
        """Whether the judge gave no verdict."""
        return self.outcome == "not_judged"


def labelled(
    comparison: Comparison,
    answers: tuple[str, str],
    judge: str,
    author: str = "",
    min_margin: float = 0.0,
) -> Labelling:
    """The pair of a comparison.

    Args:
        comparison: of ``answers``, in their order.
        answers: what was compared.
        judge: who judged, for the lineage.
        author: who answered, likewise.
        min_margin: softer preferences than this are a tie.

    Returns:
        With outcome ``not_judged`` (an order has no verdict), ``equal_answers``,
        ``orders_disagree`` or ``tie``, the answers stand in the pair as they were given.
    """
    soft = comparison.soft or 0.0
    value = comparison.value or 0.0
    first, second = answers if value >= 0 else answers[::-1]
    pair = Preference(
        prompt=comparison.item.messages,
        chosen=(Message(role="assistant", content=first),),
        rejected=(Message(role="assistant", content=second),),
        lineage=_lineage(comparison, judge, author),
        margin=abs(soft),
    )
    outcome, detail = _outcome(comparison, abs(soft), min_margin)
    return Labelling(comparison=comparison, pair=pair, outcome=outcome, detail=detail)


def _outcome(comparison: Comparison, margin: float, least: float) -> tuple[str, str]:
    if comparison.decided == "identical":
        return "equal_answers", ""
    if comparison.value is None:
        return "not_judged", comparison.error
    if comparison.consistent is False:
        orders = comparison.orders or ()
        return "orders_disagree", " and ".join(f"{value:+.2f}" for value in orders)
    if comparison.value == 0 or margin < least:
        return "tie", f"{margin:.2f} apart"
    return "", ""


def _lineage(comparison: Comparison, judge: str, author: str) -> Lineage:
    origin = comparison.item.lineage
    return replace(
        origin,
        variant="rlaif",
        generator=author or origin.generator,
        verdicts=(*origin.verdicts, f"judged_by:{judge}"),
    )


def consistency(found: Sequence[Labelling]) -> float | None:
    """Share of the pairs judged in both orders on which they agree; None where there is none."""
    said = [one.comparison.consistent for one in found]
    known = [one for one in said if one is not None]
    return sum(known) / len(known) if known else None
