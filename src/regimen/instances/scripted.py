"""Generators without a model: prepared answers, and a writer that recombines seed instructions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations

from regimen.instances.synthetic_text import Seed, one_line, task_asked
from regimen.protocols import Completion, Request
from regimen.records import Example

Answer = str | Completion
Answers = Callable[[Request], Answer] | Mapping[str, Answer]


class ScriptedGenerator:
    """A ``Generator`` that answers from a function or from a table.

    Args:
        answers: a function of the request; or texts by request id, where a key that is no id of a
            request is a regular expression that must match the whole id (the first that matches).
        name: what the lineage records.
    """

    def __init__(self, answers: Answers, name: str = "scripted") -> None:
        self._answers, self._name = answers, name

    @property
    def name(self) -> str:
        """What the lineage records as the generator."""
        return self._name

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        """Yield an answer for every request, in order; one without an answer is an error."""
        for request in requests:
            answer = self._answer(request)
            if isinstance(answer, str):
                answer = Completion(text=answer, tokens=len(answer.split()))
            yield request.id, answer

    def _answer(self, request: Request) -> Answer:
        if not isinstance(self._answers, Mapping):
            return self._answers(request)
        if request.id in self._answers:
            return self._answers[request.id]
        for pattern, answer in self._answers.items():
            if re.fullmatch(pattern, request.id):
                return answer
        return Completion(text="", finish="error", error=f"no answer is prepared for {request.id}")


# How two instructions become one, and an instruction that no text model can follow, by language.
_THEN: Mapping[str, str] = {
    "en": "When that is done, also do this:",
    "fr": "Quand c'est fait, fais aussi ceci :",
    "es": "Cuando termines, haz también esto:",
}
_UNSUITED: Mapping[str, str] = {
    "en": "Draw a picture of what the first task describes.",
    "fr": "Dessine une image de ce que la première tâche décrit.",
    "es": "Dibuja una imagen de lo que describe la primera tarea.",
}


def recombining_generator(seeds: Sequence[Seed], name: str = "recombined") -> ScriptedGenerator:
    """A writer for demonstrations: its new instructions are two seeds in a row.

    The answers are those of the two seeds one after the other, so they are right. Every list also
    holds a seed as it is, one that is too short and one that is unsuited, so that a round has
    something to remove. The same request always gets the same answer.
    """
    pairs = {
        _joined(first, second): (first, second)
        for first, second in permutations(seeds, 2)
        if first.language == second.language
    }

    def answer(request: Request) -> Answer:
        prompt = request.messages[-1].text if request.messages else request.text
        if "-instructions-" in request.id:
            return _listed(request, prompt, seeds)
        pair = pairs.get(task_asked(prompt))
        if pair is None:
            error = "the task is not made of two seeds"
            return Completion(text="", finish="error", error=error)
        labels = all(seed.classification for seed in pair)
        if "-kind-" in request.id:
            return "yes" if labels else "no"
        return _examples(*pair, labels)

    return ScriptedGenerator(answer, name)


def _joined(first: Seed, second: Seed) -> str:
    then = _THEN.get(first.language, _THEN["en"])
    return f"{one_line(first.instruction)} {then} {one_line(second.instruction)}"


def _listed(request: Request, prompt: str, seeds: Sequence[Seed]) -> str:
    """A list in the language of the seeds that the prompt shows: pairs, and three bad entries."""
    draw = random.Random(f"recombine {request.id} {request.seed}")
    shown = [seed for seed in seeds if f". {one_line(seed.instruction)}\n" in prompt]
    language = shown[0].language if shown else seeds[0].language
    pool = [seed for seed in seeds if seed.language == language]
    entries = []
    for _ in range(4):
        first, second = draw.sample(pool, 2) if len(pool) > 1 else pool * 2
        entries.append(_joined(first, second))
    copied = one_line(draw.choice(pool).instruction)
    entries += [copied, " ".join(copied.split()[:2]), _UNSUITED.get(language, _UNSUITED["en"])]
    draw.shuffle(entries)
    numbers = re.findall(r"(?m)^(\d+)\.$", prompt)
    start = int(numbers[-1]) if numbers else 1
    lines = [f" {entries[0]}"]
    lines += [f"{start + n}. {entry}" for n, entry in enumerate(entries[1:], start=1)]
    return "\n".join(lines)


def _examples(first: Seed, second: Seed, labels: bool) -> str:
    lines: list[str] = []
    pairs = zip(first.examples, second.examples, strict=False)
    for number, (one, other) in enumerate(pairs, start=1):
        example = _both(one, other, ", " if labels else "\n")
        if labels:
            lines += [f"Label: {example.output}", f"Input: {example.input}"]
            continue
        lines.append(f"Example {number}")
        lines += [f"Input: {example.input}"] if example.input else []
        lines.append(f"Output: {example.output}")
    return "\n".join(lines)


def _both(one: Example, other: Example, between: str) -> Example:
    given = "\n".join(text for text in (one.input.strip(), other.input.strip()) if text)
    return Example(input=given, output=f"{one.output.strip()}{between}{other.output.strip()}")
