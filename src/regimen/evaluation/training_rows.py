"""The rows that a model was trained on, read piece by piece from instances and pairs on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.tables import read_batches

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 2_048
"""Rows of a piece."""
LINEAGE = ("source", "row", "task", "template")
"""What is told of a training row beside its id and its text."""
SIDES = (
    ("prompt", "chosen", "rejected"),
    ("prompt", "answer"),
    ("prompt", "answers"),
    ("prompt", "steps"),
    ("messages",),
)
"""Where the turns are: of a pair, of which a model is trained on both answers, of a labelled
answer, of a list, of an answer in steps, of an instance."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What was said in some training rows: the user's and the assistant's turns of each."""

    users: list[list[str]]
    answers: list[list[str]]

    @property
    def prompt_texts(self) -> list[str]:
        """The user's turns of each row as one text."""
        return ["\n".join(turns) for turns in self.users]

    @property
    def answer_texts(self) -> list[str]:
        """The assistant's turns of each row as one text."""
        return ["\n".join(turns) for turns in self.answers]


def read_turns(files: Sequence[Path]) -> Iterator[Turns]:
    """The turns of all rows, file by file.

    Raises:
        DataError: a file is not there or holds no instances.
    """
    for batch, sides in _batches(files, []):
        yield _turns_of(batch, sides)


def read_numbered(files: Sequence[Path], numbers: Collection[int]) -> dict[int, dict[str, Any]]:
    """The rows with these numbers, counted from 0 over all files.

    Returns:
        For each number ``instance_id``, ``source``, ``row``, ``task``, ``template``, ``prompt``
        and ``answer``.

    Raises:
        DataError: as ``read_turns``.
    """
    wanted = sorted(set(numbers))
    found: dict[int, dict[str, Any]] = {}
    start = place = 0
    for batch, sides in _batches(files, ["instance_id", *LINEAGE]):
        end = start + batch.num_rows
        own = []
        while place < len(wanted) and wanted[place] < end:
            own.append(wanted[place] - start)
            place += 1
        if own:
            taken = batch.take(own)
            turns = _turns_of(taken, sides)
            rows = taken.drop_columns(list(sides)).to_pylist()
            texts = zip(turns.prompt_texts, turns.answer_texts, strict=True)
            for within, row, (prompt, answer) in zip(own, rows, texts, strict=True):
                found[start + within] = {**row, "prompt": prompt, "answer": answer}
        start = end
    return found


def _batches(
    files: Sequence[Path], columns: Sequence[str]
) -> Iterator[tuple[pa.RecordBatch, tuple[str, ...]]]:
    """Pieces of the files with these columns, and those in which the turns are."""
    for path in files:
        sides = _sides(path)
        for batch in read_batches(path, [*columns, *sides], ROWS):
            yield batch, sides


def _sides(path: Path) -> tuple[str, ...]:
    """The columns that hold the turns; a file that cannot be read is told by the reader."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return SIDES[-1]
    return next((sides for sides in SIDES if names.issuperset(sides)), SIDES[-1])


def _turns_of(batch: pa.RecordBatch, sides: Sequence[str]) -> Turns:
    """The turns of some rows, over all columns that have some."""
    first, *others = [_turns(batch.column(side)) for side in sides]
    for one in others:
        for mine, more in ((first.users, one.users), (first.answers, one.answers)):
            for own, added in zip(mine, more, strict=True):
                own.extend(added)
    return first


def _turns(messages: pa.ListArray) -> Turns:
    """The turns by role, from the columns of the messages: a dictionary for each takes longer.

    Of a list of answers those of all answers; steps are what the assistant says.
    """
    import pyarrow as pa

    if pa.types.is_string(messages.type.value_type):
        steps = [list(one or ()) for one in messages.to_pylist()]
        return Turns([[] for _ in steps], steps)
    if pa.types.is_list(messages.type.value_type):
        return _nested(messages)
    structs = messages.flatten()
    roles, contents = structs.field("role").to_pylist(), structs.field("content").to_pylist()
    parts = structs.field("parts").to_pylist()
    said = Turns([], [])
    place = 0
    for size in messages.value_lengths().to_pylist():
        users: list[str] = []
        answers: list[str] = []
        for at in range(place, place + (size or 0)):
            text = contents[at] if parts[at] is None else "".join(parts[at])
            if roles[at] == "user":
                users.append(text)
            elif roles[at] == "assistant":
                answers.append(text)
        said.users.append(users)
        said.answers.append(answers)
        place += size or 0
    return said


def _nested(answers: pa.ListArray) -> Turns:
    """The turns of lists of answers, those of each row together."""
    each = _turns(answers.flatten())
    said = Turns([], [])
    place = 0
    for size in answers.value_lengths().to_pylist():
        end = place + (size or 0)
        said.users.append([text for own in each.users[place:end] for text in own])
        said.answers.append([text for own in each.answers[place:end] for text in own])
        place = end
    return said
