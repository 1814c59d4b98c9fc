"""Tasks formatted with a real worker of templates, for tests of the formatting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from regimen.instances.encodings import FormattingSpec
from regimen.instances.formatting import FormattingFailure, task_instances
from regimen.instances.options import STYLES
from regimen.instances.templates import TemplateWorker
from regimen.records import Instance, Task


class Formatter:
    """Formats tasks under a spec that is given by its fields."""

    def __init__(self, worker: TemplateWorker) -> None:
        self.worker = worker

    def __call__(
        self, task: Task, n: int = 99, seed: int = 0, **spec: Any
    ) -> list[Instance | FormattingFailure]:
        """All that comes of a task's rows."""
        return list(task_instances([task], FormattingSpec(**spec), n, seed, self.worker.render))

    def instances(self, task: Task, n: int = 99, seed: int = 0, **spec: Any) -> list[Instance]:
        """The instances of a task none of whose rows fail."""
        found = self(task, n, seed, **spec)
        assert all(isinstance(one, Instance) for one in found), found
        return [one for one in found if isinstance(one, Instance)]

    def failures(
        self, task: Task, n: int = 99, seed: int = 0, **spec: Any
    ) -> list[tuple[Any, ...]]:
        """Task, row and error of all that fails."""
        found = self(task, n, seed, **spec)
        return [
            (one.task, one.row, one.error) for one in found if isinstance(one, FormattingFailure)
        ]


def running() -> Iterator[Formatter]:
    """A formatter, for a fixture."""
    with TemplateWorker() as worker:
        yield Formatter(worker)


def prompt(one: Instance) -> str:
    """What is asked."""
    return one.messages[0].text


def answer(one: Instance) -> str:
    """What is learned."""
    return one.messages[-1].text


def option_shown(text: str, label: str) -> str:
    """The option that a prompt shows under a label; of several the last, which is the query's."""
    lines = text.rpartition("Options:\n")[2].split("\n")
    for style in STYLES.values():
        for place, line in enumerate(lines):
            if style.label is None or style.label_at(place) != label:
                continue
            start = style.line(place, "")
            if line.startswith(start):
                return line.removeprefix(start)
    raise AssertionError(f"no option is labelled {label!r} in {text!r}")
