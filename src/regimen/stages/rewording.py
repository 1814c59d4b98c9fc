"""Rewording in ``build``: tasks, a generator, the ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from regimen.curation.ledger import Ledger
from regimen.errors import DataError, near
from regimen.instances.compression import open_text
from regimen.instances.rewording.rounds import reword_tasks
from regimen.instances.rewording.wanted import RewordingSpec
from regimen.instances.scripted import ScriptedGenerator
from regimen.protocols import Generator
from regimen.records import Task
from regimen.settings.generators import GeneratorSettings
from regimen.settings.rewording import RewordingSettings
from regimen.stages.synthesis import make_generator

GENERATOR_FIX = "Look at the generator: the endpoint's log, or the length of the model's context."


def reword(
    tasks: Sequence[Task],
    section: RewordingSettings,
    seed: int,
    ledger: Ledger,
    generator: Generator | None = None,
) -> list[Task]:
    """The tasks, in their order, with the wordings that pass the checks added.

    The ledger gets one step, ``reword``: every wording that is wanted is kept, removed with one of
    the reasons of ``instances.rewording.checks``, or failed.

    Args:
        tasks: whose templates and definitions are reworded.
        section: what to ask for, and whom.
        seed: of the requests, and of the rows whose outputs must not come into a prompt.
        ledger: of the build.
        generator: who writes, where it is not the one that ``section`` names.

    Raises:
        DataError: the file of prepared answers cannot be used (``scripted-answers``).
    """
    spec = RewordingSpec(
        paraphrases=section.paraphrases,
        languages=section.languages,
        templates=section.templates,
        definitions=section.definitions,
        temperature=section.generator.temperature,
        max_new_tokens=section.generator.max_new_tokens,
        seed=seed,
    )
    with ledger.step("reword") as step:
        found = reword_tasks(tasks, generator or _generator(section.generator), spec)
        step.enter(found.wanted)
        step.keep(found.kept)
        for one in found.refused:
            if one.outcome == "failed":
                step.fail(one.where, one.reason, one.detail, GENERATOR_FIX)
            else:
                record = {"wording": one.where, "language": one.language, "text": one.text}
                step.remove(record, one.reason, one.detail)
    return list(found.tasks)


def _generator(section: GeneratorSettings) -> Generator:
    if section.scripted is None:
        return make_generator(section, [])
    return scripted_answers(Path(section.scripted))


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
