"""Types and values of settings in plain words: what was expected, what was found."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from regimen.settings.base import LARGEST
from regimen.settings.places import Path

LONGEST = 80
"""Values are shown up to this many characters."""


def found(value: Any) -> str:
    """A value as the user would recognise it."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = repr(value if len(value) <= LONGEST else value[: LONGEST - 1] + "…")
        return f"the text {shown}" if value else "an empty text"
    if isinstance(value, dict):
        names = ", ".join(str(name) for name in list(value)[:6])
        return f"a section with {names}" if value else "an empty section"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    shown = str(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def members(annotation: Any, metadata: Sequence[Any] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The plain types that an annotation allows, each with its bounds, without None."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from members(inner, (*metadata, *_flat(more)))
    elif get_origin(annotation) in (Union, types.UnionType):
        for choice in get_args(annotation):
            yield from members(choice, metadata)
    elif annotation is not type(None):
        yield annotation, tuple(_flat(metadata))


def _flat(metadata: Sequence[Any]) -> Iterator[Any]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from entry.metadata
        else:
            yield entry


def field_at(
    model: type[BaseModel], path: Path, data: Any = None
) -> list[tuple[Any, tuple[Any, ...]]]:
    """The types allowed at a path, with bounds; empty where the path is not known.

    Of sections that are told apart by their ``kind``, those that ``data`` means; all without it.
    """
    here: list[tuple[Any, tuple[Any, ...]]] = [(model, ())]
    for part in path:
        below: list[tuple[Any, tuple[Any, ...]]] = []
        for annotation, _ in _meant(here, data):
            below += _below(annotation, part)
        here, data = below, _part(data, part)
    return _meant(here, data)


def _meant(
    allowed: list[tuple[Any, tuple[Any, ...]]], data: Any
) -> list[tuple[Any, tuple[Any, ...]]]:
    """Without the sections of another ``kind`` than that of the data, or than the first's."""
    kinds = {position: _kinds(annotation) for position, (annotation, _) in enumerate(allowed)}
    if sum(bool(words) for words in kinds.values()) < 2 or not isinstance(data, dict):
        return allowed
    first = next(words for words in kinds.values() if words)
    wanted = data.get("kind", first[0])
    found = [entry for at, entry in enumerate(allowed) if not kinds[at] or wanted in kinds[at]]
    # every kind is one of the last section, which is for those that are not known
    others = [entry for at, entry in enumerate(allowed) if len(kinds[at]) > 1]
    return found[:1] if len(found) > 1 else others or allowed


def _kinds(annotation: Any) -> tuple[str, ...]:
    """The words that the ``kind`` of a section may be; none where it has no such field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        info = annotation.model_fields.get("kind")
        if info is not None and get_origin(info.annotation) is Literal:
            return tuple(get_args(info.annotation))
    return ()


def _part(data: Any, part: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    known = isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
    return data[part] if known else None


def _below(annotation: Any, part: str | int) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        info = annotation.model_fields.get(str(part))
        if info is not None:
            yield from members(info.annotation, info.metadata)
    elif get_origin(annotation) is tuple:
        yield from members(get_args(annotation)[0])
    elif get_origin(annotation) is dict:
        yield from members(get_args(annotation)[1])


def sections_of(allowed: Sequence[tuple[Any, tuple[Any, ...]]]) -> list[type[BaseModel]]:
    """The sections among the allowed types."""
    return [
        annotation
        for annotation, _ in allowed
        if isinstance(annotation, type) and issubclass(annotation, BaseModel)
    ]


def section_of(allowed: Sequence[tuple[Any, tuple[Any, ...]]]) -> type[BaseModel] | None:
    """The section among the allowed types, the first of several; None if there is none."""
    return next(iter(sections_of(allowed)), None)


def choices(allowed: Sequence[tuple[Any, tuple[Any, ...]]]) -> list[str]:
    """The fixed words among the allowed types."""
    return [
        word
        for annotation, _ in allowed
        if get_origin(annotation) is Literal
        for word in get_args(annotation)
    ]


def expected(allowed: Sequence[tuple[Any, tuple[Any, ...]]]) -> str:
    """The allowed types in words: ``a number above 0 and at most 10``."""
    return " or ".join(_words(annotation, metadata) for annotation, metadata in allowed)


def _words(annotation: Any, metadata: Sequence[Any]) -> str:
    if get_origin(annotation) is Literal:
        words = [f"'{word}'" for word in get_args(annotation)]
        return words[0] if len(words) == 1 else "one of " + ", ".join(words)
    if get_origin(annotation) is tuple:
        least = max((m.min_length for m in metadata if isinstance(m, MinLen)), default=0)
        size = f" of at least {least}" if least > 1 else ""
        return f"a list{size}, each entry {expected(list(members(get_args(annotation)[0])))}"
    if get_origin(annotation) is dict:
        return "a section of your own keys"
    section = section_of([(annotation, ())])
    if section is not None:
        required = [name for name, info in section.model_fields.items() if info.is_required()]
        names = required or list(section.model_fields)[:3]
        return "a section with " + ", ".join(names) + (" ..." if not required else "")
    noun = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return " ".join([noun.get(annotation, "any value"), *_bounds(metadata)])


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    joint = ""
    for entry in metadata:
        match entry:
            case Gt(gt=bound):
                words = f"above {bound:,}"
            case Ge(ge=bound):
                words = f"of at least {bound:,}"
            case Lt(lt=bound):
                words = f"below {bound:,}"
            case Le(le=bound) if bound != LARGEST:
                words = f"at most {bound:,}"
            case MinLen():
                words = "that is not empty"
            case _:
                continue
        yield joint + words
        joint = "and "
