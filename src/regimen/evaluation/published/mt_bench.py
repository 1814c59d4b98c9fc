"""MT-Bench (Zheng et al. 2023, 2306.05685) and Vicuna questions: one or more turns, judged.

JSON lines of ``question_id``, ``category``, ``turns`` and, where there is one right answer,
``reference`` with an answer for each turn. The first turn is the prompt, the others are asked after
the answer to the turn before. The references of an item stand in the order of its turns; they are
for a judge to look at, and no rule scores these answers.
"""

from __future__ import annotations

from collections.abc import Iterator

from regimen.errors import DataError
from regimen.evaluation.published.reading import (
    SIGNATURES,
    Found,
    SuiteSpec,
    asked_item,
    suite_files,
    suite_rows,
    text_of,
)
from regimen.instances.readers import RawRow, RowFailure

EXPECTED = "JSON lines with question_id, category and turns (a list of texts)"


def read_mt_bench(spec: SuiteSpec) -> Iterator[Found]:
    """The questions of a file, or of ``question.jsonl`` in a folder.

    Raises:
        DataError: as ``suite_files`` and ``suite_rows``; ``suite-files`` for several files.
    """
    files = suite_files(spec, lambda stem: stem.endswith("question"))
    if len(files) > 1:
        raise DataError(
            f"The folder of the suite {spec.name!r} holds several sets of questions.",
            slug="suite-files",
            got=", ".join(file.name for file in files),
            expected="one file of questions",
            fix="Name the file itself.",
            where=str(spec.path),
        )
    for row in suite_rows(files[0], spec, SIGNATURES["mt_bench"], EXPECTED):
        yield row if isinstance(row, RowFailure) else _item(spec, row)


def _item(spec: SuiteSpec, row: RawRow) -> Found:
    listed = row.values["turns"]
    turns = [text_of(turn) for turn in listed] if isinstance(listed, list) else []
    if not turns or not all(turn.strip() for turn in turns):
        fix = "Write a list of texts as turns, at least one."
        return RowFailure(row.row, "no_turns", f"turns {listed!r}"[:120], fix, row.source)
    given = row.values.get("reference")
    references = [text_of(one) for one in given] if isinstance(given, list) else []
    return asked_item(
        spec,
        row,
        turns[0],
        references,
        task="mt_bench",
        follow_ups=turns[1:],
        category=text_of(row.values.get("category")),
        family="dialogue",
    )
