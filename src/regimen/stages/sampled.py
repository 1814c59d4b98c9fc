"""Answers of a generator to prompts in ``build``: asked, kept or counted, scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regimen import console
from regimen.curation.ledger import Ledger
from regimen.errors import DataError, GenerationError
from regimen.evaluation.published.own_items import read_own_items
from regimen.evaluation.published.reading import SuiteSpec
from regimen.generation.endpoints.cache import ResponseCache
from regimen.generation.stored import StoredGenerator
from regimen.instances.draws import seeded
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import askable_items
from regimen.instances.readers import RowFailure
from regimen.judging.scorers import scorer_named
from regimen.protocols import AnswerScorer, Completion, Generator, Request
from regimen.records import Item, Message, Task
from regimen.settings.generators import GeneratorSettings
from regimen.settings.preferences import ScoreSettings
from regimen.settings.sampled import AnsweredSettings
from regimen.stages.common import path_key
from regimen.stages.generators import make_generator

CACHE = Path(".cache") / "samples"
_ROWS_OF_A_TASK = 8
Sampled = tuple[Item, list[Completion]]
Usable = tuple[Item, list[str]]
Scored = tuple[Item, list[tuple[str, float]]]
MISSING = Completion(text="", finish="error", error="no answer came back")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where prompts come from: the training tasks of a build, and how their rows are asked."""

    tasks: Sequence[Task]
    spec: FormattingSpec
    seed: int
    tokens: Callable[[str], int] | None = None


def generator_inputs(name: str, section: GeneratorSettings | None) -> dict[str, str]:
    """What a generator's answers depend on, by content: a change makes the build stale."""
    if section is None:
        return {}
    named = {
        f"{name}.model": section.model if section.endpoint is None else None,
        f"{name}.scripted": section.scripted,
    }
    return {key: path_key(path) for key, path in named.items() if path is not None}


def needs_of(score: ScoreSettings | None) -> list[str]:
    """What an item must have to be scored: ``references`` and so on.

    Raises:
        EvaluationError: ``unknown-scorer``.
    """
    if score is None or score.scorer is None:
        return []
    return sorted(scorer_named(score.scorer).needs)


def prompts_of(
    section: AnsweredSettings,
    name: str,
    sources: Sources,
    ledger: Ledger,
    needs: Sequence[str] = (),
) -> list[Item]:
    """What is asked: the rows of the file, or rows of the training tasks drawn by the seed.

    Items that lack what the scorer needs are removed (``without_references`` and so on), in the
    step ``<name>-prompts``.

    Raises:
        DataError: nothing can be asked (``no-prompts``), or the file cannot be read.
    """
    found: list[Item | RowFailure]
    if section.prompts is not None:
        suite = SuiteSpec(name=name.replace("-", "_"), path=Path(section.prompts))
        found = list(read_own_items(suite))
    else:
        found = _of_tasks(name, section.limit, sources)
    kept: list[Item] = []
    with ledger.step(f"{name}-prompts", entered=len(found)) as step:
        for one in found:
            if isinstance(one, RowFailure):
                step.fail(f"{one.source}:{one.row}", one.error, one.got, one.fix)
                continue
            lacking = [need for need in needs if not getattr(one, need)]
            if lacking:
                step.remove(one, f"without_{lacking[0]}")
            elif len(kept) >= section.limit:
                step.remove(one, "beyond_limit")
            else:
                step.keep()
                kept.append(one)
    if not kept:
        raise _no_prompts(name, section, {**step.removed, **step.failed})
    return kept


def _of_tasks(name: str, limit: int, sources: Sources) -> list[Item | RowFailure]:
    """Rows of tasks, the same number of each as far as the limit goes."""
    order = list(sources.tasks)
    seeded(sources.seed, name).shuffle(order)
    each = min(_ROWS_OF_A_TASK, -(-limit // max(1, len(order))))
    found: list[Item | RowFailure] = []
    suite = name.replace("-", "_")
    for task in order:
        items, _ = askable_items(task, suite, each, sources.seed + 5, sources.spec, sources.tokens)
        found += items[: limit - len(found)]
        if len(found) >= limit:
            break
    return found


def _no_prompts(name: str, section: AnsweredSettings, removed: Mapping[str, int]) -> DataError:
    return DataError(
        "There is nothing to sample answers to.",
        slug="no-prompts",
        got=", ".join(f"{reason} {n:,}" for reason, n in removed.items()) or "no training task",
        expected="prompts, with what the score needs",
        fix=f"Name a file with 'prompts' of {name}, or a source with tasks.",
        where=section.prompts or "",
    )


def stored_generator(section: GeneratorSettings) -> Generator:
    """The generator of a section; answers of a local model are kept on disk."""
    made = make_generator(section, [])
    if section.model is None or section.endpoint is not None:
        return made
    return StoredGenerator(made, ResponseCache(CACHE), path_key(section.model))


def completions(
    generator: Generator, requests: Sequence[Request], name: str, unit: str = "samples"
) -> dict[str, Completion]:
    """The completion of every request, by id; those that did not come are errors.

    Raises:
        GenerationError: nothing came at all.
    """
    found: dict[str, Completion] = {}
    missing = MISSING
    with console.progress(len(requests), name, unit) as bar:
        try:
            for key, completion in generator.generate(list(requests)) if requests else ():
                found[key] = completion
                bar.advance()
        except GenerationError as error:
            if not found:
                raise
            missing = Completion(text="", finish="error", error=error.render())
    return {request.id: found.get(request.id, missing) for request in requests}


def sample(
    section: AnsweredSettings,
    name: str,
    items: Sequence[Item],
    samples: int,
    seed: int,
    generator: Generator,
    messages: Callable[[Item], tuple[Message, ...]] = lambda item: item.messages,
) -> list[Sampled]:
    """The samples of each item, those that failed among them; ``messages`` is what is asked."""
    it = section.generator
    requests = [
        Request(
            id=f"{place}#{number}",
            messages=messages(item),
            max_new_tokens=it.max_new_tokens,
            temperature=it.temperature,
            top_p=section.top_p,
            seed=seeded(seed, name, item.item_id, number).randrange(2**31),
            labels=(("task", item.lineage.task), ("language", item.lineage.language)),
        )
        for place, item in enumerate(items)
        for number in range(1, samples + 1)
    ]
    found = completions(generator, requests, name)
    return [
        (item, [found[f"{place}#{number}"] for number in range(1, samples + 1)])
        for place, item in enumerate(items)
    ]


def usable(asked: Sequence[Sampled], name: str, ledger: Ledger, *, keep_cut: bool) -> list[Usable]:
    """The samples that can be used, as the step ``<name>-samples``.

    Raises:
        DataError: none can (``no-samples``).
    """
    found = []
    with ledger.step(f"{name}-samples") as step:
        for item, samples in asked:
            kept: list[str] = []
            for number, one in enumerate(samples, start=1):
                step.enter()
                where = f"{item.item_id}#{number}"
                if one.finish == "error":
                    step.fail(where, "not_generated", one.error, "Look at the generator.")
                elif one.finish == "length" and not keep_cut:
                    step.remove(one.text, "cut_at_longest", where)
                elif not one.text.strip():
                    step.remove(where, "empty_answer")
                else:
                    step.keep()
                    kept.append(one.text)
            found.append((item, kept))
    if not step.kept:
        raise no_samples(name, {**step.removed, **step.failed})
    return found


def scored(
    asked: Sequence[Usable], name: str, scorer: AnswerScorer, ledger: Ledger
) -> list[Scored]:
    """The samples with their scores, as the step ``<name>-scores``.

    Raises:
        DataError: none has one (``no-samples``).
    """
    found = []
    with ledger.step(f"{name}-scores") as step:
        for (item, samples), own in zip(asked, scorer.scores(asked), strict=True):
            kept: list[tuple[str, float]] = []
            for number, (text, score) in enumerate(zip(samples, own, strict=True), start=1):
                step.enter()
                if score.value is None:
                    where = f"{item.item_id}#{number}"
                    step.fail(where, "not_scored", score.error, "Look at the judge or the rule.")
                else:
                    step.keep()
                    kept.append((text, score.value))
            found.append((item, kept))
    if not step.kept:
        raise no_samples(name, step.failed)
    return found


def no_samples(name: str, lost: Mapping[str, int]) -> DataError:
    """The error of a build none of whose samples is left."""
    return DataError(
        "No sample can be used.",
        slug="no-samples",
        got=", ".join(f"{reason} {count:,}" for reason, count in lost.items()),
        fix=f"Raise generator.max_new_tokens, or look at ledger/*-{name}-*.",
    )


def each_usable(asked: Sequence[Usable]) -> Iterator[tuple[Item, str]]:
    """Item and text of every usable sample."""
    for item, texts in asked:
        for text in texts:
            yield item, text
