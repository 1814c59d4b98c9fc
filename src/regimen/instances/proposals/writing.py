"""Proposals as YAML: each part of the task with the reasons for it as comments above it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen.instances.data_rows import Columns
from regimen.instances.proposals.roles import Guess
from regimen.instances.proposals.splits import Parts
from regimen.instances.proposals.tables import Column, Table
from regimen.instances.proposals.wording import definition, output_format, templates
from regimen.layout import clean
from regimen.records import Template
from regimen.settings import yaml12

HELD_OUT = 0.1
"""Share of the rows that is held out where the data has no part of its own for that."""
ITEMS = 200
"""Held-out rows that an evaluation asks."""
_WIDTH = 98
_SHORT_CONVERSATION = 7_000
"""Characters up to which the default bound on a conversation is left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """All that is written.

    Args:
        name: of the task and of its file.
        guess: what the table asks.
        table: the rows looked at.
        parts: the files or splits, of which the first of ``apart`` or ``splits`` is held out.
        folder: where the files are written; paths count from there.
        dataset: name of a data set of the hub, instead of files.
        config: its configuration.
        header: names for a file whose first line is a row.
        source: what the user named.
        more: whether there are rows that were not looked at.
        notes: what is said of the held-out rows.
    """

    name: str
    guess: Guess
    table: Table
    parts: Parts
    folder: Path
    source: str
    dataset: str = ""
    config: str = ""
    header: tuple[str, ...] = ()
    more: bool = False
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def seen(self) -> str:
        """``all 120 rows`` or ``the first 10,000 rows``."""
        return f"{'the first' if self.more else 'all'} {len(self.table.rows):,} rows"


def comment(sentences: Iterable[str], indent: str = "") -> str:
    """Sentences as comment lines; whatever data holds stays on its line."""
    lines: list[str] = []
    for sentence in sentences:
        text = clean(" ".join(sentence.split()))
        lines += textwrap.wrap(text, _WIDTH - len(indent) - 2, break_on_hyphens=False)
    return "".join(f"{indent}# {line}\n" for line in lines)


def _entry(key: str, value: Any, why: Iterable[str] = (), indent: str = "") -> str:
    text = yaml12.dump({key: value})
    return comment(why, indent) + textwrap.indent(text, indent)


def task_text(proposal: Proposal) -> str:
    """The task's YAML file with its reasons."""
    guess = proposal.guess
    pieces = [
        comment(_head(proposal)),
        _entry("name", proposal.name),
        _entry("family", guess.type, [f"Why {guess.type}:", *guess.why.get("type", ())]),
        comment(["It could also be:", *guess.others]) if guess.others else "",
        comment(
            [
                "Say under which licence the rows are and in which language, for example:",
                "licence: CC-BY-4.0",
                "language: en",
            ]
        ),
        _entry("definition", definition(guess), ["What is asked. Say it in your own words."]),
    ]
    hint = output_format(guess)
    if hint:
        pieces.append(_entry("output_format", hint))
    pieces.append("data:\n" + _data(proposal))
    why = "Ways to ask; they may name any column of the data. More ways teach more."
    entries = "".join(_written(template) for template in templates(guess))
    pieces.append(comment([why]) + "templates:\n" + entries)
    return "\n".join(piece for piece in pieces if piece)


def _written(template: Template) -> str:
    """A template as an entry of a list, its lines as they will be."""
    values = {"name": template.name, "input": template.input, "choices": template.choices}
    text = "".join(_text_entry(key, value) for key, value in values.items() if value)
    return "  - " + textwrap.indent(text, "    ").removeprefix("    ")


def _text_entry(key: str, value: str) -> str:
    """A text with its lines written out, where YAML reads them back to the same text."""
    block = f"{key}: |-\n{textwrap.indent(value, '  ')}\n"
    plain = "\n" not in value or yaml12.parse(block, "template").data != {key: value}
    return yaml12.dump({key: value}) if plain else block


def _head(proposal: Proposal) -> list[str]:
    lines = [
        f"Proposed from {proposal.seen} of {proposal.source}.",
        "Nothing here is certain: each guess says why it was made. Correct what is wrong.",
        "The columns:",
    ]
    return [*lines, *(f"- {c.name[:40]}: {c.describe()}" for c in proposal.table.columns[:40])]


def _data(proposal: Proposal) -> str:
    guess, parts = proposal.guess, proposal.parts
    indent = "  "
    pieces = []
    if proposal.dataset:
        pieces.append(_entry("dataset", proposal.dataset, indent=indent))
        if proposal.config:
            pieces.append(_entry("config", proposal.config, indent=indent))
    else:
        pieces.append(_entry("path", relative(parts.paths, proposal.folder), indent=indent))
    if parts.split:
        pieces.append(_entry("split", parts.split, indent=indent))
    if proposal.header:
        why = ["The first line of the file is a row, so the columns are named here. Check them."]
        pieces.append(_entry("header", list(proposal.header), why, indent))
    columns = {ours: _plain(theirs) for ours, theirs in guess.columns.items()}
    pieces.append(_entry("columns", columns, _column_reasons(guess), indent))
    if guess.answer != "text":
        pieces.append(_entry("answer", guess.answer, guess.why.get("output", ())[:1], indent))
    if guess.labels:
        pieces.append(_entry("labels", dict(guess.labels), _label_reasons(proposal), indent))
    pieces.append(_held_out(proposal, indent))
    return "".join(pieces)


def _column_reasons(guess: Guess) -> list[str]:
    shown = [
        f"{name}: {' '.join(guess.why[name])}"
        for name in ("output", "options")
        if guess.why.get(name)
    ]
    return ["The name of the task: the column of the data.", *shown]


def _label_reasons(proposal: Proposal) -> list[str]:
    guess = proposal.guess
    (output, *_) = guess.columns_of("output")
    reasons = list(guess.why.get("labels", ()))
    reasons.append("A value that is not listed is a failure, counted and shown.")
    if guess.unnamed:
        reasons.append(
            "PLEASE NAME THE LABELS: numbers mean nothing to a model, and nothing here says what "
            "they mean. A row of each:"
        )
        reasons += [f"- {value}: {_example(proposal, output, value)}" for value in guess.labels]
    return reasons


def _example(proposal: Proposal, output: str, value: str) -> str:
    """The start of the first input that has a label."""
    (shown, *_) = proposal.guess.columns_of("input")
    for row in proposal.table.rows:
        if str(row.get(output)) == value:
            return textwrap.shorten(str(row.get(shown, "")), 70, placeholder=" ...")
    return ""


def _held_out(proposal: Proposal, indent: str) -> str:
    parts = proposal.parts
    if parts.apart:
        value: Any = {"path": relative(parts.apart[0], proposal.folder)}
    elif parts.splits:
        value = {"split": parts.splits[0]}
    else:
        value = HELD_OUT
    return _entry("held_out", value, proposal.notes, indent)


def relative(paths: Sequence[Path], folder: Path) -> str | list[str]:
    """Paths as seen from a folder, with forward slashes; a single one as a text."""
    found = [Path(os.path.relpath(path, folder)).as_posix() for path in paths]
    return found[0] if len(found) == 1 else found


def _plain(columns: Columns) -> str | dict[str, str] | list[str]:
    if isinstance(columns, str):
        return columns
    by_letter = all(len(label) == 1 for label, _ in columns)
    return [name for _, name in columns] if by_letter else dict(columns)


def settings_text(
    proposal: Proposal, task_file: Path | None, model: str, sources: Sequence[str]
) -> str:
    """The settings that build from the data and tune on it.

    Args:
        proposal: what is proposed.
        task_file: the task's file as seen from where the command runs; None for rows that are
            instructions already.
        model: the model to tune.
        sources: for such rows, their files or folders as seen from where the command runs.
    """
    guess = proposal.guess
    said: dict[str, Any] = {} if task_file else {"format": guess.format}
    said |= {"columns": _flat(guess)} if guess.columns and not task_file else {}
    paths = [task_file.as_posix()] if task_file else list(sources)
    build: dict[str, Any] = {"sources": [{"path": path, **said} for path in paths]}
    longest = sum(_length(column, guess) for column in proposal.table.columns)
    if longest > _SHORT_CONVERSATION:
        build["curation"] = {"max_characters": 2 * longest}
    if task_file is not None:
        build["instances_per_task"] = 1_000_000
        build["formatting"] = {"encoding": "mixed", "template_share": 0.7}
        build["held_out"] = {"items_per_task": ITEMS}
    elif guess.format not in ("preference", "natural_instructions"):
        build["held_out"] = {"share": 0.05}
    learn = {"model": {"path": model}, "num_train_epochs": 2, "learning_rate": 1e-4}
    stage = "align" if guess.format == "preference" else "tune"
    return "\n".join(
        [
            comment([f"Builds instances from {proposal.source} and learns from them."]),
            _entry("run", f"runs/{proposal.name}", ["Where everything is written."]),
            _entry("build", build, _build_reasons(guess, task_file is not None)),
            _entry(stage, learn, ["A folder of a model; put your own here."]),
            comment(["To compare base and tuned model on the held-out rows, add:", "evaluate: {}"]),
        ]
    )


def _build_reasons(guess: Guess, task: bool) -> list[str]:
    if not task:
        return list(guess.why.get("type", ()))
    return ["All rows (instances_per_task): most asked by a template, others by the definition."]


def _flat(guess: Guess) -> Mapping[str, Any]:
    return {ours: theirs for ours, theirs in guess.columns.items() if isinstance(theirs, str)}


def _length(column: Column, guess: Guess) -> int:
    used = {name for ours in guess.columns for name in guess.columns_of(ours)}
    whole = guess.type == "instructions" or column.name in {n.partition(".")[0] for n in used}
    return column.longest if whole else 0
