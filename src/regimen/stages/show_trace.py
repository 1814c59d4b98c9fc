"""``show RUN --trace ID``: from an item to its answers and nearest training rows, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.errors import RunError, SettingsError, near
from regimen.reports.files import first_existing, mapping, read_object, read_table
from regimen.stages.show_trace_tables import print_item, print_record

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 6
"""Ids named where several, or none, are meant."""
JUDGED = (
    ("preference", "preferences"),
    ("labelled answer", "labelled"),
    ("ranked list", "ranked"),
    ("answer in steps", "stepwise"),
)
"""What a build writes beside its instances: what a record is called, and its file."""

LINEAGE = (
    *("source", "row", "task", "family", "category", "language", "licence", "template"),
    *("demonstrations", "option_permutation", "generator", "seed", "variant", "verdicts"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A file of records: what they are, and the column with their ids."""

    kind: str
    path: Path
    column: str


def show_trace(run: Path, wanted: str) -> dict[str, Any]:
    """Print what a run knows of an item, a training instance, a preference or a removed record.

    Args:
        run: the directory of a run.
        wanted: an id or the beginning of one; of a judgement, what it is about (``ID:tuned-base``).

    Returns:
        What was found: ``kind``, ``id``, and for an item its ``prompt``, ``references``,
        ``answers``, ``nearest`` and ``contamination``; for the others their ``messages``,
        ``lineage``, ``ledger`` and ``nearest_to``.

    Raises:
        RunError: no run there, nothing with ids in it (``trace-nothing``), unreadable files.
        SettingsError: no such id (``trace-unknown``), or more than one (``trace-ambiguous``).
    """
    places = _places(run)
    if not places:
        raise RunError(
            "The directory holds nothing that has an id.",
            slug="trace-nothing",
            got=str(run),
            expected="a run with build/ or evaluate/",
            fix="Name the directory of a run: the settings' 'run'.",
        )
    key, place = _found(places, wanted.partition(":")[0].strip())
    if place.kind == "item":
        found = _item(run, place, key)
        print_item(found)
    else:
        found = _record(run, place, key)
        print_record(found)
    return found


def _places(run: Path) -> list[Place]:
    """Where records with ids lie in a run."""
    listed = [
        Place("item", run / "build/items.parquet", "item_id"),
        *(Place("instance", path, "instance_id") for path in _training(run)),
        *(Place(kind, run / f"build/{name}.parquet", "instance_id") for kind, name in JUDGED),
        *(Place("removed", path, "record_id") for path in _removed(run)),
        Place("item", run / "evaluate/answers.parquet", "item_id"),
    ]
    return [place for place in listed if place.path.is_file()]


def _training(run: Path) -> list[Path]:
    """The instances that the evaluation compared with, else those of the build."""
    measured = read_object(
        first_existing(run, "evaluate/evaluation.json") or first_existing(run, "evaluation.json")
    )
    built = run / "build/instances.parquet"
    names = [
        str(name)
        for suite in mapping(measured.get("suites")).values()
        for name in mapping(mapping(mapping(suite).get("contamination")).get("against")).get(
            "files", ()
        )
    ]
    named = [built if n == "build/instances.parquet" else Path(n) for n in dict.fromkeys(names)]
    return list(dict.fromkeys([*named, built]))


def _removed(run: Path) -> list[Path]:
    """The ledgers of all stages; a copy of the build's stands at the top of a run."""
    return sorted(run.glob("*/ledger/*.removed.parquet"))


def _found(places: Sequence[Place], wanted: str) -> tuple[str, Place]:
    """The one id that begins with ``wanted``, and where it is."""
    columns = [(place, read_table(place.path, [place.column])[place.column]) for place in places]
    matches = _beginning(columns, wanted) if wanted else {}
    if len(matches) == 1:
        return next(iter(matches.items()))
    if matches and wanted in matches:
        return wanted, matches[wanted]
    if not matches:
        close: dict[str, Place] = {}
        for end in range(len(wanted) - 1, -1, -1):
            close = _beginning(columns, wanted[:end])
            if close:
                break
        raise SettingsError(
            "The run holds no record with this id.",
            slug="trace-unknown",
            got=repr(wanted),
            expected="the id of an item, a training instance or a removed record",
            fix=near(wanted, list(close)[:MOST]),
        )
    shown = ", ".join(f"{key} ({place.kind})" for key, place in list(matches.items())[:MOST])
    more = len(matches) - MOST
    raise SettingsError(
        "More than one record has an id that begins so.",
        slug="trace-ambiguous",
        got=repr(wanted),
        expected="enough characters for one id",
        fix=f"One of: {shown}" + (f", and {more:,} more." if more > 0 else "."),
    )


def _beginning(columns: Sequence[tuple[Place, pa.ChunkedArray]], wanted: str) -> dict[str, Place]:
    """The ids that begin so, in order, each with the first place that has it."""
    import pyarrow.compute as pc

    found: dict[str, Place] = {}
    for place, ids in columns:
        for key in ids.filter(pc.starts_with(ids, wanted)).to_pylist():
            found.setdefault(key, place)
    return found


def _rows(path: Path, column: str, key: str) -> list[dict[str, Any]]:
    """The rows of a file of which a column is ``key``; none where there is no file."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = read_table(path, filters=[(column, "==", key)]).to_pylist()
    return rows


def _item(run: Path, place: Place, key: str) -> dict[str, Any]:
    """All that the run knows of an item."""
    (row, *_) = _rows(place.path, place.column, key)
    answers = _rows(run / "evaluate/answers.parquet", "item_id", key)
    near_rows = _rows(run / "evaluate/nearest.parquet", "item_id", key)
    contamination = _rows(run / "evaluate/contamination.parquet", "item_id", key)
    whole = "messages" in row
    return {
        "kind": "item",
        "id": key,
        "suite": row["suite"],
        "prompt": _turns(row["messages"]) if whole else [("user", row["prompt"])],
        "references": row["references"] if whole else [row["reference"]],
        "lineage": _lineage(row),
        "answers": [
            {name: one.get(name) for name in ("system", "metric", "score", "answer", "error")}
            for one in answers
        ],
        "nearest": [{k: v for k, v in one.items() if k != "item_id"} for one in near_rows],
        "contamination": contamination[0] if contamination else None,
        "judgements": list(_judgements(run, key)),
    }


def _judgements(run: Path, key: str) -> Iterator[dict[str, Any]]:
    """What judges said of a record; they name what they judged, perhaps with systems after it."""
    import pyarrow.compute as pc

    for path in sorted(run.glob("evaluate/*judgements.parquet")):
        table = read_table(path)
        if "subject" in table.column_names:
            subjects = pc.list_element(pc.split_pattern(table["subject"], ":", max_splits=1), 0)
            yield from table.filter(pc.equal(subjects, key)).to_pylist()


def _record(run: Path, place: Place, key: str) -> dict[str, Any]:
    """All that the run knows of a training instance, a preference or a removed record."""
    (row, *_) = _rows(place.path, place.column, key)
    if place.kind == "removed":
        record = json.loads(row["record"])
        lineage = mapping(record.get("lineage")) or row
        turns = _plain_turns(record)
    else:
        lineage = row
        turns = _all_turns(row)
    return {
        "kind": place.kind,
        "id": key,
        "messages": turns,
        "lineage": _lineage(lineage),
        "ledger": _verdicts(run, place, key),
        "nearest_to": _nearest_to(run, key),
    }


def _verdicts(run: Path, place: Place, key: str) -> list[dict[str, str]]:
    """What each step of each stage said of a record: who removed it, else who kept it."""
    said = [
        {
            "stage": path.parents[1].name,
            "step": path.name.removesuffix(".removed.parquet").partition("-")[2],
            "verdict": "removed",
            "reason": row["reason"],
            "detail": row["detail"],
        }
        for path in _removed(run)
        for row in _rows(path, "record_id", key)
    ]
    if place.kind != "removed" and place.path.parent == run / "build":
        steps = read_object(first_existing(run, "build/ledger/summary.json"))
        kept = {"stage": "build", "verdict": "kept", "reason": "", "detail": ""}
        # `said` may hold what a later stage removed, such as a row that is too long to learn.
        said = [{**kept, "step": ", ".join(steps)}, *said] if steps else said
    return said


def _nearest_to(run: Path, key: str) -> list[dict[str, Any]]:
    """The items that a training instance is among the nearest rows of."""
    found = _rows(run / "evaluate/nearest.parquet", "instance_id", key)
    asked = _rows_in(run / "evaluate/answers.parquet", [row["item_id"] for row in found])
    return [
        {
            **{name: row[name] for name in ("item_id", "side", "rank", "similarity")},
            "suite": asked.get(row["item_id"], {}).get("suite", ""),
            "prompt": asked.get(row["item_id"], {}).get("prompt", ""),
        }
        for row in sorted(found, key=lambda row: -row["similarity"])
    ]


def _rows_in(path: Path, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A row of each item; that of the tuned system where there is one."""
    if not path.is_file() or not keys:
        return {}
    rows = read_table(path, filters=[("item_id", "in", sorted(set(keys)))]).to_pylist()
    return {row["item_id"]: row for row in sorted(rows, key=lambda row: row["system"] == "tuned")}


def _all_turns(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The turns of a row of any kind; of a list those of every answer with its score."""
    sides = ("messages", "prompt", "chosen", "rejected", "answer")
    turns = [turn for side in sides for turn in _turns(row.get(side) or (), side)]
    for answer, score in zip(row.get("answers") or (), row.get("scores") or (), strict=True):
        turns += [(f"{role} ({score:g})", text) for role, text in _turns(answer)]
    for step, label in zip(row.get("steps") or (), row.get("step_labels") or (), strict=True):
        turns.append((f"step ({label:g})", step))
    return turns


def _turns(messages: Sequence[Mapping[str, Any]], side: str = "") -> list[tuple[str, str]]:
    """Who said what; ``chosen`` and ``rejected`` answers say that they are."""
    return [
        (
            side if side in ("chosen", "rejected") else message["role"],
            message["content"] or "".join(message["parts"] or ()),
        )
        for message in messages
    ]


def _plain_turns(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The turns of a record as the ledger wrote it; a record of another kind as it is."""
    messages = record.get("messages")
    if not isinstance(messages, list):
        return [("record", json.dumps(record, ensure_ascii=False))]
    return [(str(one.get("role")), _content(one.get("content"))) for one in messages]


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(mapping(part).get("text", "")) for part in content or ())


def _lineage(row: Mapping[str, Any]) -> dict[str, Any]:
    """The lineage that is known; an item's demonstrations have a column of another name."""
    found = {name: row.get(f"lineage_{name}", row.get(name)) for name in LINEAGE}
    return {name: value for name, value in found.items() if value not in (None, "", [], -1)}
