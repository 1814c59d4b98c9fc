"""Records on disk: Arrow schemas and Parquet files, with the schema version in their metadata.

pyarrow is imported inside the functions, so that the command line starts without it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.errors import DataError
from regimen.files import atomic_write
from regimen.records import (
    SCHEMA_VERSION,
    Example,
    Instance,
    Item,
    Lineage,
    Message,
    Part,
    Preference,
    ToolCall,
)

if TYPE_CHECKING:
    import pyarrow as pa

_TEXT = ("source", "task", "family", "category", "language", "licence", "template", "generator")


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
    import pyarrow as pa

    lineage = [(name, pa.string()) for name in (*_TEXT, "variant")]
    lineage += [("row", pa.int64()), ("seed", pa.int64())]
    lineage += [(name, pa.list_(pa.string())) for name in ("demonstrations", "verdicts")]
    lineage += [("option_permutation", pa.list_(pa.int64()))]
    return pa.schema([*fields, *lineage], metadata={"schema_version": str(SCHEMA_VERSION)})


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
    row = {name: getattr(lineage, name) for name in (*_TEXT, "variant", "row", "seed")}
    lists = ("demonstrations", "verdicts", "option_permutation")
    return {**row, **{name: list(getattr(lineage, name)) for name in lists}}


def _to_lineage(row: Mapping[str, Any]) -> Lineage:
    fields: dict[str, Any] = {name: row[name] for name in (*_TEXT, "variant", "row", "seed")}
    lists = ("demonstrations", "verdicts", "option_permutation")
    fields.update({name: tuple(row[name]) for name in lists})
    return Lineage(**fields)


def _table(fields: list[tuple[str, pa.DataType]], rows: Iterable[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=_schema(fields))


def instances_to_table(instances: Iterable[Instance]) -> pa.Table:
    """Instances as an Arrow table: ids, messages, weight, and one column per lineage field."""
    import pyarrow as pa

    text = pa.string()
    fields = [("instance_id", text), ("content_id", text), ("messages", _message_type())]
    return _table(
        [*fields, ("weight", pa.float64())],
        (
            {
                "instance_id": one.instance_id,
                "content_id": one.content_id,
                "messages": [_message(m) for m in one.messages],
                "weight": one.weight,
                **_lineage(one.lineage),
            }
            for one in instances
        ),
    )


def table_to_instances(table: pa.Table) -> Iterator[Instance]:
    """The instances of a table, in order."""
    for row in _rows(table):
        yield Instance(
            messages=tuple(_to_message(m) for m in row["messages"]),
            lineage=_to_lineage(row),
            weight=row["weight"],
        )


def preferences_to_table(preferences: Iterable[Preference]) -> pa.Table:
    """Preferences as an Arrow table: ids, prompt, chosen, rejected, weight, lineage."""
    import pyarrow as pa

    text, messages = pa.string(), _message_type()
    fields = [("instance_id", text), ("content_id", text)]
    fields += [(name, messages) for name in ("prompt", "chosen", "rejected")]
    return _table(
        [*fields, ("weight", pa.float64())],
        (
            {
                "instance_id": one.instance_id,
                "content_id": one.content_id,
                "prompt": [_message(m) for m in one.prompt],
                "chosen": [_message(m) for m in one.chosen],
                "rejected": [_message(m) for m in one.rejected],
                "weight": one.weight,
                **_lineage(one.lineage),
            }
            for one in preferences
        ),
    )


def table_to_preferences(table: pa.Table) -> Iterator[Preference]:
    """The preferences of a table, in order."""
    for row in _rows(table):
        yield Preference(
            prompt=tuple(_to_message(m) for m in row["prompt"]),
            chosen=tuple(_to_message(m) for m in row["chosen"]),
            rejected=tuple(_to_message(m) for m in row["rejected"]),
            lineage=_to_lineage(row),
            weight=row["weight"],
        )


def items_to_table(items: Iterable[Item]) -> pa.Table:
    """Evaluation items as an Arrow table."""
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    shot = pa.struct([("input", text), ("output", text), ("explanation", text)])
    fields = [("item_id", text), ("suite", text), ("messages", _message_type())]
    fields += [("references", texts), ("input", text), ("definition", text)]
    fields += [("demonstrations", pa.list_(shot)), ("choices", texts), ("cluster", text)]
    return _table(
        fields,
        (
            {
                "item_id": one.item_id,
                "suite": one.suite,
                "messages": [_message(m) for m in one.messages],
                "references": list(one.references),
                "input": one.input,
                "definition": one.definition,
                "choices": list(one.choices),
                "cluster": one.cluster,
                **_lineage(one.lineage),
                # an item's worked examples; those of its lineage have no column of their own
                "demonstrations": [
                    {"input": d.input, "output": d.output, "explanation": d.explanation}
                    for d in one.demonstrations
                ],
            }
            for one in items
        ),
    )


def table_to_items(table: pa.Table) -> Iterator[Item]:
    """The items of a table, in order."""
    for row in _rows(table):
        yield Item(
            suite=row["suite"],
            messages=tuple(_to_message(m) for m in row["messages"]),
            references=tuple(row["references"]),
            input=row["input"],
            definition=row["definition"],
            demonstrations=tuple(Example(**d) for d in row["demonstrations"]),
            choices=tuple(row["choices"]),
            cluster=row["cluster"],
            lineage=_to_lineage({**row, "demonstrations": []}),
        )


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def write_table(path: Path | str, table: pa.Table) -> Path:
    """Write a Parquet file (zstd) whole or not at all."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return atomic_write(path, buffer.getvalue())


def read_table(path: Path | str) -> pa.Table:
    """Read a Parquet file that ``write_table`` wrote.

    Raises:
        DataError: no such file, no Parquet, or a schema version that this program does not know.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            "The file of records cannot be read.",
            slug="records-unreadable",
            got=f"{path}: {str(error).splitlines()[0]}",
            expected="a Parquet file that `regimen build` wrote",
            fix="Run `regimen build` again.",
        ) from error
    version = (table.schema.metadata or {}).get(b"schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise DataError(
            "The file of records has another schema version.",
            slug="records-version",
            got=version,
            expected=str(SCHEMA_VERSION),
            fix="Run `regimen build` again with this version of regimen.",
            where=str(path),
        )
    return table
