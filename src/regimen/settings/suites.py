"""Settings of one suite: which files, in which published format, how asked and how scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from regimen.settings.base import Conflict, Count, Section, Seed, Text, Texts

SuiteFormat = Literal["gsm8k", "bbh", "ifeval", "mt_bench", "super_ni", "items", "starter"]

RESERVED = "validation"
"""The name of the items that choose the prompted base's demonstrations."""


class SuiteSettings(Section):
    """A published suite, items of your own, or the starter tasks.

    What is not given is as the format has it: ``docs/evaluation.md`` has the table.
    """

    name: Text | None = None
    """Name of the suite in ``evaluation.json``; the format's when not given."""

    format: SuiteFormat
    """How the files are to be read. ``items`` are your own: ``items.parquet`` of a build, or rows
    with ``prompt`` and ``references``. ``starter`` are the tasks that come with regimen."""

    path: Text | None = None
    """A file or a folder; ``.gz`` and ``.zst`` are read as they are."""

    metric: Text | None = None
    """The metric that verdicts rest on."""

    metrics: Texts | None = None
    """Other metrics, given beside it."""

    right_at: Annotated[float, Field(gt=0, le=1)] | None = None
    """Score from which an answer counts as right in the four buckets: 1 for exact metrics."""

    shots: Annotated[int, Field(ge=0, le=64)] | None = None
    """Worked examples in the prompt of every system."""

    encoding: Literal["natural_instructions", "definition"] | None = None
    """How ``super_ni`` asks: as published, or as training asks by a definition."""

    chain_of_thought: bool | None = None
    """Whether ``gsm8k`` and ``bbh`` ask for the steps before the answer."""

    limit: Count | None = None
    """Ask at most this many items, spread evenly over the suite, or drawn where ``seed`` is set."""

    per_task: Count | None = None
    """Ask at most this many items of each task: the first, or drawn where ``seed`` is set."""

    seed: Seed | None = None
    """Seed of what ``limit`` and ``per_task`` draw; nothing is drawn when not given."""

    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Longest answer in tokens."""

    languages: Texts = ()
    """Ask items in these languages only; in all when empty."""

    families: Texts = ()
    """Ask starter tasks of these families only; of all when empty."""

    tasks: Texts = ()
    """Ask these tasks only; all when empty."""

    task_list: Text | None = None
    """A file with the names of the tasks to ask, one on a line, such as a published test list."""

    licence: str = ""
    """Licence of the items that do not say theirs, as an SPDX identifier."""

    @property
    def known_as(self) -> str:
        """The suite's name."""
        return self.name or self.format

    def conflicts(self) -> Iterator[Conflict]:
        """A path where there are files; options where they have an effect."""
        if (self.path is None) != (self.format == "starter"):
            yield Conflict(
                what="has no 'path'"
                if self.path is None
                else "has a 'path', and starter tasks come with regimen",
                at=() if self.path is None else ("path",),
                fix="Name the file or folder." if self.path is None else "Remove it.",
            )
        if self.name == RESERVED:
            yield Conflict(
                what=f"cannot be {RESERVED!r}, which are items kept apart",
                at=("name",),
                fix="Choose another name.",
            )
        if self.tasks and self.task_list is not None:
            yield Conflict(
                what="excludes 'tasks'", at=("task_list",), expected="one of the two lists"
            )
        for option, formats in _ONLY.items():
            if getattr(self, option) not in (None, ()) and self.format not in formats:
                yield Conflict(
                    what=f"has no effect on the format {self.format!r}",
                    at=(option,),
                    expected=f"format {' or '.join(formats)}",
                    fix="Remove it.",
                )


_ONLY = {
    "encoding": ("super_ni",),
    "chain_of_thought": ("gsm8k", "bbh"),
    "families": ("starter",),
}
