"""What ``show`` prints of tasks: a table of all, panels of a row, tables of the coverage."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regimen import console
from regimen.instances.lints.findings import SEVERITIES, Finding
from regimen.layout import COLUMNS, Panel
from regimen.records import Task
from regimen.stages.show_encodings import Encoded
from regimen.stages.show_material import TaskMaterial

MOST_TASKS, MOST_GROUPS, MOST_ENCODINGS, MOST_LABELS = 40, 12, 24, 10
BAR = 30
"""Characters of the longest bar."""
_CATEGORY = 18
"""Longest category in the table of all tasks."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
LENGTHS = ("median", "p95", "longest")


def say(text: str) -> None:
    """Print a sentence in lines of at most 100 columns."""
    console.line(textwrap.fill(" ".join(text.split()), COLUMNS, break_long_words=False))


def languages(task: Task) -> list[str]:
    """The languages of a task, of its instruction, its definitions and its templates."""
    own = [task.language, task.instruction_language, *task.definitions]
    return [one for one in dict.fromkeys([*own, *(t.language for t in task.templates)]) if one]


def rows_of(task: Task) -> int | None:
    """How many rows a task has; None where a function makes as many as are wanted."""
    return None if task.generator is not None else len(task.instances)


# -- all tasks ------------------------------------------------------------------------------------


def overview(tasks: Sequence[Task], findings: Mapping[str, Sequence[Finding]]) -> None:
    """Print a table of the first tasks, and totals by category and language.

    Args:
        tasks: all tasks.
        findings: of those that were looked at, by name.
    """
    severities = list(SEVERITIES) if findings else []
    console.table(
        f"{len(tasks):,} tasks",
        ["task", "rows", "templates", "languages", "category", *severities],
        [
            [
                task.name,
                "generated" if rows_of(task) is None else rows_of(task),
                len(task.templates),
                " ".join(languages(task)),
                _short(task.category),
                *(counted(findings.get(task.name)).values() if findings else ()),
            ]
            for task in tasks[:MOST_TASKS]
        ],
    )
    _more(len(tasks) - MOST_TASKS, "tasks")
    for what, several in (("category", "categories"), ("language", "languages")):
        groups = totals(tasks, what)
        if len(groups) < 2:
            continue
        console.line()
        columns = [c for c in ("tasks", "rows", "generated") if any(g[c] for g in groups.values())]
        rows = [[name or "(none)", *(group[c] for c in columns)] for name, group in groups.items()]
        console.table("", [what, *columns], rows[:MOST_GROUPS])
        _more(len(rows) - MOST_GROUPS, several)


def _short(text: str) -> str:
    """A text that leaves room for the name beside it, which has to be typed."""
    return text if len(text) <= _CATEGORY else text[: _CATEGORY - 1] + "…"


def _more(count: int, what: str) -> None:
    if count > 0:
        console.line(f"… and {count:,} more {what}")


def counted(findings: Sequence[Finding] | None) -> dict[str, int | None]:
    """Findings by severity; None for a task that was not looked at."""
    if findings is None:
        return dict.fromkeys(SEVERITIES)
    return {s: sum(one.severity == s for one in findings) for s in SEVERITIES}


def totals(tasks: Sequence[Task], what: str) -> dict[str, dict[str, int]]:
    """Tasks, their rows, and tasks with generated rows by ``category`` or ``language``."""
    groups: dict[str, dict[str, int]] = {}
    for task in tasks:
        group = groups.setdefault(getattr(task, what), {"tasks": 0, "rows": 0, "generated": 0})
        group["tasks"] += 1
        group["rows"] += rows_of(task) or 0
        group["generated"] += rows_of(task) is None
    return dict(sorted(groups.items(), key=lambda item: (-item[1]["tasks"], item[0])))


def remarks(material: TaskMaterial) -> None:
    """Print what of a source is no task, and why."""
    if material.failures:
        first = material.failures[0]
        where = f"{first.source}:{first.row}".lstrip(":")
        say(
            f"Records that could not be read: {len(material.failures):,}. The first is {where}: "
            f"{first.error}: {first.got} {first.fix}"
        )
    if material.others:
        counts = ", ".join(f"{kind} {count:,}" for kind, count in material.others.items())
        say(f"Records that are no tasks, and are not shown: {counts}.")
    if material.removed:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in material.removed.items())
        say(f"Tasks that the settings leave out: {counts}.")
    for note in material.notes:
        say(note)


# -- one task -------------------------------------------------------------------------------------


def facts(task: Task) -> None:
    """Print what a task says of itself."""
    console.heading(f"task {task.name}")
    said = {
        "category": task.category,
        "family": task.family if task.family != task.category else "",
        "languages": " ".join(languages(task)),
        "licence": task.licence,
        "source": task.source,
        "options": ", ".join(task.options[:8]) + (", …" if len(task.options) > 8 else ""),
        **{key: value for key, value in task.tags.items() if len(value) <= 40},
    }
    say("; ".join(f"{name}: {value}" for name, value in said.items() if value))


def row_panels(
    title: str,
    shown: Sequence[Encoded],
    left_out: Mapping[str, int],
    tokens: Callable[[str], int] | None = None,
) -> None:
    """Print a row in its encodings; ``tokens`` counts those of a text."""
    console.heading(title)
    console.line()
    console.panels([_panel(one, tokens) for one in shown])
    for what, more in left_out.items():
        console.line()
        console.line(f"… and {more:,} more {what}")


def _panel(one: Encoded, tokens: Callable[[str], int] | None) -> Panel:
    if one.error:
        reason = f"{one.error}: {one.got}"
        return Panel(one.name, ((reason, "red"), (one.fix, "")), "cannot be asked so")
    learned = [text for text in (one.reasoning, one.answer) if text]
    sections = ((one.prompt, ""), *((text, "green") for text in learned))
    answer = "".join(learned)
    lengths = f"prompt {len(one.prompt):,} + answer {len(answer):,} characters"
    if tokens is not None:
        lengths += f"\n{tokens(one.prompt):,} + {tokens(answer):,} tokens"
    return Panel(one.name, sections, "\n".join(filter(None, (lengths, one.note))))


def coverage_tables(report: Mapping[str, Any], findings: Sequence[Finding]) -> None:
    """Print what the encodings of a task write for its rows, its answers, and its lints."""
    rows, examples = report["rows"], report["examples"]
    all_rows = "as many as are wanted" if rows["all"] is None else f"{rows['all']:,}"
    console.heading("coverage")
    say(
        f"rows: {all_rows}, {rows['looked_at']:,} looked at; held-out rows: {rows['held_out']:,}; "
        f"examples: {examples['positive']} positive, {examples['negative']} negative"
    )
    _encodings(report["encodings"])
    _answers(report["answers"])
    _positions(report["positions"])
    _lints(findings)


def _encodings(encodings: Sequence[Mapping[str, Any]]) -> None:
    console.line()
    console.table(
        "encodings (characters: median, 95%, longest)",
        [
            *("encoding", "rows", "failed", "prompt", "95%", "longest"),
            *("answer", "95%", "longest", "distinct"),
        ],
        [
            [
                one["name"],
                one["rows"],
                sum(said["count"] for said in one["failed"].values()),
                *(one["prompt"].get(name) for name in LENGTHS),
                *(one["answer"].get(name) for name in LENGTHS),
                "" if one["distinct_prompts"] is None else f"{one['distinct_prompts']:.0%}",
            ]
            for one in encodings[:MOST_ENCODINGS]
        ],
    )
    _more(len(encodings) - MOST_ENCODINGS, "encodings")
    failed = [
        [one["name"], error, said["count"], f"row {said['row']}: {said['got']}"]
        for one in encodings
        for error, said in one["failed"].items()
    ]
    if failed:
        console.line()
        columns = ["encoding", "why", "rows", "first"]
        console.table("rows that an encoding cannot ask", columns, failed[:MOST_ENCODINGS])
        _more(len(failed) - MOST_ENCODINGS, "reasons")


def _answers(answers: Mapping[str, Any]) -> None:
    lengths = answers["characters"]
    if not lengths:
        return
    console.line()
    if "labels" not in answers:
        say(
            f"answers: {answers['different']:,} different in {answers['answers']:,}; characters: "
            f"median {lengths['median']:,}, 95% {lengths['p95']:,}, longest {lengths['longest']:,}"
        )
        return
    labels, total = answers["labels"], answers["answers"]
    most, even = max(labels.values()), math.log2(len(labels))
    console.table(
        f"answers: {len(labels)} labels in {total:,}, entropy {answers['entropy']:.2f} bits, at "
        f"most {even:.2f}",
        ["label", "rows", "share", ""],
        [
            [label, count, f"{count / total:6.1%}", bar(count / most)]
            for label, count in list(labels.items())[:MOST_LABELS]
        ],
    )
    _more(len(labels) - MOST_LABELS, "labels")


def bar(share: float) -> str:
    """A bar of characters, ``BAR`` of them for a share of 1, to an eighth of a character."""
    eighths = max(1, round(share * BAR * 8)) if share > 0 else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _positions(positions: Mapping[str, Any]) -> None:
    """Where the right option stands, in the order of the encodings."""
    if not positions:
        return
    console.line()
    rows = [
        [name, int(options), "  ".join(map(str, row["counts"])), row["p"]]
        for name, sizes in positions["tasks"].items()
        for options, row in sizes.items()
    ]
    console.table(
        "place of the right option (p: of so uneven a draw, were all places alike)",
        ["encoding", "options", "rows by place", "p"],
        rows[:MOST_ENCODINGS],
    )
    _more(len(rows) - MOST_ENCODINGS, "encodings")


def _lints(findings: Sequence[Finding]) -> None:
    console.line()
    if not findings:
        console.line("lints: nothing found")
        return
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.severity, one.lint), []).append(one)
    console.table(
        "lints",
        ["severity", "lint", "count", "first"],
        [[*key, sum(one.count for one in some), _first(some)] for key, some in groups.items()],
    )


def _first(findings: Sequence[Finding]) -> str:
    """The detail of the first finding, its template and its first row."""
    first = findings[0]
    place = [f"template {first.template}"] if first.template else []
    place += [f"row {first.rows[0]}"] if first.rows else []
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return (f"{', '.join(place)}: " if place else "") + first.detail + more
