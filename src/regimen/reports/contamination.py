"""What the evaluation says of items that training rows may have given away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from regimen.reports.files import Json, mapping, number, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """The block of one suite; ``checked`` is None where the training rows are not known.

    ``scores`` are those on all items and on the items that are not flagged, by system.
    """

    checked: int | None
    flagged: int
    contaminated: bool
    scores: Mapping[str, tuple[float, float]]


def read_contamination(suites: Json) -> dict[str, Contamination]:
    """The block of each suite that has one."""
    found = {}
    for name, value in suites.items():
        block, systems = mapping(mapping(value).get("contamination")), mapping(value).get("systems")
        if not block:
            continue
        pairs = {
            system: (number(mapping(mapping(systems).get(system)).get("score")), clean)
            for system, inner in mapping(block.get("score_clean")).items()
            if (clean := number(mapping(inner).get("score"))) is not None
        }
        found[name] = Contamination(
            checked=whole(block.get("checked")),
            flagged=whole(block.get("flagged")) or 0,
            contaminated=block.get("contaminated") is True,
            scores={
                system: (every, clean)
                for system, (every, clean) in pairs.items()
                if every is not None
            },
        )
    return found


def contamination_limits(found: Mapping[str, Contamination]) -> Iterator[str]:
    """What cannot be known of what the model saw, in sentences."""
    unknown = [name.replace("_", " ") for name, one in found.items() if one.checked is None]
    if unknown:
        yield (
            f"Whether items of {', '.join(unknown)} were in the training data: not checked, as the "
            "training rows are unknown."
        )
    if len(unknown) < len(found):
        yield (
            "Whether a translation or a paraphrase of an item was in the training data, or an item "
            "in that of the base: n-grams of the training rows cannot show it."
        )


def contamination_findings(
    found: Mapping[str, Contamination], subject: str
) -> Iterator[tuple[Literal["bad", "note"], str]]:
    """A sentence for each suite with flagged items; bad where the suite is contaminated."""
    for name, one in found.items():
        if not one.checked or not one.flagged:
            continue
        text = (
            f"{one.flagged:,} of {one.checked:,} items of {name.replace('_', ' ')} share more than "
            f"half of what they ask with one training row ({one.flagged / one.checked:.1%})"
        )
        if subject in one.scores:
            every, clean = one.scores[subject]
            text += f"; without them {subject} scores {clean:.1%}, with them {every:.1%}"
        yield "bad" if one.contaminated else "note", f"{text}."
