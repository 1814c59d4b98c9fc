"""Items by suite, how each kind of system is asked, and the two copy baselines.

A tuned model is asked with the chat template it was tuned with; a base model that was never
taught a chat is asked, besides, with a plain prompt that a good prompter would write: the
definition and k worked examples. How many examples is chosen on items that are not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from regimen.errors import EvaluationError
from regimen.evaluation.metrics import Metrics, require_fields
from regimen.evaluation.systems import GeneratedSystem, answer_items, scored
from regimen.protocols import Generator, Request
from regimen.records import Item, last_user_text

MAX_NEW_TOKENS = 64

# What ends an answer to plain text: a line's end, a blank line, or only the next input.
LINE = ("\n",)
BLANK_LINE = ("\n\n", "\nInput:")
NEXT_INPUT = ("\nInput:",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteItems:
    """The items of one suite, each once. ``duplicates`` is the number of repeats left out."""

    name: str
    items: tuple[Item, ...]
    duplicates: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenK:
    """Number of demonstrations for the prompted base, with the validation score of each."""

    k: int
    scores: Mapping[int, float]
    items: int


def by_suite(items: Iterable[Item]) -> dict[str, SuiteItems]:
    """Items grouped by suite, in the order in which suites and items first appear.

    Items that are equal in suite, prompt and references are one item.

    Raises:
        EvaluationError: ``no-items``.
    """
    kept: dict[str, dict[str, Item]] = {}
    repeats: dict[str, int] = {}
    for item in items:
        suite = kept.setdefault(item.suite, {})
        if item.item_id in suite:
            repeats[item.suite] = repeats.get(item.suite, 0) + 1
        suite.setdefault(item.item_id, item)
    if not kept:
        raise EvaluationError(
            "There is nothing to evaluate: no suite holds an item.",
            slug="no-items",
            got="0 items",
            expected="at least one item",
            fix="Hold out tasks in the build stage, or name a suite that has items.",
        )
    return {
        name: SuiteItems(name=name, items=tuple(suite.values()), duplicates=repeats.get(name, 0))
        for name, suite in kept.items()
    }


def cluster_of(item: Item) -> str:
    """Unit of resampling: the item's cluster, else its task, else the item alone."""
    return item.cluster or item.lineage.task or item.item_id


def input_of(item: Item) -> str:
    """The bare input; without one, the text of the last user turn."""
    return item.input or last_user_text(item.messages)


def ask_chat(item: Item, *, max_new_tokens: int = MAX_NEW_TOKENS) -> Request:
    """Ask with the model's chat template."""
    return Request(
        id=item.item_id,
        messages=item.messages,
        max_new_tokens=max_new_tokens,
        labels=labels_of(item),
    )


def labels_of(item: Item) -> tuple[tuple[str, str], ...]:
    """What an item is about, for a model that chooses an adapter by it."""
    about = item.lineage
    return (
        ("task", about.task),
        ("family", about.family),
        ("category", about.category),
        ("language", about.language),
    )


def ask_prompted(
    item: Item,
    k: int,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    stop: tuple[str, ...] | None = None,
) -> Request:
    """Ask with plain text: definition, ``k`` demonstrations, the query, ``Output:``.

    With fewer than ``k`` demonstrations all of them are shown. The answer ends at a line's end, or
    at a blank line where a demonstration that is shown has an answer of several lines, or where
    ``stop`` says.
    """
    if k < 0:
        raise ValueError(f"k must be 0 or more, got {k}")
    shown = item.demonstrations[:k]
    blocks = [item.definition.strip()] if item.definition.strip() else []
    blocks += [f"Input: {shot.input}\nOutput: {shot.output}" for shot in shown]
    blocks.append(f"Input: {input_of(item)}\nOutput:")
    if stop is None:
        lines = any("\n" in shot.output.strip() for shot in shown)
        stop = BLANK_LINE if lines else LINE
    return Request(
        id=item.item_id,
        text="\n\n".join(blocks),
        max_new_tokens=max_new_tokens,
        stop=stop,
    )


def copy_input(item: Item) -> str:
    """The baseline that repeats its input."""
    return input_of(item)


def copy_demonstration(item: Item) -> str | None:
    """The baseline that repeats the first demonstration's answer; None without one."""
    return item.demonstrations[0].output if item.demonstrations else None


def choose_k(
    generator: Generator,
    validation_items: Sequence[Item],
    ks: Sequence[int],
    metrics: Metrics,
    *,
    held_out: Iterable[Item] = (),
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> ChosenK:
    """Number of demonstrations with the best mean score on validation items; the smaller on ties.

    A request that fails, such as a prompt beyond the context, scores 0.

    Args:
        generator: the base model.
        validation_items: items that no suite evaluates.
        ks: numbers of demonstrations to try, 0 or more.
        metrics: their primary one decides.
        held_out: the evaluated items; sharing a prompt with them is an error.
        max_new_tokens: longest answer.

    Raises:
        EvaluationError: ``no-items``, ``validation-overlap``, ``item-without-reference``, or
            ``nothing-answered`` where every request of every k failed.
        ValueError: no k, or metrics that do not score.
    """
    if not ks:
        raise ValueError("name one number of demonstrations or more")
    if not metrics.scored:
        raise ValueError("the number of demonstrations is chosen by a score, and there is none")
    scorer = metrics.scorers[metrics.primary]
    items = [item for suite in by_suite(validation_items).values() for item in suite.items]
    require_fields(items, metrics)
    _require_apart(items, held_out)
    scores: dict[int, float] = {}
    errors: list[str] = []
    for k in sorted(set(ks)):
        system = GeneratedSystem(
            generator=generator, ask=partial(ask_prompted, k=k, max_new_tokens=max_new_tokens)
        )
        answers = answer_items(system, items)
        points = [
            scored(scorer, answer, item)[0] for answer, item in zip(answers, items, strict=True)
        ]
        scores[k] = sum(points) / len(points)
        errors += [answer.error for answer in answers if answer.error]
    if len(errors) == len(items) * len(scores):
        raise EvaluationError(
            "The base answered none of the validation items.",
            slug="nothing-answered",
            got=errors[0],
            expected="an answer to at least one request",
            fix="Read the first error above; it is the generator's own.",
        )
    best = max(scores, key=lambda k: (scores[k], -k))
    return ChosenK(k=best, scores=scores, items=len(items))


def _require_apart(validation: Sequence[Item], held_out: Iterable[Item]) -> None:
    """Raise where a validation item asks what an evaluated item asks."""
    evaluated = {item.messages for item in held_out}
    shared = [item for item in validation if item.messages in evaluated]
    if shared:
        raise EvaluationError(
            f"{len(shared)} of {len(validation)} validation items are also evaluated.",
            slug="validation-overlap",
            got=f"item {shared[0].item_id}, task {shared[0].lineage.task!r}",
            expected="validation items that no suite evaluates",
            fix="Draw the validation items with another seed or from training tasks.",
        )
