"""Records on disk: Arrow schemas and Parquet files, with the schema version in their metadata.

pyarrow is imported inside the functions, so that the command line starts without it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.errors import DataError
from regimen.files import atomic_write
from regimen.records import (
    SCHEMA_VERSION,
    Constraint,
    Example,
    Instance,
    Item,
    Lineage,
    Message,
    Part,
    Preference,
    ToolCall,
    instance_identity,
)

if TYPE_CHECKING:
    import pyarrow as pa

_LISTS = ("demonstrations", "verdicts", "option_permutation")
_ORIGIN = ("source", "task", "family", "category", "language", "licence")
_TEXT = (*_ORIGIN, "template", "generator", "variant")


def _message_type() -> pa.DataType:
    import pyarrow as pa

    return pa.list_(
        pa.struct(
            [
                ("role", pa.string()),
                ("content", pa.string()),
                ("parts", pa.list_(pa.string())),
                ("tool_calls", pa.string()),
                ("reasoning", pa.string()),
                ("train", pa.bool_()),
                ("weight", pa.float64()),
            ]
        )
    )


def _schema(fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    """The fields and one column per lineage field; ``lineage_`` where its name is taken."""
    import pyarrow as pa

    lineage = [(name, pa.string()) for name in _TEXT]
    lineage += [("row", pa.int64()), ("seed", pa.int64())]
    lineage += [(name, pa.list_(pa.string())) for name in ("demonstrations", "verdicts")]
    lineage += [("option_permutation", pa.list_(pa.int64()))]
    taken = {name for name, _ in fields}
    columns = [(f"lineage_{name}" if name in taken else name, kind) for name, kind in lineage]
    return versioned([*fields, *columns])


def versioned(fields: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    """A schema of these columns with the schema version in its metadata."""
    import pyarrow as pa

    return pa.schema(fields, metadata={"schema_version": str(SCHEMA_VERSION)})


def _message(message: Message) -> dict[str, Any]:
    whole = isinstance(message.content, str)
    calls = [{"name": c.name, "arguments": c.arguments, "id": c.id} for c in message.tool_calls]
    return {
        "role": message.role,
        "content": message.text if whole else "",
        "parts": None if isinstance(message.content, str) else [p.text for p in message.content],
        "tool_calls": json.dumps(calls, ensure_ascii=False) if calls else "",
        "reasoning": message.reasoning,
        "train": message.train,
        "weight": message.weight,
    }


def _to_message(row: Mapping[str, Any]) -> Message:
    parts = row["parts"]
    calls = json.loads(row["tool_calls"]) if row["tool_calls"] else []
    return Message(
        role=row["role"],
        content=row["content"] if parts is None else tuple(Part(text=text) for text in parts),
        tool_calls=tuple(ToolCall(**call) for call in calls),
        reasoning=row["reasoning"],
        train=row["train"],
        weight=row["weight"],
    )


def _lineage(lineage: Lineage) -> dict[str, Any]:
    row = {name: getattr(lineage, name) for name in (*_TEXT, "row", "seed")}
    return {**row, **{name: list(getattr(lineage, name)) for name in _LISTS}}


def _to_lineage(row: Mapping[str, Any]) -> Lineage:
    fields: dict[str, Any] = {name: row[name] for name in (*_TEXT, "row", "seed")}
    fields.update({name: tuple(row[name]) for name in _LISTS})
    return Lineage(**fields)


def _ids(one: Instance | Preference) -> dict[str, str]:
    content = one.content_id
    return {"content_id": content, "instance_id": instance_identity(content, one.lineage)}


def _table(fields: list[tuple[str, pa.DataType]], rows: Iterable[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=_schema(fields))


def instances_schema() -> pa.Schema:
    """The columns of instances: ids, messages, weight, and one per lineage field."""
    import pyarrow as pa

    text = pa.string()
    fields = [("instance_id", text), ("content_id", text), ("messages", _message_type())]
    return _schema([*fields, ("weight", pa.float64())])


def instances_to_table(instances: Iterable[Instance]) -> pa.Table:
    """Instances as an Arrow table: ids, messages, weight, and one column per lineage field.

    Columns are made whole: a dictionary for each row takes five times as long.
    """
    import pyarrow as pa

    rows = list(instances)
    schema = instances_schema()
    contents = [one.content_id for one in rows]
    columns: dict[str, Any] = {
        "instance_id": [
            instance_identity(content, one.lineage)
            for content, one in zip(contents, rows, strict=True)
        ],
        "content_id": contents,
        "messages": _message_lists([one.messages for one in rows]),
        "weight": [one.weight for one in rows],
    }
    for name in (*_TEXT, "row", "seed", *_LISTS):
        columns[name] = [getattr(one.lineage, name) for one in rows]
    arrays = [
        made if isinstance(made := columns[field.name], pa.Array) else pa.array(made, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _message_lists(conversations: Sequence[Sequence[Message]]) -> pa.Array:
    """Conversations as an Arrow list of structs."""
    import pyarrow as pa

    kind = _message_type()
    ends = [0, *accumulate(map(len, conversations))]
    rows = [_message(message) for conversation in conversations for message in conversation]
    fields = list(kind.value_type)
    parts = [pa.array([row[field.name] for row in rows], field.type) for field in fields]
    structs = pa.StructArray.from_arrays(parts, fields=fields)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs, type=kind)


def table_to_instances(table: pa.Table) -> Iterator[Instance]:
    """The instances of a table, in order. Raises ``DataError`` for other tables."""
    for row in _rows(table, "messages", "weight"):
        yield Instance(
            messages=tuple(_to_message(m) for m in row["messages"]),
            lineage=_to_lineage(row),
            weight=row["weight"],
        )


def preferences_to_table(preferences: Iterable[Preference]) -> pa.Table:
    """Preferences as an Arrow table: ids, prompt, chosen, rejected, weight, margin, lineage."""
    import pyarrow as pa

    text, messages = pa.string(), _message_type()
    fields = [("instance_id", text), ("content_id", text)]
    fields += [(name, messages) for name in ("prompt", "chosen", "rejected")]
    return _table(
        [*fields, ("weight", pa.float64()), ("margin", pa.float64())],
        (
            {
                **_ids(one),
                "prompt": [_message(m) for m in one.prompt],
                "chosen": [_message(m) for m in one.chosen],
                "rejected": [_message(m) for m in one.rejected],
                "weight": one.weight,
                "margin": one.margin,
                **_lineage(one.lineage),
            }
            for one in preferences
        ),
    )


def table_to_preferences(table: pa.Table) -> Iterator[Preference]:
    """The preferences of a table, in order. Raises ``DataError`` for other tables."""
    for row in _rows(table, "prompt", "chosen", "rejected"):
        yield Preference(
            prompt=tuple(_to_message(m) for m in row["prompt"]),
            chosen=tuple(_to_message(m) for m in row["chosen"]),
            rejected=tuple(_to_message(m) for m in row["rejected"]),
            lineage=_to_lineage(row),
            weight=row["weight"],
            margin=row.get("margin"),  # files of earlier builds have none
        )


def items_to_table(items: Iterable[Item]) -> pa.Table:
    """Evaluation items as an Arrow table.

    ``demonstrations`` are the item's worked examples; ``lineage_demonstrations`` are those that
    its lineage names.
    """
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    shot = pa.struct([(field.name, text) for field in fields(Example)])
    columns = [("item_id", text), ("suite", text), ("messages", _message_type())]
    columns += [("references", texts), ("input", text), ("definition", text)]
    columns += [("demonstrations", pa.list_(shot)), ("choices", texts), ("cluster", text)]
    columns += [("constraints", text), ("follow_ups", texts)]
    return _table(
        columns,
        (
            {
                "item_id": one.item_id,
                "suite": one.suite,
                "messages": [_message(m) for m in one.messages],
                "references": list(one.references),
                "input": one.input,
                "definition": one.definition,
                "choices": list(one.choices),
                "constraints": _constraints(one.constraints),
                "follow_ups": list(one.follow_ups),
                "cluster": one.cluster,
                **_lineage(one.lineage),
                "lineage_demonstrations": list(one.lineage.demonstrations),
                "demonstrations": [asdict(example) for example in one.demonstrations],
            }
            for one in items
        ),
    )


def _constraints(constraints: Sequence[Constraint]) -> str:
    """As JSON, since each kind has arguments of its own; empty without any."""
    if not constraints:
        return ""
    return json.dumps([asdict(one) for one in constraints], ensure_ascii=False)


def table_to_items(table: pa.Table) -> Iterator[Item]:
    """The items of a table, in order. Raises ``DataError`` for other tables."""
    for row in _rows(table, "suite", "references"):
        yield Item(
            suite=row["suite"],
            messages=tuple(_to_message(m) for m in row["messages"]),
            references=tuple(row["references"]),
            input=row["input"],
            definition=row["definition"],
            demonstrations=tuple(Example(**d) for d in row["demonstrations"]),
            choices=tuple(row["choices"]),
            constraints=tuple(Constraint(**c) for c in json.loads(row["constraints"] or "[]")),
            follow_ups=tuple(row["follow_ups"]),
            cluster=row["cluster"],
            lineage=_to_lineage({**row, "demonstrations": row["lineage_demonstrations"]}),
        )


def _rows(table: pa.Table, *columns: str) -> Iterator[dict[str, Any]]:
    """The rows of a table that has these columns, among others."""
    _require_columns(table.column_names, columns)
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def _require_columns(names: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(
            "The file holds records of another kind.",
            slug="records-kind",
            got=f"columns {', '.join(names[:8])} ...",
            expected=f"a column {missing[0]!r}",
            fix="Name instances.parquet, preferences.parquet or items.parquet, as it is asked for.",
        )


def spread(table: pa.Table, most: int | None) -> pa.Table:
    """At most ``most`` rows of a table, spread evenly over it; all of them if None."""
    if most is None or table.num_rows <= most:
        return table
    return table.take([row * table.num_rows // most for row in range(most)])


def write_table(path: Path | str, table: pa.Table) -> Path:
    """Write a Parquet file (zstd) whole or not at all."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return atomic_write(path, buffer.getvalue())


def read_table(path: Path | str) -> pa.Table:
    """Read a Parquet file that ``write_table`` wrote.

    Raises:
        DataError: there is no such file (``records-missing``), it is no whole Parquet file
            (``records-unreadable``), or its schema version is another (``records-version``).
    """
    import pyarrow.parquet as pq

    path = Path(path)
    with _whole(path):
        table = pq.read_table(path, partitioning=None)
    _require_version((table.schema.metadata or {}).get(b"schema_version"), path)
    return table


def read_batches(path: Path | str, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Read some columns of a Parquet file that ``write_table`` wrote, ``rows`` rows at a time.

    Raises:
        DataError: as ``read_table``, or the file has not these columns (``records-kind``).
    """
    import pyarrow.parquet as pq

    path = Path(path)
    with _whole(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        _require_version((schema.metadata or {}).get(b"schema_version"), path)
        _require_columns(schema.names, columns)
        yield from file.iter_batches(batch_size=rows, columns=list(columns))


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turns what the library says of a file that is missing or damaged into an error of ours."""
    import pyarrow as pa

    if not path.is_file():
        raise DataError(
            "There is no such file of records.",
            slug="records-missing",
            got=f"{path}, which is a directory" if path.is_dir() else str(path),
            expected="a Parquet file that `regimen build` wrote",
            fix="Run `regimen build` first, or correct the path.",
        )
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            "The file of records is damaged, or no Parquet file.",
            slug="records-unreadable",
            expected="a Parquet file that `regimen build` wrote",
            fix="Run `regimen build` again.",
            where=str(path),
        ) from error


def _require_version(version: bytes | None, path: Path) -> None:
    """Raise unless the version in a file's metadata is the one that this program writes."""
    if version == str(SCHEMA_VERSION).encode():
        return
    fix = "Run `regimen build` again with this version of regimen."
    if version is None:
        fix = "Name the file as a source of `regimen build`, which reads Parquet files of any kind."
    elif version.isdigit() and int(version) > SCHEMA_VERSION:
        fix = "Use the newer version of regimen that wrote it, or run `regimen build` again."
    raise DataError(
        "The file of records has another schema version."
        if version
        else "The Parquet file holds no records of regimen.",
        slug="records-version",
        got=version.decode("utf-8", "replace") if version else "no schema version",
        expected=str(SCHEMA_VERSION),
        fix=fix,
        where=str(path),
    )
