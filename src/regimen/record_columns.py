"""What the tables of all records share: messages, lineage and ids as Arrow columns.

pyarrow is imported inside the functions, so that the command line starts without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from regimen.errors import DataError
from regimen.records import (
    SCHEMA_VERSION,
    Instance,
    Labelled,
    Lineage,
    Message,
    Part,
    Preference,
    Ranked,
    Stepwise,
    ToolCall,
    instance_identity,
)

if TYPE_CHECKING:
    import pyarrow as pa

LISTS = ("demonstrations", "verdicts", "option_permutation")
ORIGIN = ("source", "task", "family", "category", "language", "licence")
TEXT = (*ORIGIN, "template", "generator", "variant")
"""The fields of a lineage that are texts."""


def message_type() -> pa.DataType:
    """A conversation: a list of messages."""
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


def schema_of(fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    """The fields and one column per lineage field; ``lineage_`` where its name is taken."""
    import pyarrow as pa

    lineage = [(name, pa.string()) for name in TEXT]
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


def message_row(message: Message) -> dict[str, Any]:
    """A message as a row of ``message_type``."""
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


def message_of(row: Mapping[str, Any]) -> Message:
    """The message of a row of ``message_type``."""
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


def lineage_row(lineage: Lineage) -> dict[str, Any]:
    """A lineage as the columns that ``schema_of`` adds."""
    row = {name: getattr(lineage, name) for name in (*TEXT, "row", "seed")}
    return {**row, **{name: list(getattr(lineage, name)) for name in LISTS}}


def lineage_of(row: Mapping[str, Any]) -> Lineage:
    """The lineage in a row."""
    fields: dict[str, Any] = {name: row[name] for name in (*TEXT, "row", "seed")}
    fields.update({name: tuple(row[name]) for name in LISTS})
    return Lineage(**fields)


def ids_of(one: Instance | Preference | Labelled | Ranked | Stepwise) -> dict[str, str]:
    """The two ids of a record."""
    content = one.content_id
    return {"content_id": content, "instance_id": instance_identity(content, one.lineage)}


def table_of(fields: list[tuple[str, pa.DataType]], rows: Iterable[dict[str, Any]]) -> pa.Table:
    """A table of these columns and those of the lineage."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=schema_of(fields))


def message_lists(conversations: Sequence[Sequence[Message]]) -> pa.Array:
    """Conversations as an Arrow list of structs."""
    import pyarrow as pa

    kind = message_type()
    ends = [0, *accumulate(map(len, conversations))]
    rows = [message_row(message) for conversation in conversations for message in conversation]
    fields = list(kind.value_type)
    parts = [pa.array([row[field.name] for row in rows], field.type) for field in fields]
    structs = pa.StructArray.from_arrays(parts, fields=fields)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs, type=kind)


def rows_of(table: pa.Table, *columns: str) -> Iterator[dict[str, Any]]:
    """The rows of a table that has these columns, among others."""
    require_columns(table.column_names, columns)
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def require_columns(names: Sequence[str], columns: Sequence[str]) -> None:
    """Raise ``DataError`` (``records-kind``) unless these columns are there."""
    missing = [name for name in columns if name not in names]
    if missing:
        raise DataError(
            "The file holds records of another kind.",
            slug="records-kind",
            got=f"columns {', '.join(names[:8])} ...",
            expected=f"a column {missing[0]!r}",
            fix="Name the file of the kind that is asked for, such as instances.parquet.",
        )
