"""A settings file with more than one run: what comes after, in ``then``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Strict

from regimen.settings.base import Conflict
from regimen.settings.pipeline import PipelineSettings

RUN = "$run"
_FIRST = re.compile(r"^\$run(?=$|[/-])")


class FileSettings(PipelineSettings):
    """A settings file: a run, and the runs that go on from it."""

    then: Annotated[tuple[PipelineSettings, ...], Strict(False)] = ()
    """Runs after this one, each with stages of its own, in order; the first may have none. In
    their texts ``$run`` at the beginning is the directory of the first run: ``$run/tune/final``.
    One without ``run`` is written to ``$run-2``, ``$run-3`` and so on; without ``seed`` it has the
    first one's."""

    @property
    def has_later_runs(self) -> bool:
        """Whether there is a ``then``."""
        return bool(self.then)

    @property
    def runs(self) -> tuple[PipelineSettings, ...]:
        """Every run that has stages (or a study) as settings of its own, in order."""
        if self.then and not self.stages:
            return self.then
        own = {name: getattr(self, name) for name in PipelineSettings.model_fields}
        return (PipelineSettings.model_construct(**own), *self.then)

    def conflicts(self) -> Iterator[Conflict]:
        """Each run has a directory of its own; a study is no run."""
        yield from super().conflicts()
        places = [self.run]
        for number, one in enumerate(self.then):
            if one.run in places:
                yield Conflict(
                    what=f"is {one.run}, where a run before it is written",
                    at=("then", number, "run"),
                    fix="Name another directory, or remove it.",
                )
            places.append(one.run)
            if one.study is not None:
                yield Conflict(
                    what="is a study, and here are runs",
                    at=("then", number, "study"),
                    fix="Put it into a settings file of its own.",
                )
        if self.then and self.study is not None:
            yield Conflict(
                what="comes after a study, which has no result to go on from",
                at=("then",),
                fix="Remove it, or 'study'.",
            )


def name_runs(data: Any) -> None:
    """Fill in what runs of ``then`` take from the first: directory, seed, ``$run`` in texts.

    What has the wrong form is left to validation.
    """
    if not isinstance(data, dict) or not isinstance(data.get("then"), list):
        return
    first = data.get("run", PipelineSettings.model_fields["run"].default)
    if not isinstance(first, str):
        return
    place = first.rstrip("/") or first
    for number, part in enumerate(data["then"]):
        if not isinstance(part, dict):
            continue
        part.setdefault("run", f"{RUN}-{number + 2}")
        if "seed" in data:
            part.setdefault("seed", data["seed"])
        data["then"][number] = _named(part, place)


def _named(value: Any, place: str) -> Any:
    """A value with the directory in place of ``$run``."""
    if isinstance(value, dict):
        return {key: _named(entry, place) for key, entry in value.items()}
    if isinstance(value, list):
        return [_named(entry, place) for entry in value]
    return _FIRST.sub(lambda _: place, value) if isinstance(value, str) else value
