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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from regimen.instances.synthetic_text import (
    LAYOUTS,
    UNSUITED,
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

Step = Literal["instructions", "instances"]
STEPS: tuple[Step, ...] = ("instructions", "instances")

TooClose = Callable[[str], str | None]
"""Takes an instruction; returns the earlier one that it is too close to, or None and remembers it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfInstructSpec:
    """How a round is run; the numbers are the paper's.

    ``instructions`` are asked for, ``new_per_prompt`` at a time, after ``seeds_per_prompt`` seeds
    and ``machine_per_prompt`` instructions of earlier rounds. With ``as_text`` prompts are plain
    text to continue, for a base model without a chat template.
    """

    instructions: int = 28
    new_per_prompt: int = 7
    seeds_per_prompt: int = 6
    machine_per_prompt: int = 2
    temperature: float = 0.7
    top_p: float = 0.5
    instruction_tokens: int = 1024
    example_tokens: int = 350
    min_words: int = 4
    max_words: int = 150
    max_examples: int = 5
    shown_examples: int = 4
    unsuited: tuple[str, ...] = UNSUITED
    source: str = "self_instruct"
    seed: int = 0
    round: int = 0
    as_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A candidate that is not used, with its reason."""

    step: Step
    record: Mapping[str, str]
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A request that brought nothing usable."""

    step: Step
    where: str
    error: str
    got: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round brought. ``seeds`` are the accepted instructions: the next round's machine pool.

    ``entered`` and ``kept`` count units per step.
    """

    seeds: tuple[Seed, ...]
    instances: tuple[Instance, ...]
    dropped: tuple[Dropped, ...]
    failed: tuple[Failed, ...]
    entered: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ``ValueError`` unless in = kept + removed + failed in both steps."""
        for step in STEPS:
            lost = sum(d.step == step for d in self.dropped)
            lost += sum(f.step == step for f in self.failed)
            if self.entered.get(step, 0) != self.kept.get(step, 0) + lost:
                raise ValueError(f"Self-Instruct step {step!r} does not reconcile")


@dataclass(slots=True)
class _Books:
    """The counts of a round while it runs."""

    dropped: list[Dropped] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    entered: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def drop(self, step: Step, record: Mapping[str, str], problem: str) -> None:
        reason, _, detail = problem.partition(": ")
        self.dropped.append(Dropped(step=step, record=record, reason=reason, detail=detail))

    def fail(self, step: Step, request: Request, error: str, got: str, fix: str = "") -> None:
        self.entered[step] += 1
        self.failed.append(Failed(step=step, where=request.id, error=error, got=got, fix=fix))


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
    books = _Books()
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


def _request(spec: SelfInstructSpec, name: str, prompt: str, **sampling: object) -> Request:
    draw = int(stable_hash([spec.seed, spec.round, name], length=7), 16)
    base = Request(id=f"round{spec.round}-{name}", seed=draw)
    if spec.as_text:
        base = replace(base, text=prompt)
    else:
        base = replace(base, messages=(Message(role="user", content=prompt),))
    return replace(base, **sampling)  # type: ignore[arg-type]


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
    books: _Books,
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
        request = _request(
            spec,
            f"instructions-{number:05d}",
            instruction_prompt(shown, spec.new_per_prompt),
            max_new_tokens=spec.instruction_tokens,
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
    licences = sorted({parent.licence for parent in parents})
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
    books: _Books,
) -> list[Seed]:
    half = spec.shown_examples // 2
    shown = [seed for seed in seeds if seed.classification][:half]
    shown += [seed for seed in seeds if not seed.classification][: spec.shown_examples - len(shown)]
    requests = [
        _request(spec, f"kind-{n:05d}", kind_prompt(seed.instruction, shown), max_new_tokens=3)
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
    books: _Books,
) -> list[tuple[Seed, str]]:
    """The tasks with the examples that are kept, and the request that brought them."""
    requests = []
    for number, task in enumerate(tasks):
        alike = [s for s in seeds if s.classification == task.classification and s.examples]
        prompt = examples_prompt(
            task.instruction, task.classification, alike[: spec.shown_examples]
        )
        requests.append(
            _request(
                spec,
                f"examples-{number:05d}",
                prompt,
                max_new_tokens=spec.example_tokens,
                stop=("\nTask:",),
            )
        )
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
    task: Seed, request: Request, completion: Completion, spec: SelfInstructSpec, books: _Books
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
