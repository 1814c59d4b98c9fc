"""The rows that a model was trained on, read piece by piece from instances on disk."""

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
    for batch in _batches(files, ["messages"]):
        yield _turns(batch.column("messages"))


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
    for batch in _batches(files, ["instance_id", "messages", *LINEAGE]):
        end = start + batch.num_rows
        own = []
        while place < len(wanted) and wanted[place] < end:
            own.append(wanted[place] - start)
            place += 1
        if own:
            taken = batch.take(own)
            turns = _turns(taken.column("messages"))
            rows = taken.drop_columns(["messages"]).to_pylist()
            texts = zip(turns.prompt_texts, turns.answer_texts, strict=True)
            for within, row, (prompt, answer) in zip(own, rows, texts, strict=True):
                found[start + within] = {**row, "prompt": prompt, "answer": answer}
        start = end
    return found


def _batches(files: Sequence[Path], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path in files:
        yield from read_batches(path, columns, ROWS)


def _turns(messages: pa.ListArray) -> Turns:
    """The turns by role, from the columns of the messages: a dictionary for each takes longer."""
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
