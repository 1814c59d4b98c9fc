"""jinja2 alone: sandboxed templates compiled once, `template.render(**row)` in a loop.

As a script it is one process of build.py: `build_bare.py FOLDER OUT SETTINGS`. The peer
`datasets.map` renders its rows by `BareTemplate` too. jinja2 and the standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from build_works import KINDS, SEPARATOR, Kind, Source, digest, read_rows


class BareTemplate:
    """Prompt and answer of a row by compiled templates; choices go first, one source is split."""

    def __init__(self, source: Source) -> None:
        environment = ImmutableSandboxedEnvironment(keep_trailing_newline=True)
        self.prompt = environment.from_string(source.prompt)
        self.answer = environment.from_string(source.answer) if source.answer else None
        self.choices = environment.from_string(source.choices) if source.choices else None

    def texts(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Prompt and answer."""
        if self.choices is not None:
            listed = self.choices.render(**row).split(SEPARATOR)
            row = {**row, "answer_choices": [choice.strip() for choice in listed]}
        prompt = self.prompt.render(**row)
        if self.answer is not None:
            return prompt, self.answer.render(**row)
        first, second = prompt.split(SEPARATOR)
        return first.strip(), second.strip()


@lru_cache
def compiled(kind: Kind) -> tuple[BareTemplate, ...]:
    """The templates of a kind, compiled once in a process."""
    return tuple(BareTemplate(source) for source in kind.sources)


def pin(cores: int) -> None:
    """Keep this process and those that it starts to ``cores`` of its cores."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def measured(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """For each kind: seconds of every round, CPU seconds, and the digest of its texts."""
    pin(settings["cores"])
    found: dict[str, Any] = {}
    for kind in KINDS:
        rows = read_rows(folder, kind)
        templates = compiled(kind)
        texts = [templates[row["template"]].texts(row) for row in rows[:100]]
        seconds, cpu = [], []
        for _ in range(settings["rounds"]):
            start, used = time.perf_counter(), time.process_time()
            texts = [templates[row["template"]].texts(row) for row in rows]
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
        found[kind.name] = {"seconds": seconds, "cpu": cpu, "digest": digest(texts)}
    return {"kinds": found, "versions": {"jinja2": version("jinja2")}}


if __name__ == "__main__":
    work, out, told = sys.argv[1:]
    Path(out).write_text(json.dumps(measured(Path(work), json.loads(told))))
