"""What pydantic found, translated: none of its text reaches the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from regimen.errors import MissingExtraError, RegimenError, SettingsError, near
from regimen.settings.base import Conflicts, MissingLibrary
from regimen.settings.places import Document, Path, dotted
from regimen.settings.words import choices, expected, field_at, found, section_of

_RANGE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"}
_LENGTH = {"too_short", "string_too_short"}
_PATTERNS = {
    "language": "a language code such as en or pt-BR",
    "endpoint": "an address that starts with http:// or https://",
    "api_key_env": "the name of an environment variable, such as API_KEY",
    "function": "the name of a Python function",
}


class SettingsProblems(SettingsError):
    """Several problems at once, each an error of its own in ``problems``."""

    def __init__(self, problems: Sequence[RegimenError], origin: str) -> None:
        self.problems = tuple(problems)
        listed = "\n\n".join(problem.render() for problem in problems)
        super().__init__(
            f"{listed}\n\n{len(problems)} problems in {origin}", slug="settings-problems"
        )


def raise_problems(problems: Sequence[RegimenError], origin: str) -> None:
    """Raise the problems, if there are any, as one error."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise SettingsProblems(problems, origin)


def translate(
    error: ValidationError, document: Document, model: type[BaseModel]
) -> list[RegimenError]:
    """One error for each place that pydantic complains about, in file order."""
    groups: dict[Path, list[dict[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        path = _locate(document.data, detail["loc"], missing=detail["type"] == "missing")
        groups.setdefault(path, []).append(dict(detail))
    problems: list[RegimenError] = []
    for path in sorted(groups, key=lambda path: _order(document, path)):
        details = groups[path]
        # pydantic adds "too short" to a list whose entries were refused.
        inside = any(len(other) > len(path) and other[: len(path)] == path for other in groups)
        if inside and all(detail["type"] in _LENGTH for detail in details):
            continue
        problems += _problems(path, details, document, model)
    return problems


def _order(document: Document, path: Path) -> tuple[float, int]:
    """Lines of the file first, overrides after them."""
    place = document.place(path)
    return (place.line or float("inf"), place.column)


def _locate(data: Any, location: Sequence[str | int], *, missing: bool) -> Path:
    """The path in the data; pydantic's location also names members of unions."""
    path: list[str | int] = []
    for position, part in enumerate(location):
        known = isinstance(data, dict) and part in data
        if known or (isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)):
            path.append(part)
            data = data[part]
        elif missing and position == len(location) - 1:
            path.append(part)
    return tuple(path)


def _problems(
    path: Path, details: Sequence[dict[str, Any]], document: Document, model: type[BaseModel]
) -> Iterator[RegimenError]:
    kinds = {detail["type"] for detail in details}
    if "extra_forbidden" in kinds:
        yield _unknown_key(path, document, model)
    elif "missing" in kinds:
        yield SettingsError(
            f"{dotted(path)} is missing",
            slug="settings-missing-key",
            expected=expected(field_at(model, path, document.data)),
            fix=f"Add '{path[-1]}' to {dotted(path[:-1])}.",
            where=document.place(path[:-1]).render(),
        )
    elif "value_error" in kinds:
        yield from _conflicts(path, details, document)
    else:
        yield _wrong_value(path, details, kinds, document, model)


def _unknown_key(path: Path, document: Document, model: type[BaseModel]) -> SettingsError:
    section = section_of(field_at(model, path[:-1], document.data))
    known = list(section.model_fields) if section is not None else []
    name = str(path[-1])
    fix = near(name, known)
    elsewhere = [place for place in _sections_with(model, name, ()) if place != path[:-1]]
    if elsewhere and not get_close_matches(name, known, n=1, cutoff=0.6):
        places = ", ".join(dotted((*place, name)) for place in elsewhere[:4])
        fix = f"There is {places}. {fix}"
    where = document.place(path).render()
    return SettingsError(
        f"unknown key {dotted(path)}", slug="settings-unknown-key", fix=fix, where=where
    )


def _sections_with(model: type[BaseModel], name: str, path: Path) -> Iterator[Path]:
    if name in model.model_fields:
        yield path
    for field in model.model_fields:
        section = section_of(field_at(model, (field,)))
        if section is not None:
            yield from _sections_with(section, name, (*path, field))


def _conflicts(
    path: Path, details: Sequence[dict[str, Any]], document: Document
) -> Iterator[RegimenError]:
    for detail in details:
        error = detail.get("ctx", {}).get("error")
        if isinstance(error, MissingLibrary):
            yield MissingExtraError(
                f"{dotted(path)} needs the library {error.library}, which is not installed",
                slug=f"missing-{error.library}",
                fix=f"pip install {error.library}",
                where=document.place(path, of_value=True).render(),
            )
        if not isinstance(error, Conflicts):
            continue
        for conflict in error.found:
            at = (*path, *conflict.at)
            yield SettingsError(
                f"{dotted(at)}: {conflict.what}",
                slug="settings-conflict",
                expected=conflict.expected,
                fix=conflict.fix,
                where=document.place(at).render(),
            )


def _wrong_value(
    path: Path,
    details: Sequence[dict[str, Any]],
    kinds: set[str],
    document: Document,
    model: type[BaseModel],
) -> SettingsError:
    value = _value_at(document.data, path)
    allowed = field_at(model, path, document.data)
    words, slug = expected(allowed), "settings-type"
    what = f"{dotted(path)} has a value of the wrong kind"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kinds & _LENGTH and value:
        what, slug = f"{dotted(path)} has too few entries", "settings-too-few"
    elif kinds & _LENGTH:
        what, slug = f"{dotted(path)} is empty", "settings-empty-value"
    elif kinds & _RANGE and is_number:
        what, slug = f"{dotted(path)} is out of range", "settings-range"
    elif "string_pattern_mismatch" in kinds:
        what, slug = f"{dotted(path)} is not written as expected", "settings-pattern"
        words = _PATTERNS.get(str(path[-1]), words)
    elif "literal_error" in kinds and isinstance(value, str):
        what, slug = f"{dotted(path)} is not one of the known values", "settings-choice"
    return SettingsError(
        what,
        slug=slug,
        got=found(value),
        expected=words,
        fix=_fix(value, choices(allowed), kinds, words),
        where=document.place(path, of_value=True).render(),
    )


def _value_at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _fix(value: Any, words: Sequence[str], kinds: set[str], wanted: str) -> str:
    """What to do about a wrong value, where the value itself suggests it."""
    if isinstance(value, str):
        if words:
            match = get_close_matches(value, words, n=1, cutoff=0.6)
            return f"Did you mean '{match[0]}'?" if match else ""
        number = value.replace("_", "").replace(",", "")
        if "number" in wanted and number.lstrip("+-").replace(".", "", 1).isdigit():
            return f"Write {number} without quotes, '_' or ','."
        if wanted == "true or false" and value.lower() in ("yes", "on", "no", "off"):
            return f"Write {'true' if value.lower() in ('yes', 'on') else 'false'}."
    if isinstance(value, int | float) and "string_type" in kinds:
        return f"Put quotes around it: '{found(value)}'."
    if "tuple_type" in kinds and not isinstance(value, dict):
        return f"Put it in brackets: [{value}]."
    if "finite_number" in kinds:
        return "Infinity and not-a-number are not settings."
    return ""
