"""GSM8K (Cobbe et al. 2021, 2110.14168): JSON lines of ``question`` and ``answer``.

The answer holds the steps, with calculations in ``<<...>>``, and the number after ``####``. The
reference is that number. Worked examples are the first questions of ``train.jsonl`` beside the
file; without that file there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
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
from regimen.instances.compression import suffixes
from regimen.instances.formats import suffixes_removed
from regimen.instances.readers import RawRow, RowFailure
from regimen.records import Example

EXPECTED = "JSON lines with question and answer, '####' before the answer's number"
COLUMNS = SIGNATURES["gsm8k"]
MARK = "####"
EXAMPLES = 8

STEPS = (
    "Solve the problem step by step. End with a line that holds #### and the answer as a number."
)
NUMBER_ONLY = "Solve the problem. Answer with a number only."

_CALCULATION = re.compile(r"<<[^<>]*>>")


def read_gsm8k(spec: SuiteSpec) -> Iterator[Found]:
    """The questions of a file, or of ``test.jsonl`` in a folder.

    Raises:
        DataError: as ``suite_files`` and ``suite_rows``.
    """
    definition = STEPS if spec.chain_of_thought else NUMBER_ONLY
    for file in suite_files(spec, lambda stem: stem == "test"):
        examples = _examples(file, spec)
        for row in suite_rows(file, spec, COLUMNS, EXPECTED):
            parsed = row if isinstance(row, RowFailure) else _parsed(row)
            if isinstance(parsed, RowFailure):
                yield parsed
                continue
            assert isinstance(row, RawRow)
            question, _, number = parsed
            yield asked_item(
                spec,
                row,
                question,
                (number,),
                task="gsm8k",
                definition=definition,
                demonstrations=examples,
                labels=("Question: ", "Answer: "),
                category="arithmetic",
                family="mathematics",
            )


def _parsed(row: RawRow) -> tuple[str, str, str] | RowFailure:
    """Question, steps and number of a row."""
    question, answer = text_of(row.values["question"]), text_of(row.values["answer"])
    if not question.strip():
        return not_text(row, "question")
    steps, mark, number = answer.rpartition(MARK)
    if not mark or not number.strip():
        got = f"an answer that ends {answer[-40:]!r}"
        fix = f"End the answer with {MARK} and the number."
        return RowFailure(row.row, "no_number", got, fix, row.source)
    return question.strip(), _CALCULATION.sub("", steps).strip(), number.strip()


def training_file(file: Path) -> Path | None:
    """The training questions beside a file of others, where they are there."""
    if suffixes_removed(file) == "train":
        return None
    found = sorted(file.parent.glob("train.jsonl*"))
    return found[0] if found and suffixes(found[0])[0] == ".jsonl" else None


def _examples(file: Path, spec: SuiteSpec) -> tuple[Example, ...]:
    """The first questions of the training file beside this one, answered in the same way."""
    beside = training_file(file)
    if beside is None:
        return ()
    one_file = replace(spec, path=beside)
    found: list[Example] = []
    for row in islice(suite_rows(beside, one_file, COLUMNS, EXPECTED), EXAMPLES):
        parsed = row if isinstance(row, RowFailure) else _parsed(row)
        if not isinstance(parsed, RowFailure):
            question, steps, number = parsed
            output = f"{steps}\n{MARK} {number}" if spec.chain_of_thought else number
            found.append(Example(input=question, output=output))
    return tuple(found)
