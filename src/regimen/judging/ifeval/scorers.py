"""Verdicts on the constraints of an item, strict and loose, and the accuracies made of them.

Strict is the answer as it is. Loose is the best of eight variants of it (Zhou et al. 2023,
section 2.2): with and without its first line, its last line, its asterisks. It forgives an opening
such as "Sure, here it is:" and marks of emphasis, at the price of some false verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from regimen.errors import EvaluationError
from regimen.judging.ifeval.kinds import KINDS, check
from regimen.judging.ifeval.languages import language_of
from regimen.records import Item, last_user_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Shares in 0..1: of ``prompts`` with all constraints met, and of ``instructions`` met."""

    prompt_level: float
    instruction_level: float
    prompts: int
    instructions: int


def variants(answer: str) -> tuple[str, ...]:
    """The eight variants of the loose verdict, the answer itself first."""
    lines = answer.split("\n")
    cuts = (answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])))
    return cuts + tuple(text.replace("*", "") for text in cuts)


def verdicts(item: Item, answer: str, loose: bool = False) -> tuple[bool, ...]:
    """Whether each constraint of the item is met, in their order.

    Raises:
        EvaluationError: ``item-without-constraints``, ``unknown-constraint``, ``bad-constraint``.
        MissingExtraError: ``missing-library``, where a language has to be told.
    """
    if not item.constraints:
        raise EvaluationError(
            "There is no constraint to check on this item.",
            slug="item-without-constraints",
            got=f"item {item.item_id} of suite {item.suite!r}",
            expected="one constraint or more per item",
            fix="Score this suite by its references, or leave the item out.",
        )
    prompt = last_user_text(item.messages)
    tried = variants(answer) if loose else (answer,)
    return tuple(
        any(check(constraint, text, prompt) for text in tried) for constraint in item.constraints
    )


def ifeval_strict(answer: str, item: Item) -> float:
    """1 when every constraint of the item is met, else 0."""
    return float(all(verdicts(item, answer)))


def ifeval_loose(answer: str, item: Item) -> float:
    """1 when every constraint is met by some variant of the answer, else 0."""
    return float(all(verdicts(item, answer, loose=True)))


def ifeval_instructions(answer: str, item: Item) -> float:
    """Share of the item's constraints that are met."""
    return _share(verdicts(item, answer))


def ifeval_instructions_loose(answer: str, item: Item) -> float:
    """Share of the item's constraints that some variant of the answer meets."""
    return _share(verdicts(item, answer, loose=True))


def require_libraries(items: Iterable[Item]) -> None:
    """Raise before anything is asked where a constraint needs a library that is not installed.

    Unknown kinds and bad arguments are of one item each, and errors of the scorer there.

    Raises:
        MissingExtraError: ``missing-library``.
    """
    kinds = {constraint.kind for item in items for constraint in item.constraints}
    if any(KINDS[kind].language for kind in kinds & KINDS.keys()):
        language_of("Which language is this?")


def _share(met: Sequence[bool]) -> float:
    return sum(met) / len(met)


def accuracy(met: Sequence[Sequence[bool]]) -> Accuracy:
    """The two accuracies of the paper, from the verdicts of each prompt; 0 without any.

    The instruction level counts every instruction once, so that it is not the mean of
    ``ifeval_instructions`` where prompts have different numbers of them.
    """
    flat = [one for prompt in met for one in prompt]
    return Accuracy(
        prompt_level=sum(map(all, met)) / len(met) if met else 0.0,
        instruction_level=_share(flat) if flat else 0.0,
        prompts=len(met),
        instructions=len(flat),
    )
