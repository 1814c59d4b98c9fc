"""Records on disk: Arrow schemas and Parquet files, with the schema version in their metadata.

pyarrow is imported inside the functions, so that the command line starts without it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.errors import DataError
from regimen.files import atomic_write
from regimen.record_columns import (
    LISTS,
    TEXT,
    ids_of,
    lineage_of,
    lineage_row,
    message_lists,
    message_of,
    message_row,
    message_type,
    require_columns,
    rows_of,
    schema_of,
    table_of,
)
from regimen.records import (
    SCHEMA_VERSION,
    Constraint,
    Example,
    Instance,
    Item,
    Labelled,
    Preference,
    Ranked,
    Stepwise,
    instance_identity,
)

if TYPE_CHECKING:
    import pyarrow as pa


def instances_schema() -> pa.Schema:
    """The columns of instances: ids, messages, weight, and one per lineage field."""
    import pyarrow as pa

    text = pa.string()
    fields = [("instance_id", text), ("content_id", text), ("messages", message_type())]
    return schema_of([*fields, ("weight", pa.float64())])


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
        "messages": message_lists([one.messages for one in rows]),
        "weight": [one.weight for one in rows],
    }
    for name in (*TEXT, "row", "seed", *LISTS):
        columns[name] = [getattr(one.lineage, name) for one in rows]
    arrays = [
        made if isinstance(made := columns[field.name], pa.Array) else pa.array(made, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def table_to_instances(table: pa.Table) -> Iterator[Instance]:
    """The instances of a table, in order. Raises ``DataError`` for other tables."""
    for row in rows_of(table, "messages", "weight"):
        yield Instance(
            messages=tuple(message_of(m) for m in row["messages"]),
            lineage=lineage_of(row),
            weight=row["weight"],
        )


def preferences_to_table(preferences: Iterable[Preference]) -> pa.Table:
    """Preferences as an Arrow table: ids, prompt, chosen, rejected, weight, margin, dimensions,
    lineage."""
    import pyarrow as pa

    text, messages = pa.string(), message_type()
    fields = [("instance_id", text), ("content_id", text)]
    fields += [(name, messages) for name in ("prompt", "chosen", "rejected")]
    fields += [("weight", pa.float64()), ("margin", pa.float64()), ("dimensions", pa.list_(text))]
    return table_of(
        fields,
        (
            {
                **ids_of(one),
                "prompt": [message_row(m) for m in one.prompt],
                "chosen": [message_row(m) for m in one.chosen],
                "rejected": [message_row(m) for m in one.rejected],
                "weight": one.weight,
                "margin": one.margin,
                "dimensions": list(one.dimensions),
                **lineage_row(one.lineage),
            }
            for one in preferences
        ),
    )


def table_to_preferences(table: pa.Table) -> Iterator[Preference]:
    """The preferences of a table, in order. Raises ``DataError`` for other tables."""
    for row in rows_of(table, "prompt", "chosen", "rejected"):
        yield Preference(
            prompt=tuple(message_of(m) for m in row["prompt"]),
            chosen=tuple(message_of(m) for m in row["chosen"]),
            rejected=tuple(message_of(m) for m in row["rejected"]),
            lineage=lineage_of(row),
            weight=row["weight"],
            margin=row.get("margin"),  # files of earlier builds have none
            dimensions=tuple(row.get("dimensions") or ()),
        )


def labelled_to_table(labelled: Iterable[Labelled]) -> pa.Table:
    """Labelled answers as an Arrow table: ids, prompt, answer, desirable, weight, lineage."""
    import pyarrow as pa

    columns = [("instance_id", pa.string()), ("content_id", pa.string())]
    columns += [("prompt", message_type()), ("answer", message_type()), ("desirable", pa.bool_())]
    return table_of(
        [*columns, ("weight", pa.float64())],
        (
            {
                **ids_of(one),
                "prompt": [message_row(m) for m in one.prompt],
                "answer": [message_row(m) for m in one.answer],
                "desirable": one.desirable,
                "weight": one.weight,
                **lineage_row(one.lineage),
            }
            for one in labelled
        ),
    )


def table_to_labelled(table: pa.Table) -> Iterator[Labelled]:
    """The labelled answers of a table, in order. Raises ``DataError`` for other tables."""
    for row in rows_of(table, "prompt", "answer", "desirable"):
        yield Labelled(
            prompt=tuple(message_of(m) for m in row["prompt"]),
            answer=tuple(message_of(m) for m in row["answer"]),
            desirable=row["desirable"],
            lineage=lineage_of(row),
            weight=row["weight"],
        )


def ranked_to_table(ranked: Iterable[Ranked]) -> pa.Table:
    """Ranked answers as an Arrow table: ids, prompt, answers, scores, weight, lineage."""
    import pyarrow as pa

    columns = [("instance_id", pa.string()), ("content_id", pa.string())]
    columns += [("prompt", message_type()), ("answers", pa.list_(message_type()))]
    return table_of(
        [*columns, ("scores", pa.list_(pa.float64())), ("weight", pa.float64())],
        (
            {
                **ids_of(one),
                "prompt": [message_row(m) for m in one.prompt],
                "answers": [[message_row(m) for m in answer] for answer in one.answers],
                "scores": list(one.scores),
                "weight": one.weight,
                **lineage_row(one.lineage),
            }
            for one in ranked
        ),
    )


def table_to_ranked(table: pa.Table) -> Iterator[Ranked]:
    """The ranked answers of a table, in order. Raises ``DataError`` for other tables."""
    for row in rows_of(table, "prompt", "answers", "scores"):
        yield Ranked(
            prompt=tuple(message_of(m) for m in row["prompt"]),
            answers=tuple(tuple(message_of(m) for m in answer) for answer in row["answers"]),
            scores=tuple(row["scores"]),
            lineage=lineage_of(row),
            weight=row["weight"],
        )


def stepwise_to_table(stepwise: Iterable[Stepwise]) -> pa.Table:
    """Answers in steps as an Arrow table: ids, prompt, steps, step_labels, weight, lineage."""
    import pyarrow as pa

    columns = [("instance_id", pa.string()), ("content_id", pa.string())]
    columns += [("prompt", message_type()), ("steps", pa.list_(pa.string()))]
    return table_of(
        [*columns, ("step_labels", pa.list_(pa.float64())), ("weight", pa.float64())],
        (
            {
                **ids_of(one),
                "prompt": [message_row(m) for m in one.prompt],
                "steps": list(one.steps),
                "step_labels": list(one.labels),
                "weight": one.weight,
                **lineage_row(one.lineage),
            }
            for one in stepwise
        ),
    )


def table_to_stepwise(table: pa.Table) -> Iterator[Stepwise]:
    """The answers in steps of a table, in order. Raises ``DataError`` for other tables."""
    for row in rows_of(table, "prompt", "steps", "step_labels"):
        yield Stepwise(
            prompt=tuple(message_of(m) for m in row["prompt"]),
            steps=tuple(row["steps"]),
            labels=tuple(row["step_labels"]),
            lineage=lineage_of(row),
            weight=row["weight"],
        )


def items_to_table(items: Iterable[Item]) -> pa.Table:
    """Evaluation items as an Arrow table.

    ``demonstrations`` are the item's worked examples; ``lineage_demonstrations`` are those that
    its lineage names.
    """
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    shot = pa.struct([(field.name, text) for field in fields(Example)])
    columns = [("item_id", text), ("suite", text), ("messages", message_type())]
    columns += [("references", texts), ("input", text), ("definition", text)]
    columns += [("demonstrations", pa.list_(shot)), ("choices", texts), ("cluster", text)]
    columns += [("constraints", text), ("follow_ups", texts)]
    return table_of(
        columns,
        (
            {
                "item_id": one.item_id,
                "suite": one.suite,
                "messages": [message_row(m) for m in one.messages],
                "references": list(one.references),
                "input": one.input,
                "definition": one.definition,
                "choices": list(one.choices),
                "constraints": _constraints(one.constraints),
                "follow_ups": list(one.follow_ups),
                "cluster": one.cluster,
                **lineage_row(one.lineage),
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
    for row in rows_of(table, "suite", "references"):
        yield Item(
            suite=row["suite"],
            messages=tuple(message_of(m) for m in row["messages"]),
            references=tuple(row["references"]),
            input=row["input"],
            definition=row["definition"],
            demonstrations=tuple(Example(**d) for d in row["demonstrations"]),
            choices=tuple(row["choices"]),
            constraints=tuple(Constraint(**c) for c in json.loads(row["constraints"] or "[]")),
            follow_ups=tuple(row["follow_ups"]),
            cluster=row["cluster"],
            lineage=lineage_of({**row, "demonstrations": row["lineage_demonstrations"]}),
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
        require_columns(schema.names, columns)
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
