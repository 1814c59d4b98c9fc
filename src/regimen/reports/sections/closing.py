"""Settings as resolved, what the run took, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from regimen.errors import SettingsError
from regimen.layout import duration
from regimen.reports.files import Json, flat, mapping, number
from regimen.reports.markup import Child, Column, Section, details, el, join, paragraph, table
from regimen.reports.rundata import RunData
from regimen.reports.wording import NONE, significant, title

LONGEST = 16


def closing(run: RunData) -> Section | None:
    """Speed and memory, reproduce block, settings."""
    parts = [part for part in (_resources(run), _reproduce(run), _settings(run)) if part]
    if not parts:
        return None
    return Section(
        anchor="reproduce",
        title="Settings, resources, reproduction",
        label="Settings and resources",
        body=Markup().join(parts),
    )


def _resources(run: RunData) -> Markup | None:
    """A row per stage: wall time from its manifest, the rest from its log."""
    times = {stage: _seconds(run.manifests.get(stage)) for stage in run.all_stages}
    rows: list[list[Child]] = []
    for stage in run.all_stages:
        training, seconds = run.training.get(stage), times[stage]
        if training is None and seconds is None:
            continue
        facts = resources(training.rows, training.summary) if training else {}
        wall = NONE if seconds is None else duration(seconds)
        rows.append([title(stage), wall, *(facts.get(name, NONE) for name in FACTS)])
    if not rows:
        return None
    columns = [Column(label="Stage"), Column(label="Wall time", number=True)]
    columns += [Column(label=name, number=True) for name in FACTS]
    summaries = (
        details(f"Summary of {stage}", _facts(flat(training.summary), stage))
        for stage, training in run.training.items()
        if training.summary
    )
    head = el("h3", "Memory and speed")
    return head + table("Memory and speed", columns, rows, show_caption=False) + join(summaries)


FACTS = ("Steps", "Tokens", "Supervised", "Tokens/s", "Peak memory")


def resources(rows: tuple[Json, ...], summary: Json) -> dict[str, str]:
    """Steps, tokens, median tokens per second and peak memory of a training stage."""

    def values(key: str) -> list[float]:
        return [x for row in rows if (x := number(row.get(key))) is not None]

    def last(key: str) -> str:
        found = values(key) or [x for x in [number(summary.get(key))] if x is not None]
        return significant(round(found[-1])) if found else NONE

    speeds = sorted(values("tokens_per_second"))
    memory = values("peak_memory_gib")
    return {
        "Steps": last("step"),
        "Tokens": last("num_tokens"),
        "Supervised": last("supervised_tokens"),
        "Tokens/s": f"{speeds[len(speeds) // 2]:,.0f}" if speeds else NONE,
        "Peak memory": f"{max(memory):.2f} GiB" if memory else NONE,
    }


def _seconds(manifest: Json | None) -> float | None:
    return number(mapping(mapping(manifest).get("volatile")).get("seconds"))


def _facts(facts: Mapping[str, Any], caption: str) -> Markup:
    columns = [Column(label="Name"), Column(label="Value", wide=True)]
    rows = [[el("code", name), significant(value)] for name, value in facts.items()]
    return table(caption, columns, rows, show_caption=False)


def machine(run: RunData) -> dict[str, Any]:
    """Versions and machine, from the first manifest that has them."""
    found: dict[str, Any] = {}
    for name in ("run", *reversed(run.all_stages)):
        manifest = mapping(run.manifests.get(name))
        for place in (manifest, mapping(manifest.get("volatile"))):
            for key in ("versions", "machine", "platform", "python", "seed"):
                if key in place and not any(k == key or k.startswith(f"{key}.") for k in found):
                    found |= flat({key: place[key]})
    return found


def commands(run: RunData) -> str:
    """The commands that repeat the run and rewrite the report."""
    place = run.parsed.get("run") or run.directory.name
    return f"regimen run settings.yaml\nregimen report {place}"


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
    parts = [el("h3", "Settings as resolved")]
    found = differing(run)
    if found:
        intro = "These differ from their defaults:"
        listed = (el("li", el("code", name), " ", str(value)) for name, value in found.items())
        parts += [paragraph(intro), el("ul", listed, class_="differing")]
    block = el("pre", el("code", run.settings), tabindex="0", class_="settings")
    lines = len(run.settings.splitlines())
    return Markup().join([*parts, details(f"All of settings.yaml, {lines} lines", block)])


def differing(run: RunData) -> dict[str, Any]:
    """Settings that differ from their defaults, by dotted name.

    Empty where the settings are not those of a whole run, or another version's.
    """
    from regimen.settings.loading import differing as from_defaults
    from regimen.settings.loading import settings_from

    try:
        return flat(from_defaults(settings_from(run.parsed, "settings.yaml")))
    except SettingsError:
        return {}
