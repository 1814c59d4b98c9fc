"""Templates and rows that build.py renders. Standard library only: a peer's environment reads it.

Four kinds of templates, three of each, over rows of the sizes of published tasks: a sentence with
its label, a passage with conditions and loops, prompt and answer in one source with choices, and
a passage with options below it. A tenth of the words has letters beyond ASCII.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

SEPARATOR = "|||"
SEED = 7


@dataclass(frozen=True, slots=True)
class Source:
    """A template: sources of prompt, answer and choices.

    Where ``answer`` is empty, ``prompt`` writes both, with ``|||`` between them.
    """

    prompt: str
    answer: str = "{{ output }}"
    choices: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """Templates of one kind; the rows have passages of so many words."""

    name: str
    words: tuple[int, int]
    sources: tuple[Source, ...]


_LETTERED = "{% for one in answer_choices %}{{ 'ABCDEFGH'[loop.index0] }}. {{ one }}\n{% endfor %}"
_LISTED = "{% for one in options %}\n- {{ one }}{% endfor %}"

KINDS = (
    Kind(
        "short",
        (8, 30),
        (
            Source("{{ passage }}\nWhat is the topic of this text?"),
            Source("Name the topic.\n\nText: {{ passage }}\nTopic:"),
            Source("{{ question }} {{ passage }}", "It is {{ output }}."),
        ),
    ),
    Kind(
        "middle",
        (60, 160),
        (
            Source(
                "{% if title %}{{ title | upper }}\n\n{% endif %}{{ passage }}\n"
                "{% for fact in facts %}\n{{ loop.index }}. {{ fact | capitalize }}{% endfor %}\n\n"
                "{{ question }}"
            ),
            Source(
                "Read the {% if facts | length > 3 %}long{% else %}short{% endif %} notes on "
                "{{ title | default('nothing', true) }}:\n{{ facts | join('; ') }}.\n\n"
                "{{ passage | trim }}\n\nQuestion: {{ question }}\nAnswer:",
                "{% if label == 0 %}First: {% endif %}{{ output | trim }}",
            ),
            Source(
                "{% set heading = title or 'Untitled' %}{{ heading }}\n{{ passage }}\n"
                "{%- for fact in facts if fact | length > 12 %}\n* {{ fact }}\n"
                "{%- else %}\nNo notes.{% endfor %}\nQ: {{ question }}\nA:"
            ),
        ),
    ),
    Kind(
        "joint",
        (60, 160),
        (
            Source(
                "{{ passage }}\n\nUsing only the text above and what is commonly known, answer "
                'the question "{{ question }}" with one of: {{ answer_choices | join(", ") }}.\n'
                "||| {{ answer_choices[label] }}",
                "",
                "{{ options | join(' ||| ') }}",
            ),
            Source(
                "Here is a passage{% if title %} on {{ title }}{% endif %}. Read it with care: a "
                "question with lettered answers follows.\n\n{{ passage }}\n\n{{ question }}\n\n"
                + _LETTERED
                + "\nGive the letter and the answer.\n|||\n"
                "{{ 'ABCDEFGH'[label] }}. {{ answer_choices[label] }}",
                "",
                "{{ options | join(' ||| ') }}",
            ),
            Source(
                "{% if label >= 0 %}Suppose that {{ passage }}\n\nDoes it follow that "
                "{{ question | lower }} {{ answer_choices[:-1] | join(', ') }} or "
                "{{ answer_choices[-1] }}?\n||| {{ answer_choices[label] }}{% endif %}",
                "",
                "Always ||| Sometimes ||| Seldom ||| Never",
            ),
        ),
    ),
    Kind(
        "options",
        (40, 120),
        (
            Source("{{ passage }}\n\n{{ question }}\n\nOPTIONS:" + _LISTED),
            Source("{{ question }}\n" + _LISTED + "\n\nText: {{ passage }}\nAnswer:"),
            Source(
                "Pick one.\n{{ passage }}\nQ: {{ question }}\nChoose from: "
                "{{ options | join(' / ') }}",
                "{{ options[label] }}",
            ),
        ),
    ),
)


def vocabulary(rng: random.Random, size: int = 4_000) -> list[str]:
    """Made-up words of two to nine letters, a tenth of them with an accent."""
    words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 9))) for _ in range(size)]
    return [word.replace("e", "é").replace("a", "ä") if i % 10 == 0 else word
            for i, word in enumerate(words)]  # fmt: skip


def draw_rows(kind: Kind, count: int, seed: int = SEED) -> list[dict[str, Any]]:
    """``count`` rows for a kind. Column ``template`` is the place of the row's template."""
    rng = random.Random(f"{seed} {kind.name}")
    words = vocabulary(rng)

    def text(few: int, many: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(few, many)))

    rows = []
    for number in range(count):
        options, label = rng.sample(words, 4), rng.randint(0, 3)
        row: dict[str, Any] = {
            "passage": text(*kind.words),
            "question": text(6, 14).capitalize() + "?",
            "output": options[label],
            "label": label,
            "template": number % len(kind.sources),
        }
        if kind.name != "short":
            row |= {"title": text(1, 4), "options": options}
            row["facts"] = [text(1, 6) for _ in range(rng.randint(1, 5))]
        rows.append(row)
    return rows


def write_rows(folder: Path, count: int) -> None:
    """A file of rows for each kind."""
    for kind in KINDS:
        lines = [json.dumps(row, ensure_ascii=False) for row in draw_rows(kind, count)]
        (folder / f"{kind.name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_rows(folder: Path, kind: Kind) -> list[dict[str, Any]]:
    """The rows of a kind."""
    with (folder / f"{kind.name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def digest(texts: Sequence[tuple[str, ...]]) -> str:
    """Hash of prompts and answers in their order."""
    found = blake2b(digest_size=16)
    for prompt, answer in texts:
        found.update(f"{len(prompt)} {prompt} {len(answer)} {answer}\n".encode())
    return found.hexdigest()
