"""Choice by likelihood: which of an item's choices a model finds most likely as its answer.

Four ways to rank the choices, from the log-probability log p(choice | prompt) in nats:

``choice_logp``       the sum over the choice's tokens
``choice_per_byte``   per UTF-8 byte of the choice, so that short choices have no advantage and
                      models with different tokenizers are comparable
``choice_per_token``  the mean over its tokens (Brown et al. 2020, arXiv 2005.14165, section 2.4)
``choice_pmi``        log p(choice | prompt) - log p(choice | premise): pointwise mutual
                      information beyond a premise that asks nothing (Holtzman et al. 2021,
                      arXiv 2104.08315, equation 4)

A tie is no luck of the order: of k choices that are likeliest together, each counts 1/k, the
expected accuracy of a pick at random among them.

Shape suffix: C choices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regimen.errors import EvaluationError
from regimen.evaluation.ratios import Floats
from regimen.evaluation.suites import ask_prompted
from regimen.instances.options import STYLES
from regimen.judging.rules import exact
from regimen.protocols import Alternatives, AnswerLogps, Likelihoods
from regimen.records import Item, Message

TIE = 1e-5
"""Nats. Scores that are closer are equal up to the rounding of fp32 sums."""

PREMISE = "Answer:"
"""What the choices are given to when nothing is asked, for ``choice_pmi``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What an item can be answered with: ``answers`` as a model writes them, which are right.

    ``texts`` are the choices themselves. The two differ where a model learns to answer by label.
    """

    texts: tuple[str, ...]
    answers: tuple[str, ...]
    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceLogps:
    """Of each choice: log-probability after the prompt and after the premise (nats), tokens."""

    logp_C: Floats
    premise_C: Floats
    tokens_C: Floats
    bytes_C: Floats


RANKINGS: Mapping[str, Callable[[ChoiceLogps], Floats]] = {
    "choice_logp": lambda found: found.logp_C,
    "choice_per_byte": lambda found: found.logp_C / found.bytes_C,
    "choice_per_token": lambda found: found.logp_C / found.tokens_C,
    "choice_pmi": lambda found: found.logp_C - found.premise_C,
}
"""The score by which each metric ranks the choices of an item; the highest is picked."""


def choices_of(item: Item) -> Choices:
    """The choices of an item, refused where a pick would say nothing.

    Raises:
        EvaluationError: ``too-few-choices``, ``equal-choices`` (two of the same text: one cannot
            be right and the other wrong), ``no-right-choice`` or ``no-wrong-choice``.
    """
    texts = item.choices
    if len(texts) < 2:
        raise _refused(item, "too-few-choices", "two choices or more")
    if len({text.strip() for text in texts}) < len(texts):
        raise _refused(item, "equal-choices", "choices that differ")
    right = tuple(bool(exact(text, item.references)) for text in texts)
    if not any(right):
        raise _refused(item, "no-right-choice", "a choice that is an accepted answer")
    if all(right):
        raise _refused(item, "no-wrong-choice", "a choice that is no accepted answer")
    return Choices(texts=texts, answers=_answers(item, right), right=right)


def _refused(item: Item, slug: str, expected: str) -> EvaluationError:
    return EvaluationError(
        f"An item of suite {item.suite!r} cannot be answered by a choice.",
        slug=slug,
        got=f"item {item.item_id}: choices {', '.join(map(repr, item.choices))[:120] or 'none'}; "
        f"accepted {', '.join(map(repr, item.references))[:80]}",
        expected=expected,
        fix="Correct the choices and the answers of the item, or leave it out of the suite.",
    )


def _answers(item: Item, right: Sequence[bool]) -> tuple[str, ...]:
    """The choices as answers: by the label, or label and text, that the first reference shows."""
    learnt = item.references[0]
    for place, text in enumerate(item.choices):
        if not right[place] or learnt == text:
            continue
        for style in STYLES.values():
            if style.label is None or len(item.choices) > style.most:
                continue
            labels = [style.label_at(each) for each in range(len(item.choices))]
            if learnt == labels[place]:
                return tuple(labels)
            if learnt == f"{labels[place]} {text}":
                return tuple(f"{a} {b}" for a, b in zip(labels, item.choices, strict=True))
    return item.choices


def ask_choices(item: Item, choices: Choices) -> Alternatives:
    """The choices as the assistant's turns, with the model's chat template."""
    return Alternatives(id=item.item_id, messages=item.messages, answers=choices.answers)


def ask_choices_prompted(item: Item, choices: Choices, k: int) -> Alternatives:
    """The choices after the plain prompt with ``k`` demonstrations, each after a space.

    Nothing ends a choice here, so that one that begins another is never the less likely of both.
    """
    answers = tuple(f" {answer}" for answer in choices.answers)
    return Alternatives(id=item.item_id, text=ask_prompted(item, k).text, answers=answers)


def premise_logps(
    likelihoods: Likelihoods, asked: Sequence[Alternatives], premise: str = PREMISE
) -> dict[str, float]:
    """The log-probability (nats) of every distinct answer after the premise instead of its prompt.

    All have one prompt, which is read once for many answers. An answer that cannot be measured
    is left out.
    """
    answers = tuple(dict.fromkeys(answer for one in asked for answer in one.answers))
    chat = any(one.messages for one in asked)

    def measured(pieces: Sequence[tuple[str, ...]]) -> list[tuple[tuple[str, ...], AnswerLogps]]:
        batch = [
            Alternatives(
                id=str(number),
                messages=(Message(role="user", content=premise),) if chat else (),
                text="" if chat else premise,
                answers=piece,
            )
            for number, piece in enumerate(pieces)
        ]
        found = dict(likelihoods.answer_logps(batch))
        return [(one.answers, found[one.id]) for one in batch]

    found = measured([answers[start : start + 64] for start in range(0, len(answers), 64)])
    # one answer that fails must not take the others of its piece with it
    alone = [(answer,) for piece, logps in found if logps.error for answer in piece]
    found = [one for one in found if not one[1].error] + (measured(alone) if alone else [])
    return {
        answer: logp
        for piece, logps in found
        if not logps.error
        for answer, logp in zip(piece, logps.logps, strict=True)
    }


def choice_logps(
    choices: Choices, asked: Alternatives, found: AnswerLogps, premise: Mapping[str, float]
) -> ChoiceLogps | str:
    """What was found for an item's choices, or why it cannot be ranked."""
    if found.error:
        return found.error
    if not np.isfinite(found.logps).all():
        return "a log-probability is not finite"
    if any(answer not in premise for answer in asked.answers):
        return "an answer could not be measured after the premise"
    return ChoiceLogps(
        logp_C=np.asarray(found.logps),
        premise_C=np.asarray([premise[answer] for answer in asked.answers]),
        tokens_C=np.asarray(found.tokens, dtype=np.float64),
        bytes_C=np.asarray([len(answer.encode()) for answer in choices.answers], dtype=np.float64),
    )


def credit(score_C: Floats, right: Sequence[bool]) -> float:
    """Share of right choices among the likeliest: 1 or 0 but for ties."""
    best_C = score_C >= score_C.max() - TIE
    return float(np.asarray(right)[best_C].mean())
