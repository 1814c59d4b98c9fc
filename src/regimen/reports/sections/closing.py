"""Settings as resolved, what the run took, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from regimen.reports.files import STAGES, Json, flat, mapping, number
from regimen.reports.markup import Child, Column, Section, details, el, paragraph, table
from regimen.reports.rundata import RunData
from regimen.reports.wording import significant, title

LONGEST = 16


def closing(run: RunData) -> Section | None:
    """Speed and memory, reproduce block, settings."""
    parts = [part for part in (_resources(run), _reproduce(run), _settings(run)) if part]
    if not parts:
        return None
    return Section(
        anchor="reproduce", title="Settings, resources, reproduction", body=Markup().join(parts)
    )


def _resources(run: RunData) -> Markup | None:
    """A row per training stage from its log, and all that its summary says."""
    rows: list[list[Child]] = []
    for stage, training in run.training.items():
        facts = resources(training.rows, training.summary)
        rows.append([title(stage), *(facts[name] for name in FACTS)])
    times = _times(run.manifests)
    if not rows and not times:
        return None
    columns = [Column(label="Stage"), *(Column(label=name, number=True) for name in FACTS)]
    parts = [el("h3", "Memory and speed")]
    if rows:
        parts.append(table("Training", columns, rows, show_caption=False))
    if times:
        listed = [[title(name), f"{seconds:,.1f} s"] for name, seconds in times.items()]
        columns = [Column(label="Stage"), Column(label="Wall time", number=True)]
        parts.append(table("Wall time by stage", columns, listed))
    for stage, training in run.training.items():
        if training.summary:
            parts.append(details(f"Summary of {stage}", _facts(flat(training.summary), stage)))
    return Markup().join(parts)


FACTS = ("Steps", "Tokens", "Supervised", "Tokens/s", "Peak memory")


def resources(rows: tuple[Json, ...], summary: Json) -> dict[str, str]:
    """Steps, tokens, median tokens per second and peak memory of a training stage."""

    def values(key: str) -> list[float]:
        return [x for row in rows if (x := number(row.get(key))) is not None]

    def last(key: str) -> str:
        found = values(key) or [x for x in [number(summary.get(key))] if x is not None]
        return significant(round(found[-1])) if found else "\N{EN DASH}"

    speeds = sorted(values("tokens_per_second"))
    memory = values("peak_memory_gib")
    return {
        "Steps": last("step"),
        "Tokens": last("num_tokens"),
        "Supervised": last("supervised_tokens"),
        "Tokens/s": f"{speeds[len(speeds) // 2]:,.0f}" if speeds else "\N{EN DASH}",
        "Peak memory": f"{max(memory):.2f} GiB" if memory else "\N{EN DASH}",
    }


def _times(manifests: Mapping[str, Json]) -> dict[str, float]:
    times: dict[str, float] = {}
    for stage in STAGES:
        volatile = mapping(mapping(manifests.get(stage)).get("volatile"))
        for key in ("seconds", "wall_seconds", "wall_s", "duration_s"):
            if (value := number(volatile.get(key))) is not None:
                times.setdefault(stage, value)
    return times


def _facts(facts: Mapping[str, Any], caption: str) -> Markup:
    columns = [Column(label="Name"), Column(label="Value", wide=True)]
    rows = [[title(name), significant(value)] for name, value in facts.items()]
    return table(caption, columns, rows, show_caption=False)


def machine(run: RunData) -> dict[str, Any]:
    """Versions and machine, from the first manifest that has them."""
    found: dict[str, Any] = {}
    for name in ("run", *reversed(STAGES)):
        manifest = mapping(run.manifests.get(name))
        for place in (manifest, mapping(manifest.get("volatile"))):
            for key in ("versions", "machine", "platform", "python", "seed"):
                if key in place and not any(k == key or k.startswith(f"{key}.") for k in found):
                    found |= flat({key: place[key]})
    return found


def commands(run: RunData) -> str:
    """The commands that repeat the run and rewrite the report."""
    return f"regimen run settings.yaml\nregimen report {run.directory.as_posix()}"


def _reproduce(run: RunData) -> Markup:
    parts = [
        el("h3", "Reproduce"),
        paragraph("With the settings below saved as ", el("code", "settings.yaml"), ":"),
        el("pre", el("code", commands(run)), tabindex="0"),
    ]
    if found := machine(run):
        parts.append(details("Versions and machine", _facts(found, "Versions and machine")))
    keys = {
        name: mapping(manifest.get("key"))
        for name, manifest in run.manifests.items()
        if manifest.get("key")
    }
    if keys:
        rows = [
            [title(stage), part, el("code", str(value)[:LONGEST])]
            for stage, key in keys.items()
            for part, value in key.items()
        ]
        columns = [Column(label="Stage"), Column(label="Part"), Column(label="Hash")]
        hashes = table("What each stage depends on", columns, rows, show_caption=False)
        parts.append(details("What each stage depends on", hashes))
    return Markup().join(parts)


def _settings(run: RunData) -> Markup | None:
    if not run.settings:
        return None
    block = el("pre", el("code", run.settings), tabindex="0", class_="settings")
    return el("h3", "Settings as resolved") + details(
        f"settings.yaml, {len(run.settings.splitlines())} lines", block
    )
