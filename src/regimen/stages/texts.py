"""Plain text that a settings section names: a file, a directory, or a function of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from regimen.errors import DataError, near
from regimen.settings.base import TextSettings
from regimen.stages.user_code import load_function


def load_texts(section: TextSettings) -> list[str]:
    """The texts, at most ``section.max_bytes`` UTF-8 bytes of them.

    Raises:
        DataError: a missing or empty source.
    """
    texts: list[str] = []
    used = 0
    for text in read_texts(section):
        size = len(text.encode())
        if section.max_bytes is not None and used + size > section.max_bytes:
            break
        texts.append(text)
        used += size
    if not texts:
        raise DataError(
            "There is no text to read.",
            slug="no-text",
            got=str(section.path or section.function),
            fix="Name a file with text, or raise max_bytes.",
        )
    return texts


def read_texts(section: TextSettings) -> Iterator[str]:
    """The texts one after another, without regard to ``max_bytes``.

    Raises:
        DataError: a missing file.
    """
    if section.function is not None:
        call = section.function
        yield from load_function(call.file, call.function)(**call.arguments)
        return
    path = Path(str(section.path))
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            yield from _file(file)
    else:
        yield from _file(path)


def _file(path: Path) -> Iterator[str]:
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(
            "There is no such file of text.",
            slug="file-missing",
            got=str(path),
            fix=near(path.name, siblings or [path.name]),
        )
    if ".jsonl" in path.suffixes:
        from regimen.instances.readers import RowFailure, read_rows

        for row in read_rows(path):
            if not isinstance(row, RowFailure) and isinstance(row.values.get("text"), str):
                yield row.values["text"]
        return
    text = path.read_text(encoding="utf-8")
    yield from (block for block in text.split("\n\n") if block.strip())
