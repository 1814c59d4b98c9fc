"""The rows that ``align`` learns from: which file, which records, as tokens; none is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen import console
from regimen.alignment.conditioned import Hindsight, Quark
from regimen.alignment.forms import (
    READABLE,
    Record,
    Row,
    all_alike,
    answers_in,
    records_of,
    row_of,
    scores_of,
    why_no_margin,
    why_unusable,
    with_mismatched,
)
from regimen.alignment.reward_rows import READS
from regimen.curation.ledger import Ledger, Step
from regimen.errors import DataError, TokenError
from regimen.objectives.table import METHODS, Form
from regimen.records import Instance, Labelled, Preference, Ranked, Stepwise
from regimen.reports.files import count_rows
from regimen.runs import Run
from regimen.settings.align import AlignSettings
from regimen.stages.rows import Account, account, origin
from regimen.tables import (
    read_table,
    table_to_labelled,
    table_to_preferences,
    table_to_ranked,
    table_to_stepwise,
)
from regimen.tokens.overflow import fit_answers, fit_conversation
from regimen.tokens.rendering import Rendered, Renderer

if TYPE_CHECKING:
    import pyarrow as pa

AnyRecord = Record | Stepwise

FILES: dict[type[AnyRecord], str] = {
    Preference: "preferences.parquet",
    Labelled: "labelled.parquet",
    Ranked: "ranked.parquet",
    Stepwise: "stepwise.parquet",
}
"""What ``build`` calls the file of each kind of record."""

_KINDS: tuple[tuple[str, type[AnyRecord], Any], ...] = (
    ("chosen", Preference, table_to_preferences),
    ("desirable", Labelled, table_to_labelled),
    ("scores", Ranked, table_to_ranked),
    ("step_labels", Stepwise, table_to_stepwise),
)
"""A column that a kind of record alone has, and the reader of its table."""


def accepted(section: AlignSettings) -> tuple[type[AnyRecord], ...]:
    """The kinds of records that the method learns from, the best one first."""
    if section.rewards:
        return READS[str(section.method)]
    if section.method == "chain_of_hindsight":
        return (Preference,)
    if section.method == "quark":
        return (Ranked, Preference)
    form: Form = section.form  # type: ignore[assignment]
    return READABLE[form]


def learnt_from(section: AlignSettings, data: Path | None) -> Path | None:
    """The file to learn from: what is named, or of a directory the first that has a record.

    It need not be there; None where neither the settings nor a build name one.
    """
    named = section.data or data
    place = None if named is None else Path(named)
    if place is not None and place.is_dir():
        return next(iter(_readable(section, place)), place / FILES[accepted(section)[0]])
    return place


def _readable(section: AlignSettings, place: Path) -> list[Path]:
    """The files of a directory that the method can learn from, those with records first."""
    files = [place / FILES[kind] for kind in accepted(section)]
    rows = {file: count_rows(file) for file in files if file.is_file()}
    return sorted(rows, key=lambda file: not rows[file])


def left_aside(section: AlignSettings, source: Path) -> dict[str, int]:
    """Rows by file that lie beside what is learnt from and that the method could read too.

    Where ``build`` wrote them together, one kind alone is learnt: it is said, not decided silently.
    """
    if section.data is not None and Path(section.data).is_file():
        return {}
    others = [file for file in _readable(section, source.parent) if file != source]
    rows = {file.name: count for file in others if (count := count_rows(file))}
    for name, count in rows.items():
        console.line(
            f"align: learns from {source.name}; {name} ({count:,} rows) is left aside. "
            "Name it with align.data, or bring both into one form with preferences_as."
        )
    return rows


def source_of(section: AlignSettings, data: Path | None) -> Path:
    """The file to learn from, as ``learnt_from``.

    Raises:
        DataError: there is none.
    """
    place = learnt_from(section, data)
    if place is None or not place.is_file():
        raise DataError(
            "There are no preferences to learn from.",
            slug="no-preferences",
            got=str(place),
            fix="Add a source of preferences or build.preferences to the settings.",
        )
    return place


def read_records(section: AlignSettings, table: pa.Table, source: Path) -> Iterator[Any]:
    """The records of a table.

    Raises:
        DataError: they are of a kind that the method cannot learn from.
    """
    kinds = accepted(section)
    for column, kind, read in _KINDS:
        if column in table.column_names:
            if kind in kinds:
                yield from read(table)
                return
            break
    told = section.method if isinstance(section.method, str) else "This sum of losses"
    raise DataError(
        f"{told} cannot learn from the records of this file.",
        slug="records-kind",
        got=f"{source} with columns {', '.join(table.column_names[:8])} ...",
        expected=f"a file such as {', '.join(FILES[kind] for kind in kinds)}",
        fix="Name another file with align.data, or choose another method.",
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """What ``align`` learns from: rows of answers or, of conditioned tuning, conversations.

    ``told`` goes into the summary.
    """

    answers: Sequence[Row] = ()
    conversations: Sequence[Rendered] = ()
    told: Mapping[str, Any] | None = None


def check_margins(records: Sequence[AnyRecord], source: Path, otherwise: str) -> None:
    """Some record must say by how much an answer is better.

    Raises:
        DataError: none does; ``otherwise`` is what can be done without margins.
    """
    if any(isinstance(one, Ranked) or getattr(one, "margin", None) is not None for one in records):
        return
    raise DataError(
        "No comparison has a margin.",
        slug="no-margins",
        got=f"{len(records):,} comparisons of {source}",
        expected="a 'margin' for each, or scores of both answers",
        fix=f"{otherwise}, or add margins to the data.",
    )


def asks_for_margins(section: AlignSettings) -> bool:
    """Whether a loss of the section looks at the margins of pairs."""
    return any(METHODS[loss.name].margins for loss in section.losses)


def why_left_out(section: AlignSettings, record: Record) -> str:
    """The reason why the losses of the section can learn nothing from a record; empty where they
    can."""
    found = why_unusable(record)
    if found or not asks_for_margins(section) or not isinstance(record, Preference):
        return found
    positive = any(
        METHODS[loss.name].margins and loss.offset_scale != "identity" for loss in section.losses
    )
    return why_no_margin(record, positive=positive)


def align_rows(
    section: AlignSettings, renderer: Renderer, run: Run, source: Path, seed: int, ledger: Ledger
) -> Rows:
    """Render what a file holds; what cannot be rendered or learnt from is counted in the ledger.

    Raises:
        DataError: nothing is left, or too little of one kind.
    """
    records = list(read_records(section, read_table(source), source))
    if not section.losses:
        return _conditioned(section, renderer, run, records, ledger)
    unit = {"pairs": "pair", "labelled": "labelled answer", "ranked": "ranked list"}
    form: Form = section.form  # type: ignore[assignment]
    made = [one for record in records for one in records_of(form, record)]
    if asks_for_margins(section):
        check_margins(made, source, "Choose another method")
    rows: list[Row] = []
    with account(run, section, section.overflow, unit.get(form, "record"), ledger) as found:
        for record in made:
            rows += answer_rows(section, renderer, found, record)
        for reason in ("no_margin", "bad_margin"):
            if count := found.step.removed[reason]:
                console.line(f"align: {count:,} of {len(made):,} pairs are left out: {reason}")
    counts = found.counts()
    run.write_json("rendering.json", {**counts, "notes": renderer.notes})
    told: dict[str, Any] = {"rendering": counts, "pairs" if form == "pairs" else "rows": len(rows)}
    if form == "labelled":
        told |= _labels(rows)
    if any(METHODS[loss.name].mismatched for loss in section.losses):
        rows = with_mismatched(rows, seed, section.max_length)
    return Rows(answers=rows, told=told)


def answer_rows(
    section: AlignSettings, renderer: Renderer, found: Account, record: Record
) -> list[Row]:
    """The row of a record, none where it is removed or failed."""
    found.step.enter()
    name = origin(record.lineage, record.instance_id)
    if reason := why_left_out(section, record):
        found.step.remove(record, reason)
        return []
    row = _row(section, renderer, found.step, record, name)
    if row is None:
        return []
    fitted, whole = row
    learnt = sum(weight > 0 for own in whole.rendered.every_weight for weight in own)
    found.settle(
        record,
        int(fitted is not None),
        supervised=learnt,
        lost=0 if fitted is not None else learnt,
        longest=whole.rendered.longest,
    )
    return [fitted] if fitted is not None else []


def _row(
    section: AlignSettings, renderer: Renderer, step: Step, record: Record, name: str
) -> tuple[Row | None, Row] | None:
    try:
        fitted, whole = fit_answers(
            renderer, record.prompt, answers_in(record), section.max_length, section.overflow
        )
    except TokenError as error:
        step.fail(name, error.slug, error.got, error.fix)
        return None
    if all_alike(whole):
        step.remove(record, "equal_answers")
        return None
    margins = asks_for_margins(section)
    kept = None if fitted is None else row_of(record, fitted, name, margins=margins)
    return kept, row_of(record, whole, name, margins=margins)


def _labels(rows: Sequence[Row]) -> dict[str, Any]:
    """How many answers are desirable; both kinds are needed."""
    desirable = sum(row.scores[0] > 0 for row in rows)
    counts = {"desirable": desirable, "undesirable": len(rows) - desirable}
    if not all(counts.values()):
        raise DataError(
            "All answers have the same label.",
            slug="one-label",
            got=", ".join(f"{count:,} {kind}" for kind, count in counts.items()),
            expected="some of each",
            fix="Add answers of the other kind, or learn the desirable ones with `tune`.",
        )
    return {"labels": counts}


def conditioned_method(section: AlignSettings) -> Hindsight | Quark:
    """The method of conditioned tuning, with its hyper-parameters."""
    if section.method == "quark":
        return Quark(**section.given())
    return Hindsight(**section.given())


def _conditioned(
    section: AlignSettings,
    renderer: Renderer,
    run: Run,
    records: Sequence[Record],
    ledger: Ledger,
) -> Rows:
    """Conversations with a condition, one record after another."""
    method = conditioned_method(section)
    ordered = sorted(s for record in records for s in scores_of(record) if not why_unusable(record))
    rows: list[Rendered] = []
    with account(run, section, section.overflow, "record", ledger) as found:
        for record in records:
            found.step.enter()
            if reason := why_unusable(record):
                found.step.remove(record, reason)
                continue
            rows += _conversations(section, renderer, found, record, method, ordered)
    counts = found.counts()
    run.write_json("rendering.json", {**counts, "notes": renderer.notes})
    told = {"rendering": counts, "rows": len(rows), "condition": method.condition}
    return Rows(conversations=rows, told=told)


def conversations_of(
    method: Hindsight | Quark, record: Record, ordered: Sequence[float]
) -> Iterable[Instance]:
    """What conditioned tuning learns from a record."""
    if isinstance(method, Quark):
        assert isinstance(record, Ranked | Preference)
        return method.conversations(record, ordered)
    assert isinstance(record, Preference)
    return [method.conversation(record)]


def _conversations(
    section: AlignSettings,
    renderer: Renderer,
    found: Account,
    record: Record,
    method: Hindsight | Quark,
    ordered: Sequence[float],
) -> list[Rendered]:
    name = origin(record.lineage, record.instance_id)
    rows: list[Rendered] = []
    supervised = lost = longest = 0
    try:
        for instance in conversations_of(method, record, ordered):
            fitted = fit_conversation(
                renderer, instance.messages, section.max_length, section.overflow
            )
            rows += fitted.rows
            supervised, lost = supervised + fitted.supervised, lost + fitted.lost
            longest = max(longest, fitted.longest)
    except TokenError as error:
        found.step.fail(name, error.slug, error.got, error.fix)
        return []
    found.settle(record, len(rows), supervised=supervised, lost=lost, longest=longest)
    weighed = (tuple(w * record.weight for w in row.weights) for row in rows)
    return [replace(r, name=name, weights=w) for r, w in zip(rows, weighed, strict=True)]


def conditioned_rows(
    section: AlignSettings, renderer: Renderer, records: Sequence[Record]
) -> list[Rendered]:
    """What conditioned tuning learns from records that can be rendered."""
    method = conditioned_method(section)
    usable = [record for record in records if not why_unusable(record)]
    ordered = sorted(score for record in usable for score in scores_of(record))
    return [
        row
        for record in usable
        for instance in conversations_of(method, record, ordered)
        for row in fit_conversation(
            renderer, instance.messages, section.max_length, section.overflow
        ).rows
    ]
