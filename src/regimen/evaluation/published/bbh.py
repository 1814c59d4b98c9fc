"""BIG-Bench Hard (Suzgun et al. 2022, 2210.09261): a JSON file of examples for each task.

A task is ``<task>.json`` with ``examples`` of ``input`` and ``target``; its chain-of-thought
prompt ``<task>.txt``, beside it or in ``cot-prompts``, has a description and three worked examples.
The description becomes the definition; the examples become demonstrations, with their steps or
with the answers alone. A task without its prompt is asked without both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regimen.evaluation.published.reading import (
    SIGNATURES,
    Found,
    SuiteSpec,
    asked_item,
    not_text,
    suite_files,
    suite_rows,
    text_of,
)
from regimen.instances.compression import open_text, suffixes
from regimen.instances.formats import suffixes_removed
from regimen.instances.readers import RowFailure
from regimen.records import Example

EXPECTED = "a JSON object with 'examples', each with input and target"
STEPS = 'Think step by step. End with "So the answer is ", the answer and a full stop.'
PROMPT_FOLDERS = (".", "cot-prompts", "../cot-prompts")

_RULE = "-----\n"
_QUESTION = re.compile(r"(?:^|\n\n)Q: ")
_ANSWER = "\nA: "
_THINK = re.compile(r"^Let's think step by step\.\s*")
_FINAL = re.compile(r"\bSo the answer is (.+?)\.?\s*$", re.DOTALL)
# "(A) text" and "- Yes" below a line that says "Options:".
_OPTION = re.compile(r"^(?:(\([A-Z]\))|-\s+(.+?))(?:\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What a task's prompt file holds."""

    description: str = ""
    examples: tuple[Example, ...] = ()


def read_bbh(spec: SuiteSpec) -> Iterator[Found]:
    """The examples of a task's file, or of all tasks of a folder in the order of their names.

    Raises:
        DataError: as ``suite_files`` and ``suite_rows``.
    """
    for file in suite_files(spec):
        if suffixes(file)[0] != ".json":
            continue
        task = suffixes_removed(file)
        prompt = _prompt(file, spec)
        parts = (prompt.description, STEPS if spec.chain_of_thought else "")
        for row in suite_rows(file, spec, SIGNATURES["bbh"], EXPECTED):
            if isinstance(row, RowFailure):
                yield row
                continue
            text, target = text_of(row.values["input"]), text_of(row.values["target"])
            if not text.strip() or not target.strip():
                yield not_text(row, "target" if text.strip() else "input")
                continue
            yield asked_item(
                spec,
                row,
                text.strip(),
                (target.strip(),),
                task=task,
                definition="\n".join(part for part in parts if part),
                demonstrations=prompt.examples,
                labels=("Q: ", "A: "),
                choices=options_in(text, target.strip()),
                category=task,
                family="BIG-Bench Hard",
            )


def options_in(text: str, target: str) -> tuple[str, ...]:
    """The labels or words under ``Options:`` in an input; none where the target is not among them.

    >>> options_in("Which?\\nOptions:\\n(A) a cat\\n(B) a dog", "(B)")
    ('(A)', '(B)')
    """
    listed = text.partition("Options:")[2]
    lines = [line.strip() for line in listed.splitlines() if line.strip()]
    found = []
    for line in lines:
        option = _OPTION.match(line)
        if option is not None:
            found.append(option[1] or line.removeprefix("-").strip())
    return tuple(found) if target in found and len(set(found)) == len(found) else ()


def prompt_file(file: Path) -> Path | None:
    """The chain-of-thought prompt of a task's file, where it is there."""
    name = f"{suffixes_removed(file)}.txt"
    places = (file.parent / folder / name for folder in PROMPT_FOLDERS)
    return next((place for place in places if place.is_file()), None)


def _prompt(file: Path, spec: SuiteSpec) -> _Prompt:
    """Description and worked examples of a task, where its prompt file is there."""
    place = prompt_file(file)
    if place is None:
        return _Prompt()
    with open_text(place) as opened:
        text = opened.read().replace("\r\n", "\n")
    description, *blocks = _QUESTION.split(text.rpartition(_RULE)[2])
    found = []
    for block in blocks:
        question, _, answer = block.partition(_ANSWER)
        final = _FINAL.search(answer)
        if final is None:
            continue
        steps = _THINK.sub("", answer.strip())
        found.append(
            Example(
                input=question.strip(), output=steps if spec.chain_of_thought else final[1].strip()
            )
        )
    return _Prompt(description.strip(), tuple(found))
