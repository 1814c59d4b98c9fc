"""A settings file and its overrides to ``FileSettings``, with all problems at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

from pydantic import ValidationError

from regimen.errors import SettingsError
from regimen.settings.chains import FileSettings, name_runs
from regimen.settings.overrides import apply_overrides
from regimen.settings.pipeline import STAGES, PipelineSettings
from regimen.settings.places import Document
from regimen.settings.problems import raise_problems, translate
from regimen.settings.words import field_at, section_of
from regimen.settings.yaml12 import dump, parse

SUFFIXES = (".yaml", ".yml")


def load_settings(path: Path | str | None, overrides: Sequence[str] = ()) -> FileSettings:
    """Read a settings file.

    Args:
        path: the file; None takes everything from the overrides.
        overrides: ``tune.learning_rate=1e-4``, or ``--tune.learning_rate`` and ``1e-4``; the last
            one wins.

    Raises:
        SettingsError: with everything that is wrong, each with its line and a fix.
    """
    if path is None:
        document = Document(origin="the overrides", data={})
    else:
        document = parse(_read(Path(path)), str(path))
        if document.data is None and not document.problems and not overrides:
            raise _empty(str(path))
    apply_overrides(document, overrides)
    return _validated(document)


def settings_from(data: Mapping[str, Any], origin: str = "settings") -> FileSettings:
    """Settings from plain data; the same checks and messages, without lines.

    Raises:
        SettingsError: with everything that is wrong.
    """
    return _validated(Document(origin=origin, data=_plain(data)))


def resolved(settings: PipelineSettings) -> dict[str, Any]:
    """Every setting with its value, JSON-compatible; each stage has the seed that it will use."""
    data = settings.model_dump(mode="json")
    for stage in settings.stages:
        sections = data[stage] if isinstance(data[stage], list) else [data[stage]]
        names = tuple(settings.tunings) if stage == "tune" else (stage,)
        for name, section in zip(names, sections, strict=True):
            if "seed" in section:
                section["seed"] = settings.seed_of(name)
    if isinstance(settings, FileSettings):
        data["then"] = [resolved(one) for one in settings.then]
    return data


def differing(settings: PipelineSettings) -> dict[str, Any]:
    """Only the settings that differ from their defaults."""
    return settings.model_dump(mode="json", exclude_defaults=True)


def dump_yaml(settings: PipelineSettings) -> str:
    """The resolved settings as YAML text that ``load_settings`` reads to equal settings."""
    return dump(resolved(settings))


def json_schema() -> dict[str, Any]:
    """JSON schema of a settings file, with the fields' docstrings as descriptions."""
    schema = FileSettings.model_json_schema()
    _describe_later_tunings(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _describe_later_tunings(schema: dict[str, Any]) -> None:
    """After the first of a list, a tuning that names no model goes on from the one before.

    pydantic knows one class of tunings, whose model is required.
    """
    definitions = schema["$defs"]
    whole = definitions["TuneSettings"]
    later = {**whole, "required": [name for name in whole["required"] if name != "model"]}
    if not later["required"]:
        del later["required"]
    definitions["LaterTuneSettings"] = later
    for run in (schema, definitions["PipelineSettings"]):
        forms = run["properties"]["tune"]["anyOf"][0]["oneOf"]
        (several,) = (form for form in forms if form.get("type") == "array")
        several["prefixItems"] = [several["items"]]
        several["items"] = {"$ref": "#/$defs/LaterTuneSettings"}


def _plain(value: Any) -> Any:
    """A copy that overrides and defaults may change."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, PurePath) else value


def _validated(document: Document) -> FileSettings:
    """Validate; problems of reading and of validation are raised together."""
    settings = None
    _fill_empty_sections(document)
    name_runs(document.data)
    try:
        settings = FileSettings.model_validate(document.data)
    except ValidationError as error:
        document.problems += translate(error, document, FileSettings)
    raise_problems(document.problems, document.origin)
    if settings is None:  # translate() names at least one problem for every ValidationError
        raise AssertionError("a validation error without a problem")
    return settings


def _fill_empty_sections(document: Document) -> None:
    """``evaluate:`` with nothing after it asks for the stage with its defaults, not for none."""
    for path in document.empty:
        if path and section_of(field_at(FileSettings, path)) is not None:
            holder = document.data
            for part in path[:-1]:
                holder = holder[part]
            holder[path[-1]] = {}


def _read(path: Path) -> str:
    """The text of the file.

    Raises:
        SettingsError: it is missing, not a file, not readable or not UTF-8.
    """
    if path.is_dir():
        raise SettingsError(
            f"{path} is a directory, not a settings file",
            slug="settings-missing-file",
            fix=_siblings(path, path.name),
            where=str(path),
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(
            f"there is no settings file {path}",
            slug="settings-missing-file",
            fix=_siblings(path.parent, path.name),
            where=str(path),
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} is not UTF-8 text",
            slug="settings-yaml",
            got=f"byte 0x{error.object[error.start]:02x} at position {error.start}",
            fix="Save the file as UTF-8.",
            where=str(path),
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read",
            slug="settings-missing-file",
            got=error.strerror or "",
            where=str(path),
        ) from None


def _siblings(folder: Path, name: str) -> str:
    """The settings file that was probably meant, or those that there are."""
    folders = dict.fromkeys((folder, Path(), Path("recipes")))
    known = [
        file
        for place in folders
        if place.is_dir()
        for file in sorted(place.iterdir())
        if file.suffix in SUFFIXES
    ]
    match = get_close_matches(name, [file.name for file in known], n=1, cutoff=0.6)
    if match:
        return f"Did you mean {next(file for file in known if file.name == match[0])}?"
    if known:
        return "Settings files here: " + ", ".join(str(file) for file in known[:8]) + "."
    return "There is no settings file nearby; give the path of one."


def _empty(origin: str) -> SettingsError:
    return SettingsError(
        f"{origin} is empty",
        slug="settings-empty",
        expected="at least one stage: " + ", ".join(STAGES),
        fix="Start from a file in recipes/.",
        where=origin,
    )
