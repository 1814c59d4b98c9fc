"""One function writes every prompt: pytest tests/instances/test_encodings.py."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regimen.instances.encodings import (
    TK_INSTRUCT,
    FormattingSpec,
    natural_instructions,
    user_message,
)
from regimen.instances.formatting import task_instances
from regimen.instances.natural_tasks import natural_instructions_task
from regimen.instances.templates import Rendering, RenderJob
from regimen.instances.words import normalise
from regimen.records import Example, Instance, Task

TASK = Task(
    name="t",
    definition=" Name the colour. ",
    positive=(Example(input="sky", output="blue", explanation="it is day"),),
    negative=(Example(input="snow", output="black"),),
)


def test_a_task_without_inputs_is_its_definition() -> None:
    assert user_message(TASK, "", FormattingSpec()) == "Name the colour."
    assert user_message(TASK, "sea", FormattingSpec(definition=False)) == "sea"


def test_labels_are_settings() -> None:
    spec = FormattingSpec(
        explanations=True,
        input_label="Q: ",
        output_label="A: ",
        explanation_label="Why: ",
        negative_label="Wrong. ",
    )
    assert user_message(TASK, "sea", spec, TASK.positive, TASK.negative) == (
        "Name the colour.\nQ: sky\nA: blue\nWhy: it is day\nWrong. Q: snow\nA: black\nQ: sea\nA:"
    )


def test_the_bare_encoding_adds_one_line_break_and_nothing_else() -> None:
    assert user_message(TASK, "the sea ", FormattingSpec()) == "Name the colour.\nthe sea "


def test_the_definition_may_follow_the_input() -> None:
    spec = FormattingSpec(order="input_first")
    assert user_message(TASK, "sea", spec) == "sea\nName the colour."
    assert user_message(TASK, "", spec) == "Name the colour."
    assert user_message(TASK, "sea", FormattingSpec(order="input_first", definition=False)) == "sea"
    assert user_message(TASK, "sea", spec, TASK.positive) == (
        "Input: sky\nOutput: blue\nInput: sea\nName the colour.\nOutput:"
    )


def test_published_encoding_without_definition_and_explanation() -> None:
    spec = FormattingSpec(encoding="natural_instructions", definition=False)
    assert user_message(TASK, "sea?", spec, TASK.positive) == (
        " Positive Example 1 -\nInput: sky.\n Output: blue.\n\n"
        "Now complete the following example -\nInput: sea?\nOutput: "
    )


def test_only_ascii_punctuation_stands_for_the_full_stop() -> None:
    task = Task(name="t", definition="命名。")
    prompt = natural_instructions(task, "")
    assert prompt == (
        "Definition: 命名。.\n\nNow complete the following example -\nInput: .\nOutput: "
    )


def published(
    data: dict[str, Any], query: str, encoding: dict[str, Any], words: int, skip: Sequence[str]
) -> str:
    """The encoding again, as its paper's code goes about it: strings that grow, one check each.

    ``words`` bounds the source; examples whose input is in ``skip`` are left out.
    """

    def stop(text: str) -> str:
        return text + "." if text[-1] not in string.punctuation else text

    task_input = "Now complete the following example -\n"
    task_input = stop(task_input + f"Input: {query.strip()}") + "\nOutput: "
    definition = ""
    if encoding["definition"]:
        definition = stop("Definition: " + data["Definition"][0].strip()) + "\n\n"
    shown = ""
    for kind, number in (("Positive", encoding["positive"]), ("Negative", encoding["negative"])):
        usable = [e for e in data[f"{kind} Examples"] if normalise(e["input"]) not in skip]
        for index, shot in enumerate(usable[:number]):
            text = f" {kind} Example {index + 1} -\n"
            text = stop(text + f"Input: {shot['input'].strip()}") + "\n"
            text = stop(text + f" Output: {shot['output'].strip()}") + "\n"
            if encoding["explanations"] and "explanation" in shot:
                text = stop(text + f" Explanation: {shot['explanation'].strip()}") + "\n"
            text += "\n"
            if len((definition + shown + text + task_input).split()) > words:
                break
            shown += text
    return definition + shown + task_input


def nothing(jobs: Iterable[RenderJob]) -> list[Rendering]:
    assert not list(jobs)
    return []


@pytest.mark.realdata
@pytest.mark.parametrize("words", [10**9, 128])
def test_real_tasks_are_encoded_as_published_in_all_encodings(
    shared_data: Path, words: int
) -> None:
    """Every instance of every real task, also under a budget; a demonstration that is the query
    itself is not shown, and those are few."""
    whole = [
        {"definition": d, "positive": p, "negative": n, "explanations": e}
        for d in (True, False)
        for p in (0, 1, 2)
        for n in (0, 2)
        for e in (True, False)
    ]
    seen, leaking = 0, 0
    for place, file in enumerate(
        sorted((shared_data / "super-natural-instructions").rglob("*.json"))
    ):
        data = json.loads(file.read_text(encoding="utf-8"))
        (task,) = natural_instructions_task(data, name=file.stem)
        assert isinstance(task, Task)
        encoding = whole[place % len(whole)]
        spec = FormattingSpec(
            encoding="natural_instructions", max_characters=10**9, max_tokens=words, **encoding
        )
        mixed = replace(spec, encoding="tk_instruct")
        count = lambda text: len(text.split())  # noqa: E731
        rows = len(task.instances)
        for chosen in (spec, mixed):
            taken = set()
            for made in task_instances([task], chosen, rows, 3, nothing, count):
                assert isinstance(made, Instance)
                query = str(data["Instances"][made.lineage.row]["input"])
                same = [normalise(query)]
                own = [encoding] if chosen is spec else [dict(one) for one in TK_INSTRUCT]
                ours = made.messages[0].text
                matches = [
                    n
                    for n, one in enumerate(own)
                    if ours == published(data, query, one, words, same)
                ]
                assert matches, (file.name, made.lineage)
                taken.update(matches)
                first = [e["input"] for e in data["Positive Examples"][:2]]
                leaking += normalise(query) in {normalise(text) for text in first}
                seen += 1
            assert chosen is spec or taken == set(range(5)) or rows < 40
    assert seen > 25_000
    assert leaking < 0.02 * seen
