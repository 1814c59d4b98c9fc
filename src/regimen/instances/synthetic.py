"""Self-Instruct: one round from seed instructions to instances (arXiv 2212.10560).

Instructions are written after those shown, sorted into classification or not, and get examples:
label first for classifications (input first would give one label nearly always), input first for
the rest. What comes back is read in request order, whatever the order in which it came, so a round
is a function of its arguments and of the generator's answers.

The round is two steps of the ledger. ``instructions``: every entry of a list that came back.
``instances``: every example that came back. A completion from which nothing can be read counts as
one unit of its step, so that in = kept + removed + failed holds for both.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from regimen.instances.synthetic_round import Books, Round, SelfInstructSpec
from regimen.instances.synthetic_text import (
    LAYOUTS,
    Seed,
    example_problems,
    examples_prompt,
    instruction_problem,
    instruction_prompt,
    kind_prompt,
    read_examples,
    read_kind,
    read_numbered,
    user_text,
)
from regimen.protocols import Completion, Generator, Request
from regimen.records import Example, Instance, Lineage, Message, stable_hash

KIND_TOKENS = 3

TooClose = Callable[[str], str | None]
"""Takes an instruction; returns the earlier one that it is too close to, or None and remembers it.
"""


def self_instruct(
    seeds: Sequence[Seed],
    generator: Generator,
    too_close: TooClose,
    spec: SelfInstructSpec | None = None,
    machine: Sequence[Seed] = (),
) -> Round:
    """Run one round.

    Args:
        seeds: instructions written by people, at least one.
        generator: who writes; errors come back as failures, never as data.
        too_close: the novelty check. It must already know ``seeds`` and ``machine``, and is asked
            in a defined order (request, then position in the list).
        spec: numbers of the round.
        machine: instructions that earlier rounds kept.
    """
    if not seeds:
        raise ValueError("a round needs at least one seed")
    spec = spec or SelfInstructSpec()
    books = Books()
    accepted = _new_instructions(seeds, machine, generator, too_close, spec, books)
    sorted_out = _classify(accepted, seeds, generator, spec, books)
    with_examples = _add_examples(sorted_out, seeds, generator, spec, books)
    instances = [
        one
        for seed, prompt_id in with_examples
        for one in _instances(seed, prompt_id, generator.name, spec)
    ]
    examples = {seed.instruction: seed for seed, _ in with_examples}
    found = Round(
        seeds=tuple(examples.get(seed.instruction, seed) for seed in accepted),
        instances=tuple(instances),
        dropped=tuple(books.dropped),
        failed=tuple(books.failed),
        entered=dict(books.entered),
        kept=dict(books.kept),
    )
    found.check()
    return found


def _request(spec: SelfInstructSpec, name: str, prompt: str, max_new_tokens: int) -> Request:
    """A greedy request, rendered as a chat or as plain text to continue."""
    draw = int(stable_hash([spec.seed, spec.round, name], length=7), 16)
    base = Request(id=f"round{spec.round}-{name}", seed=draw, max_new_tokens=max_new_tokens)
    if spec.as_text:
        return replace(base, text=prompt)
    return replace(base, messages=(Message(role="user", content=prompt),))


def _answers(
    generator: Generator, requests: Sequence[Request]
) -> Iterator[tuple[Request, Completion]]:
    """Requests with their completions, in request order; a missing one is an error."""
    found = dict(generator.generate(requests)) if requests else {}
    missing = Completion(text="", finish="error", error="the generator gave no answer")
    for request in requests:
        yield request, found.get(request.id, missing)


def _new_instructions(
    seeds: Sequence[Seed],
    machine: Sequence[Seed],
    generator: Generator,
    too_close: TooClose,
    spec: SelfInstructSpec,
    books: Books,
) -> list[Seed]:
    prompts = _prompts(seeds, machine, spec)
    accepted: list[Seed] = []
    answers = _answers(generator, [request for request, _ in prompts])
    for (request, completion), (_, shown) in zip(answers, prompts, strict=True):
        if completion.finish == "error":
            books.fail("instructions", request, "generation_error", completion.error)
            continue
        entries = read_numbered(completion.text)
        books.entered["instructions"] += max(len(entries), 1)
        if not entries:
            record = {"request": request.id, "text": completion.text}
            books.drop("instructions", record, "nothing_written")
        for entry in entries:
            problem = _problem(entry, completion, too_close, spec)
            if problem:
                books.drop("instructions", {"instruction": entry, "request": request.id}, problem)
                continue
            books.kept["instructions"] += 1
            accepted.append(_offspring(entry, shown))
    return accepted


def _prompts(
    seeds: Sequence[Seed], machine: Sequence[Seed], spec: SelfInstructSpec
) -> list[tuple[Request, list[Seed]]]:
    """The requests for instructions, each with what it shows: one language per prompt."""
    draw = random.Random(f"self-instruct {spec.seed} {spec.round}")
    prompts = []
    for number in range(math.ceil(spec.instructions / spec.new_per_prompt)):
        language = draw.choice(seeds).language
        human = [seed for seed in seeds if seed.language == language]
        made = [seed for seed in machine if seed.language == language]
        shown = draw.sample(human, min(len(human), spec.seeds_per_prompt))
        shown += draw.sample(made, min(len(made), spec.machine_per_prompt))
        draw.shuffle(shown)
        prompt = instruction_prompt(shown, spec.new_per_prompt)
        request = replace(
            _request(spec, f"instructions-{number:05d}", prompt, spec.instruction_tokens),
            temperature=spec.temperature,
            top_p=spec.top_p,
            stop=(f"\n{len(shown) + spec.new_per_prompt + 1}.",),
        )
        prompts.append((request, shown))
    return prompts


def _problem(
    entry: str, completion: Completion, too_close: TooClose, spec: SelfInstructSpec
) -> str | None:
    if completion.finish == "length":
        return "cut_by_length"
    problem = instruction_problem(
        entry, min_words=spec.min_words, max_words=spec.max_words, unsuited=spec.unsuited
    )
    if problem:
        return problem
    close = too_close(entry)
    return None if close is None else f"not_novel: close to {close!r}"


def _offspring(instruction: str, parents: Sequence[Seed]) -> Seed:
    """A new instruction under the licences of all that it was modelled on."""
    licences = sorted({part for parent in parents for part in parent.licence.split(" AND ")})
    return Seed(
        instruction=instruction,
        language=parents[0].language,
        licence=" AND ".join(licences) if all(licences) else "",
    )


def _classify(
    accepted: Sequence[Seed],
    seeds: Sequence[Seed],
    generator: Generator,
    spec: SelfInstructSpec,
    books: Books,
) -> list[Seed]:
    half = spec.shown_examples // 2
    shown = [seed for seed in seeds if seed.classification][:half]
    shown += [seed for seed in seeds if not seed.classification][: spec.shown_examples - len(shown)]
    requests = [
        _request(spec, f"kind-{n:05d}", kind_prompt(seed.instruction, shown), KIND_TOKENS)
        for n, seed in enumerate(accepted)
    ]
    sorted_out: list[Seed] = []
    for seed, (request, completion) in zip(accepted, _answers(generator, requests), strict=True):
        kind = read_kind(completion.text)
        if completion.finish == "error":
            books.fail("instances", request, "generation_error", completion.error)
        elif kind is None:
            fix = "Use a generator that follows instructions."
            books.fail("instances", request, "neither_yes_nor_no", completion.text, fix)
        else:
            sorted_out.append(replace(seed, classification=kind))
    return sorted_out


def _add_examples(
    tasks: Sequence[Seed],
    seeds: Sequence[Seed],
    generator: Generator,
    spec: SelfInstructSpec,
    books: Books,
) -> list[tuple[Seed, str]]:
    """The tasks with the examples that are kept, and the request that brought them."""
    requests = []
    for number, task in enumerate(tasks):
        alike = [s for s in seeds if s.classification == task.classification and s.examples]
        prompt = examples_prompt(
            task.instruction, task.classification, alike[: spec.shown_examples]
        )
        request = _request(spec, f"examples-{number:05d}", prompt, spec.example_tokens)
        requests.append(replace(request, stop=("\nTask:",)))
    found: list[tuple[Seed, str]] = []
    for task, (request, completion) in zip(tasks, _answers(generator, requests), strict=True):
        if completion.finish == "error":
            books.fail("instances", request, "generation_error", completion.error)
            continue
        kept = _usable(task, request, completion, spec, books)
        if kept:
            found.append((replace(task, examples=kept), request.id))
    return found


def _usable(
    task: Seed, request: Request, completion: Completion, spec: SelfInstructSpec, books: Books
) -> tuple[Example, ...]:
    examples = read_examples(completion.text, "label" if task.classification else "input")
    books.entered["instances"] += max(len(examples), 1)
    record = {"instruction": task.instruction, "request": request.id}
    if not examples:
        books.drop("instances", record | {"text": completion.text}, "no_example_found")
    problems = example_problems(
        examples, cut=completion.finish == "length", limit=spec.max_examples
    )
    kept: list[Example] = []
    for example, problem in zip(examples, problems, strict=True):
        if problem:
            whole = record | {"input": example.input, "output": example.output}
            books.drop("instances", whole, problem)
        else:
            kept.append(example)
    books.kept["instances"] += len(kept)
    return tuple(kept)


def _instances(
    seed: Seed, request: str, generator: str, spec: SelfInstructSpec
) -> Iterator[Instance]:
    name = stable_hash(seed.instruction, length=12)
    draw = random.Random(f"layout {spec.seed} {name}")
    for row, example in enumerate(seed.examples):
        layout = draw.randrange(len(LAYOUTS))
        asked = user_text(seed.instruction, example.input, LAYOUTS[layout])
        yield Instance(
            messages=(
                Message(role="user", content=asked),
                Message(role="assistant", content=example.output),
            ),
            lineage=Lineage(
                source=spec.source,
                row=row,
                task=f"{spec.source}/{name}",
                category="classification" if seed.classification else "generation",
                language=seed.language,
                licence=seed.licence,
                template=f"layout-{layout}",
                generator=generator,
                seed=spec.seed,
                variant=request,
            ),
        )
