"""Who answers generation requests in ``build``, by the settings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regimen import console
from regimen.errors import DataError, near
from regimen.instances.compression import open_text
from regimen.instances.scripted import ScriptedGenerator, recombining_generator
from regimen.instances.synthetic_text import Seed
from regimen.protocols import Completion, Generator, Request
from regimen.settings.generators import GeneratorSettings

STARTER = "starter"


def make_generator(section: GeneratorSettings, seeds: list[Seed]) -> Generator:
    """The generator that the settings name; the starter's recombines ``seeds``.

    Raises:
        DataError: the file of prepared answers cannot be used (``scripted-answers``).
    """
    if section.endpoint is not None:
        from regimen.generation.endpoints import Endpoint, EndpointGenerator

        key = os.environ.get(section.api_key_env, "") if section.api_key_env else ""
        endpoint = Endpoint(
            url=section.endpoint,
            model=str(section.model),
            api_key=key,
            concurrency=section.concurrency,
            timeout=section.timeout,
        )
        return EndpointGenerator(endpoint, cache=Path(".cache") / "responses")
    if section.model is not None:
        from regimen.stages.models import LazyGenerator, load

        path = section.model
        return LazyGenerator(path, lambda: load(path))
    if section.scripted is not None and section.scripted != STARTER:
        return scripted_answers(Path(section.scripted))
    return recombining_generator(seeds)


@dataclass(frozen=True, slots=True)
class Watched:
    """A generator whose progress is shown; ``what`` says what it does."""

    generator: Generator
    what: str

    @property
    def name(self) -> str:
        """The generator's."""
        return self.generator.name

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        """As the generator does."""
        with console.progress(len(requests), self.what, "requests") as bar:
            for found in self.generator.generate(requests):
                yield found
                bar.advance()


def scripted_answers(path: Path) -> ScriptedGenerator:
    """The generator of a JSON file that maps request ids, or patterns of them, to answers.

    Raises:
        DataError: the file is not there, or is no JSON object of texts, or an id is no pattern
            (``scripted-answers``).
    """
    if not path.is_file():
        beside = [one.name for one in path.parent.glob("*.json")]
        raise _no_answers(
            path, f"no such file. {near(path.name, beside) if beside else ''}".strip()
        )
    with open_text(path) as text:
        content = text.read()
    try:
        answers = json.loads(content)
    except json.JSONDecodeError as error:
        raise _no_answers(path, f"line {error.lineno}: {error.msg}") from error
    if not isinstance(answers, dict) or not all(isinstance(a, str) for a in answers.values()):
        raise _no_answers(path, f"a {type(answers).__name__}, or an answer that is no text")
    for name in answers:
        try:
            re.compile(name)
        except re.error as error:
            raise _no_answers(path, f"{name!r}, which is no pattern: {error}") from error
    return ScriptedGenerator(answers, name=path.name)


def _no_answers(path: Path, got: str) -> DataError:
    return DataError(
        "A file of prepared answers cannot be used.",
        slug="scripted-answers",
        got=got,
        expected='one JSON object, {"id of a request": "answer", ...}',
        fix="Write the answers so; an id may be a regular expression, with \\\\ before brackets.",
        where=str(path),
    )
