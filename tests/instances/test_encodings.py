"""One function writes every prompt: pytest tests/instances/test_encodings.py."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from regimen.instances.demonstrations import pick_demonstrations
from regimen.instances.encodings import FormattingSpec, natural_instructions, user_message
from regimen.records import Example, Task

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


def published(definition: str, shots: Sequence[tuple[str, dict[str, Any]]], query: str) -> str:
    """The encoding again, as its paper's code goes about it: strings that grow, one check each."""

    def stop(text: str) -> str:
        return text + "." if text[-1] not in string.punctuation else text

    source = stop("Definition: " + definition.strip()) + "\n\n"
    numbers = {"Positive": 0, "Negative": 0}
    for kind, shot in shots:
        numbers[kind] += 1
        text = f" {kind} Example {numbers[kind]} -\n"
        text = stop(text + f"Input: {shot['input'].strip()}") + "\n"
        text = stop(text + f" Output: {shot['output'].strip()}") + "\n"
        if shot.get("explanation"):
            text = stop(text + f" Explanation: {shot['explanation'].strip()}") + "\n"
        source += text + "\n"
    source += "Now complete the following example -\n"
    return stop(source + f"Input: {query.strip()}") + "\nOutput: "


@pytest.mark.realdata
def test_real_tasks_are_encoded_as_published(shared_data: Path) -> None:
    spec = FormattingSpec(
        encoding="natural_instructions", positive=2, negative=2, explanations=True
    )
    seen = 0
    for file in sorted((shared_data / "super-natural-instructions/tasks").glob("*.json")):
        data = json.loads(file.read_text(encoding="utf-8"))
        sides = {
            kind: [
                Example(
                    input=str(shot["input"]),
                    output=str(shot["output"]),
                    explanation=shot.get("explanation", ""),
                )
                for shot in data[f"{kind} Examples"]
            ]
            for kind in ("Positive", "Negative")
        }
        task = Task(name=file.stem, definition=data["Definition"][0])
        for row in data["Instances"][:20]:
            query = str(row["input"])
            positive = pick_demonstrations(sides["Positive"], query, 2, None)
            negative = pick_demonstrations(sides["Negative"], query, 2, None)
            shots = [("Positive", shot) for shot in positive]
            shots += [("Negative", shot) for shot in negative]
            plain = [
                (k, {"input": s.input, "output": s.output, "explanation": s.explanation})
                for k, s in shots
            ]
            ours = user_message(task, query, spec, positive, negative)
            assert ours == published(data["Definition"][0], plain, query)
            seen += 1
    assert seen > 1000
