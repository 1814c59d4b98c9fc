"""Principles and demonstrations of AI feedback: the shipped ones, or a file of the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from regimen.alignment.constitutional import Principle
from regimen.errors import DataError, near
from regimen.settings.yaml12 import parse

FIELDS = ("id", "kind", "text", "critique", "revision")


@dataclass(frozen=True, slots=True)
class Principles:
    """What a file holds; demonstrations are what is asked and what is said."""

    principles: tuple[Principle, ...]
    demonstrations: tuple[tuple[str, str], ...] = ()


def read_principles(path: str | None, kinds: Sequence[str] = ()) -> Principles:
    """The principles of a file, those of some kinds only; the shipped ones where there is no file.

    Raises:
        DataError: the file cannot be used, or has none of these kinds (``principles``).
    """
    if path is None:
        place = "principles.yaml"
        content = files("regimen.assets.principles").joinpath(place).read_text(encoding="utf-8")
    else:
        place = path
        if not Path(path).is_file():
            beside = [one.name for one in Path(path).parent.glob("*.y*ml")]
            raise _wrong(place, "no such file", near(Path(path).name, beside) if beside else "")
        content = Path(path).read_text(encoding="utf-8")
    document = parse(content, place)
    if document.problems:
        raise _wrong(place, document.problems[0].what)
    data = document.data
    listed = data.get("principles") if isinstance(data, Mapping) else data
    if not isinstance(listed, list) or not listed:
        raise _wrong(place, "no list of principles")
    found = [_principle(place, number, one) for number, one in enumerate(listed, start=1)]
    chosen = tuple(one for one in found if not kinds or one.kind in kinds)
    if not chosen:
        known = ", ".join(sorted({one.kind or "none" for one in found}))
        raise _wrong(place, f"no principle of the kinds {', '.join(kinds)}; it has {known}")
    shown = data.get("demonstrations", []) if isinstance(data, Mapping) else []
    return Principles(chosen, tuple(_demonstrations(place, shown)))


def _principle(place: str, number: int, one: Any) -> Principle:
    if isinstance(one, str) and one.strip():
        return Principle(id=str(number), text=one.strip())
    if not isinstance(one, Mapping) or not isinstance(one.get("text"), str):
        raise _wrong(place, f"principle {number} has no text")
    other = [name for name in one if name not in FIELDS]
    if other:
        raise _wrong(place, f"principle {number} has {other[0]!r}", near(other[0], FIELDS))
    values = {name: str(one.get(name) or "").strip() for name in FIELDS}
    return Principle(**{**values, "id": values["id"] or str(number)})


def _demonstrations(place: str, listed: Any) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(listed if isinstance(listed, list) else [], start=1):
        said = [
            one.get(name) if isinstance(one, Mapping) else None for name in ("user", "assistant")
        ]
        if not all(isinstance(text, str) and text.strip() for text in said):
            raise _wrong(place, f"demonstration {number} has no user or no assistant")
        yield str(said[0]).strip(), str(said[1]).strip()


def _wrong(place: str, got: str, hint: str = "") -> DataError:
    return DataError(
        "A file of principles cannot be used.",
        slug="principles",
        got=got,
        expected="principles: a list of texts, or of entries with "
        f"{', '.join(FIELDS)}; perhaps demonstrations: a list of user and assistant",
        fix=hint or "Write it as regimen/assets/principles/principles.yaml is.",
        where=place,
    )
