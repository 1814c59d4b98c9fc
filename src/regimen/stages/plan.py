"""``plan``: what a training will take, and the fastest arrangement that keeps to a budget.

What an arrangement takes is expected from short models, then measured on the whole one in a fresh
process, on the largest micro-batch that there can be. Only what was measured is promised.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regimen import console
from regimen.errors import SettingsError, TrainingError
from regimen.files import atomic_write, json_text
from regimen.layout import duration
from regimen.planning.options import Asked, Option, changes, options
from regimen.processes import module_command, module_environment
from regimen.records import stable_hash
from regimen.runs import source_key
from regimen.settings.adapters import OF_THE_BASE
from regimen.settings.memory import in_bytes
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.quantised import base_kind
from regimen.settings.tune import TuneSettings
from regimen.stages.common import MODULES

PROBE = "regimen.stages.plan_probe"
FILE = "plan.json"
"""The plan that a stage keeps, so that a training that goes on is arranged as it was."""

MARGIN, NEAR = 0.03, 0.06
"""Of a budget: what is left free, and how far below it a peak is measured again. Small objects of a
process lie otherwise each time, and peaks of one training differ by up to 6% (docs/LOG.md)."""

HIGH = 1.25
"""How many times a budget may be expected of the smallest arrangement for it to be measured
nevertheless: what is expected may be too high, but what is far too large is not started.
"""

FAILED = "plan-failed"
"""The slug of an error: something could not be measured."""

GIB = 2**30
TAIL = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """An arrangement: what it changes, what it was expected to take, what it took when measured.

    Args:
        words: for a person.
        changes: dotted settings below the section, with their values.
        expected: bytes by component.
        measured: of a whole measurement; None where none was made.
    """

    words: str
    changes: Mapping[str, Any]
    expected: Mapping[str, float]
    measured: Mapping[str, Any] | None = None

    @property
    def peak(self) -> float:
        """Bytes at most, as measured or else as expected."""
        found = self.expected["total"] if self.measured is None else self.measured["peak"]
        return float(found)


def plan(settings: PipelineSettings) -> dict[str, Any]:
    """Tell what every tuning takes, and how it is arranged to keep to its budget.

    Returns:
        What ``--json`` prints: for each tuning, the arrangements that were looked at and the one
        that is proposed.

    Raises:
        SettingsError: there is nothing to tune.
        TrainingError: ``budget-too-small``.
    """
    if not settings.tunings:
        raise SettingsError(
            "The settings have no section for 'tune'.",
            slug="section-missing",
            got=", ".join(settings.stages),
            fix="Add a 'tune' section.",
        )
    told = {}
    for stage, section in settings.tunings.items():
        if section.model.previous:
            console.line(f"{stage}: starts from what the tuning before it ends with; not planned")
            continue
        fits = search(section)
        show(stage, section, fits)
        told[stage] = as_json(section, fits)
    return told


def arranged(section: TuneSettings, directory: Path) -> TuneSettings:
    """The section as its budget demands; as it is where it has none.

    The plan is kept in the stage's directory: a training that goes on is arranged as it was.

    Raises:
        TrainingError: nothing that the settings allow keeps to the budget.
    """
    if section.memory.budget is None:
        return section
    key = stable_hash({"section": section.model_dump(mode="json"), "code": _code()})
    file = directory / FILE
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return with_changes(section, kept["changes"])
    fits = search(section)
    show("tune", section, fits)
    chosen = fits[-1]
    directory.mkdir(parents=True, exist_ok=True)
    atomic_write(file, json_text({"key": key, **as_json(section, fits)}))
    return with_changes(section, chosen.changes)


def _code() -> str:
    return source_key((*MODULES["tune"], "regimen.planning", "regimen.stages.plan_probe"))


def search(section: TuneSettings) -> list[Fit]:
    """Arrangements in the order in which they were looked at; the last is proposed and measured.

    Raises:
        TrainingError: ``budget-too-small``, with the smallest that would do.
    """
    if section.model.train_tokenizer is not None:
        raise TrainingError(
            "What a fresh model takes is not known before its tokenizer is.",
            slug="plan-no-tokenizer",
            got="model.train_tokenizer",
            fix="Remove memory.budget, or name a tokenizer that is there with model.tokenizer.",
        )
    budget = section.memory.budget
    limit = None if budget is None else in_bytes(budget)
    asked = asked_of(section)
    ways = options(asked) if limit is not None else [Option(values={})]
    fits: list[Fit] = []
    start = 0
    while start < len(ways):
        found = _expected(section, asked, ways[start:], limit)
        fits += found
        start += len(found)
        if limit is not None and fits[-1].expected["total"] > limit:
            break  # none is left that is expected to fit
        fits[-1] = _tried(section, fits[-1], limit)
        if limit is None or fits[-1].peak <= limit * (1 - MARGIN):
            return fits
    assert limit is not None
    best = min(fits, key=_peak)
    if best.measured is None and best.peak <= HIGH * limit:
        fits = [fit for fit in fits if fit is not best]
        try:
            fits.append(_tried(section, best, limit))
        except TrainingError as error:  # such as one that is too large for the machine
            if error.slug != FAILED:
                raise
            raise _too_small(
                section, asked, [*fits, best], "; not measured, which failed"
            ) from error
        if fits[-1].peak <= limit * (1 - MARGIN):
            return fits
    raise _too_small(section, asked, fits)


def _peak(fit: Fit) -> float:
    return fit.peak


def _tried(section: TuneSettings, fit: Fit, limit: float | None) -> Fit:
    return replace(fit, measured=_measured(with_changes(section, fit.changes), limit))


def _measured(section: TuneSettings, limit: float | None) -> dict[str, Any]:
    """What was measured; where that is little below a limit, the larger of two."""
    found = measure(section)
    if limit is None or not limit * (1 - NEAR) < found["peak"] <= limit * (1 - MARGIN):
        return found
    return max(found, measure(section), key=lambda one: float(one["peak"]))


def asked_of(section: TuneSettings) -> Asked:
    """What may be changed of a section, and where the search starts."""
    adapter = section.adapter
    frozen = adapter is not None and adapter.kind not in OF_THE_BASE
    activations = "full" if section.gradient_checkpointing else section.memory.activations
    return Asked(
        activations=activations,
        allocator=section.memory.allocator,
        stream=section.memory.stream,
        quantise=base_kind(section.quantise),
        optimizer=section.optimizer,
        dtype=section.model.dtype,
        tokens_per_batch=section.tokens_per_batch,
        max_length=section.max_length,
        accumulation=section.gradient_accumulation_steps,
        streams=frozen,
        quantises=frozen,
        allow=section.memory.allow,
    )


def with_changes(section: TuneSettings, changes: Mapping[str, Any]) -> TuneSettings:
    """The section with some settings changed, and no budget left to keep to."""
    fields = section.model_dump(mode="json", exclude_unset=True)
    fields.setdefault("memory", {})
    for name in ("budget", "allow"):
        fields["memory"].pop(name, None)
    for name, value in changes.items():
        *path, last = name.split(".")
        here = fields
        for part in path:
            here = here.setdefault(part, {})
        here[last] = value
    if "memory.activations" in changes:
        fields.pop("gradient_checkpointing", None)
    return TuneSettings.model_validate(fields)


def _expected(
    section: TuneSettings, asked: Asked, ways: Sequence[Option], limit: int | None
) -> list[Fit]:
    """What arrangements are expected to take, in order, until one is within the limit."""
    changed = [changes(way, asked, section.gradient_accumulation_steps) for way in ways]
    sections = [with_changes(section, one).model_dump(mode="json") for one in changed]
    job = {"way": "parts", "sections": sections, "budget": limit}
    found = _probe(job, "what arrangements take")["parts"]
    return [
        Fit(words=way.words, changes=one, expected=parts)
        for way, one, parts in zip(ways, changed, found, strict=False)
    ]


def measure(section: TuneSettings) -> dict[str, Any]:
    """What a training takes, measured in a fresh process: bytes, and tokens a second.

    Raises:
        TrainingError: it cannot be measured.
    """
    return _probe({"way": "whole", "section": section.model_dump(mode="json")}, "a whole model")


def _probe(job: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Run a measurement in a process of its own.

    Raises:
        TrainingError: it failed.
    """
    with tempfile.TemporaryDirectory() as place, console.progress(None, f"plan: {what}", "s"):
        job_file, result_file = Path(place) / "job.json", Path(place) / "result.json"
        atomic_write(job_file, json_text(job))
        done = subprocess.run(
            module_command(PROBE, str(job_file), str(result_file)),
            env=module_environment(),
            capture_output=True,
            check=False,
        )
        if done.returncode == 0 and result_file.is_file():
            found: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8"))
            if "error" not in found:
                return found
            said = found["error"]
        else:
            said = done.stderr.decode(errors="replace")[-TAIL:]
            said = f"its process ended with status {done.returncode}: {said}"
    raise TrainingError(
        "What the training takes could not be measured.",
        slug=FAILED,
        got=said,
        fix="Mend the cause, or remove memory.budget.",
    )


def _too_small(
    section: TuneSettings, asked: Asked, fits: Sequence[Fit], unmeasured: str = ""
) -> TrainingError:
    """Nothing fits: the smallest that would, and what else could be allowed; ``unmeasured`` is said
    of a smallest that is expected alone.
    """
    # what was measured is known, and what others are expected to take may be as wrong
    best = min([fit for fit in fits if fit.measured is not None] or fits, key=_peak)
    # enough for one that takes as much more the next time as peaks differ by
    least = math.ceil(best.peak * (1 + NEAR) / (1 - MARGIN) / GIB * 100) / 100
    could = [name for name in _lossy(section, asked) if name not in asked.allow]
    return TrainingError(
        "No arrangement that the settings allow keeps to the budget.",
        slug="budget-too-small",
        got=f"memory.budget {section.memory.budget}",
        expected=f"{least:.2f} GiB or more ({best.words})"
        if best.measured is not None
        else f"about {least:.2f} GiB or more ({best.words}){unmeasured}",
        fix="Raise the budget, lower max_length"
        + (f", or allow more changes with memory.allow: [{', '.join(could)}]." if could else "."),
    )


def _lossy(section: TuneSettings, asked: Asked) -> list[str]:
    found = ["quantise"] if asked.quantises and section.quantise is None else []
    return [*found, "optimizer", "dtype"]


def as_json(section: TuneSettings, fits: Sequence[Fit]) -> dict[str, Any]:
    """For ``plan.json`` and ``--json``: bytes and tokens a second."""
    chosen = fits[-1]
    return {
        "budget": section.memory.budget,
        "changes": dict(chosen.changes),
        "chosen": chosen.words,
        "expected": dict(chosen.expected),
        "measured": None if chosen.measured is None else dict(chosen.measured),
        "looked_at": [{"words": fit.words, "expected": dict(fit.expected)} for fit in fits],
    }


def show(stage: str, section: TuneSettings, fits: Sequence[Fit]) -> None:
    """Print what was looked at, the parts of what is proposed, and how fast it is."""
    shown = sorted(fits[:-1], key=lambda fit: fit.expected["total"])[-8:]
    if shown:
        rows = [[fit.words, _gib(fit.expected["total"])] for fit in (*shown, fits[-1])]
        console.table(f"{stage}: arrangements", ["arrangement", "expected GiB"], rows)
    chosen = fits[-1]
    measured = chosen.measured or {}
    names = ("libraries", "weights", "trained", "optimizer", "step", "apart", "total")
    seen = {**measured, "total": measured.get("peak")}
    rows = [
        [
            _PARTS[name],
            _gib(chosen.expected[name]),
            "" if seen.get(name) is None else _gib(seen[name]),
        ]
        for name in names
    ]
    console.table(f"{stage}: {chosen.words}", ["memory", "expected GiB", "measured GiB"], rows)
    if measured:
        rate = measured["tokens_per_second"]
        text = f"{stage}: {rate:,.0f} tokens a second at the largest micro-batch"
        if section.max_tokens:
            text += f", about {duration(section.max_tokens / rate)} for {section.max_tokens:,}"
        console.line(text)


_PARTS = {
    "libraries": "Python and libraries",
    "weights": "weights that stay",
    "trained": "weights that are trained",
    "optimizer": "state of the optimizer",
    "step": "a step: activations, gradients, head",
    "apart": "kernels and what the allocator keeps",
    "total": "all, at its peak",
}


def _gib(size: float) -> str:
    return f"{size / GIB:.3f}"
