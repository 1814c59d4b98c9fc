"""A task with everything that a task can have, and what ``regimen show`` prints of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from regimen.cli import main
from regimen.layout import width_of

COLOURS = ("red", "green", "blue")
DEFINITION = "Say which colour the thing has."


def colours(rows: int = 30, **more: Any) -> dict[str, Any]:
    """A task with everything that a task can have."""
    things = [f"thing number {n} is {COLOURS[n % 3]}" for n in range(rows)]
    examples = [
        {"input": f"a {c} door", "output": c, "explanation": f"It says {c}."} for c in COLOURS[:2]
    ]
    task = {
        "name": "colours",
        "category": "reading",
        "definition": DEFINITION,
        "definitions": {"es": "Di de qué color es la cosa.", "zh": "说出这个东西的颜色。"},
        "options": list(COLOURS),
        "templates": [
            {"name": "plain", "input": "Which colour? {{ input }}"},
            {"name": "fr", "input": "De quelle couleur ? {{ input }}", "language": "fr"},
            {"name": "broken", "input": "{{ shade }}: {{ input }}"},
            {
                "name": "turned",
                "input": "Name a thing that is {{ output }}.",
                "output": "{{ input }}",
                "inverted": True,
            },
        ],
        "positive": examples,
        "negative": [{"input": "a red cup", "output": "cup", "explanation": "No colour."}],
        "instances": [
            {"input": text, "output": COLOURS[n % 3], "rationale": f"Row {n} says so."}
            for n, text in enumerate(things)
        ],
    }
    return task | more


def write(path: Path, task: dict[str, Any]) -> Path:
    """The task, or settings, as a YAML file."""
    path.write_text(yaml.safe_dump(task, allow_unicode=True))
    return path


def run(*arguments: object) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code  # type: ignore[return-value]


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[list[str], Any]:
    """What ``regimen show`` prints, as lines that fit, and its result."""
    assert run("show", *arguments, "--json") == 0
    *lines, result = capsys.readouterr().out.splitlines()
    assert max(map(width_of, lines)) <= 100
    return lines, json.loads(result)
