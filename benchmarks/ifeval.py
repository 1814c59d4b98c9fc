"""How far our verdicts on IFEval agree with stored ones, and every one that differs.

    python benchmarks/ifeval.py --data DIR [--quick] [--json]

DIR holds `ifeval`, the questions of M-IFEval, and `ifeval-responses`, answers with the verdicts of
its own program. A full run writes benchmarks/results/ifeval.json and docs/ifeval.md; both name
questions by their keys and hold no text of theirs.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from command import carry_out, parser
from ifeval_page import write_ifeval_page
from regimen import __version__, console
from regimen.errors import DataError
from regimen.judging.ifeval.scorers import accuracy, verdicts
from regimen.records import Constraint, Item, Message
from result import machine
from stored import read_whole

NAME = "ifeval"
QUICK_ITEMS = 60
QUESTIONS = "ifeval/{}_input_data.jsonl"
ANSWERS = "ifeval-responses/evaluations__{}_input_response_data_{}__eval_results_strict.jsonl"
FILES = (
    ("en", "gpt-4o-2024-08-06"),
    ("en", "Qwen__Qwen2.5-0.5B-Instruct-GPTQ-Int4"),
    ("ja", "Qwen__Qwen2.5-0.5B-Instruct-GPTQ-Int4"),
)
MOST = ("at least", "以上")


@dataclass(frozen=True, slots=True)
class Answered:
    """A question as an item, an answer to it, and the stored verdicts on its constraints."""

    key: int
    item: Item
    answer: str
    said: tuple[bool, ...]


def item_of(language: str, values: Mapping[str, Any]) -> Item:
    """A question as an item; null arguments are gaps of the table they were stored in."""
    pairs = zip(values["instruction_id_list"], values["kwargs"], strict=True)
    return Item(
        suite=f"ifeval_{language}",
        messages=(Message(role="user", content=values["prompt"]),),
        references=(),
        constraints=tuple(
            Constraint(kind=kind, arguments={k: v for k, v in given.items() if v is not None})
            for kind, given in pairs
        ),
    )


def stored(data: Path, language: str, model: str) -> list[Answered]:
    """Questions with their answers. Rows belong together by their order.

    Eight Japanese prompts were worded otherwise when the model was asked; their kinds are equal.

    Raises:
        DataError: as ``read_whole``; ``rows-differ``.
    """
    asked = read_whole(data / QUESTIONS.format(language))
    answered = read_whole(data / ANSWERS.format(language, model))
    kinds = [[row["instruction_id_list"] for row in some] for some in (asked, answered)]
    if kinds[0] != kinds[1]:
        raise DataError(
            "Questions and answers are not the same rows.",
            slug="rows-differ",
            got=f"{len(asked)} questions in {language!r}, {len(answered)} answers of {model}",
            expected="the same kinds of instruction, row by row",
        )
    return [
        Answered(
            key=question["key"],
            item=item_of(language, question),
            answer=row["response"],
            said=tuple(row["follow_instruction_list"]),
        )
        for question, row in zip(asked, answered, strict=True)
    ]


def contradicted(constraint: Constraint, answer: str, said: bool) -> bool:
    """Whether counting the text in the answer shows that the stored verdict is wrong."""
    given, name = constraint.arguments, constraint.kind.split(":", 1)[1]
    if name == "keywords:existence":
        return not said and all(word in answer for word in given["keywords"])
    if name == "keywords:frequency" and given["relation"] in MOST:
        return not said and answer.count(given["keyword"]) >= given["frequency"]
    if name == "keywords:letter_frequency" and given["let_relation"] in MOST:
        found = answer.lower().count(given["letter"].lower())
        return said != (found >= given["let_frequency"])
    return False


def compared(language: str, model: str, answered: Sequence[Answered]) -> dict[str, Any]:
    """Our verdicts beside the stored ones: agreement, accuracies, every disagreement."""
    start = time.perf_counter()
    strict = [verdicts(one.item, one.answer) for one in answered]
    seconds = time.perf_counter() - start
    loose = [verdicts(one.item, one.answer, loose=True) for one in answered]
    differ = []
    for one, ours in zip(answered, strict, strict=True):
        for constraint, own, said in zip(one.item.constraints, ours, one.said, strict=True):
            if own != said:
                wrong = contradicted(constraint, one.answer, said)
                differ.append((one.key, constraint.kind, constraint.arguments, own, said, wrong))
    columns = ("key", "kind", "arguments", "ours", "theirs", "contradicted")
    instructions = sum(map(len, strict))
    return {
        "language": language,
        "model": model.removeprefix("Qwen__"),
        "items": len(answered),
        "instructions": instructions,
        "agreement": 1 - len(differ) / instructions,
        "contradicted": sum(
            contradicted(constraint, one.answer, said)
            for one in answered
            for constraint, said in zip(one.item.constraints, one.said, strict=True)
        ),
        "kinds": dict(
            sorted(Counter(c.kind for a in answered for c in a.item.constraints).items())
        ),
        "strict": asdict(accuracy(strict)),
        "loose": asdict(accuracy(loose)),
        "stored": asdict(accuracy([one.said for one in answered])),
        "seconds": seconds,
        "disagreements": [dict(zip(columns, row, strict=True)) for row in differ],
    }


def bench(data: Path, *, quick: bool) -> dict[str, Any]:
    """Compare all files and put together the result."""
    where = machine()
    found = []
    for language, model in FILES:
        answered = stored(data, language, model)[: QUICK_ITEMS if quick else None]
        found.append(compared(language, model, answered))
    differ = sum(len(row["disagreements"]) for row in found)
    instructions = sum(row["instructions"] for row in found)
    return {
        "name": NAME,
        "versions": {"regimen": __version__, "py3langid": version("py3langid")},
        "machine": where,
        "quick": quick,
        "rows": found,
        "instructions": instructions,
        "agreement": 1 - differ / instructions,
        "ratios": {},
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the agreement and every disagreement."""
    body = [
        (row["language"], row["model"], str(row["instructions"]), f"{row['agreement']:.4f}")
        for row in result["rows"]
    ]
    console.table(NAME, ("language", "answers", "instructions", "agreement"), body)
    for row in result["rows"]:
        for one in row["disagreements"]:
            words = f"{row['model']} {one['key']} {one['kind']}"
            console.line(f"  {words}: ours {one['ours']}, stored {one['theirs']}")


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; the exit status."""
    options = parser(
        "Our verdicts on IFEval beside stored ones.",
        data="folder of the two folders",
        quick=f"{QUICK_ITEMS} items of each file",
    ).parse_args(argv)
    return carry_out(
        options, lambda: bench(options.data, quick=options.quick), show, write_ifeval_page
    )


if __name__ == "__main__":
    sys.exit(main())
