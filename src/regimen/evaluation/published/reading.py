"""What the readers of published suites share: rows, failures, prompts with worked examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regimen.errors import DataError
from regimen.instances.encodings import FormattingSpec, user_message
from regimen.instances.formats import suffixes_removed
from regimen.instances.readers import RawRow, RowFailure, data_files, file_rows
from regimen.records import Constraint, Example, Item, Lineage, Message, Task

Found = Item | RowFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSpec:
    """One suite to read; ``settings.evaluate.SuiteSettings`` explains the fields.

    Args:
        name: of the suite in ``evaluation.json``.
        path: a file or a folder.
        shots: worked examples in the prompt of every system.
        chain_of_thought: whether an answer comes after its steps.
        encoding: of Super-NaturalInstructions: ``natural_instructions`` or ``definition``.
        per_task: most items of each task.
        limit: most items of the suite.
        seed: of what ``per_task`` and ``limit`` draw; None takes the first of a task, and spreads
            ``limit`` evenly.
        languages, tasks: those to take; all where empty.
        licence: of the rows that do not say theirs.
    """

    name: str
    path: Path
    shots: int = 0
    chain_of_thought: bool = False
    encoding: str = "natural_instructions"
    per_task: int | None = None
    limit: int | None = None
    seed: int | None = None
    languages: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    licence: str = ""


def suite_files(spec: SuiteSpec, wanted: Callable[[str], bool] = lambda stem: True) -> list[Path]:
    """The file of a suite, or those of its folder whose name (without endings) is wanted.

    Raises:
        DataError: ``file-missing``, ``file-format``; ``suite-files`` where none is wanted.
    """
    files = data_files(spec.path)
    if not spec.path.is_dir():
        return files
    found = [file for file in files if wanted(suffixes_removed(file))]
    if not found:
        raise DataError(
            f"No file of the folder belongs to the suite {spec.name!r}.",
            slug="suite-files",
            got=", ".join(file.name for file in files[:8]) + (" ..." if len(files) > 8 else ""),
            fix="Name the file itself, or correct the suite's format.",
            where=str(spec.path),
        )
    return found


def suite_rows(
    file: Path, spec: SuiteSpec, columns: Sequence[str], expected: str
) -> Iterator[RawRow | RowFailure]:
    """The rows of a file; ``source`` is its name within the suite's folder.

    Args:
        file: to read.
        spec: of the suite.
        columns: that every row has; a row without one is a failure.
        expected: the format in words, for the error.

    Raises:
        DataError: as ``read_rows``; ``suite-format`` where the first row is of another format.
    """
    first = True
    source = source_of(file, spec)
    for row in file_rows(file):
        if isinstance(row, RowFailure):
            yield replace(row, source=source)
            continue
        missing = [name for name in columns if row.values.get(name) is None]
        if missing and first:
            raise wrong_format(file, spec, row.values, expected)
        first = False
        if missing:
            got = f"a row without {', '.join(missing)}"
            yield RowFailure(row.row, "columns_missing", got, f"Write {expected}.", source)
        else:
            yield replace(row, source=source)


def wrong_format(
    file: Path, spec: SuiteSpec, values: Mapping[str, Any], expected: str
) -> DataError:
    """The error of a file of another format; names the format that it seems to have."""
    columns = [str(name) for name in values]
    meant = [name for name, known in SIGNATURES.items() if set(known) <= set(columns)]
    fix = f"Write 'format: {meant[0]}', or name another file." if meant else "Name another file."
    return DataError(
        f"The file is not in the format of the suite {spec.name!r}.",
        slug="suite-format",
        got="columns " + ", ".join(columns[:8]) + (" ..." if len(columns) > 8 else ""),
        expected=expected,
        fix=fix,
        where=str(file),
    )


SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "gsm8k": ("question", "answer"),
    "bbh": ("input", "target"),
    "ifeval": ("prompt", "instruction_id_list", "kwargs"),
    "mt_bench": ("question_id", "turns"),
    "super_ni": ("Definition", "Instances"),
    "items": ("prompt", "references"),
}
"""The columns by which a file is known; ``items`` comes last, as it is the most general."""


def source_of(file: Path, spec: SuiteSpec) -> str:
    """The file's name, within the suite's folder where there is one."""
    inside = spec.path.is_dir()
    return file.relative_to(spec.path).as_posix() if inside else file.name


def text_of(value: Any) -> str:
    """A text, or a number as text; empty for anything else."""
    if isinstance(value, bool):
        return ""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def not_text(row: RawRow, column: str) -> RowFailure:
    """The failure of a row whose column holds no text."""
    got = f"{column} is {row.values.get(column)!r}"[:80]
    return RowFailure(row.row, "no_text", got, f"Write a text as {column}.", row.source)


def asked_item(
    spec: SuiteSpec,
    row: RawRow,
    text: str,
    references: Sequence[str],
    *,
    task: str,
    definition: str = "",
    demonstrations: Sequence[Example] = (),
    labels: tuple[str, str] = ("Input: ", "Output: "),
    choices: Sequence[str] = (),
    constraints: Sequence[Constraint] = (),
    follow_ups: Sequence[str] = (),
    category: str = "",
    family: str = "",
    language: str = "en",
    licence: str = "",
) -> Item:
    """An item asked by its definition, after ``spec.shots`` of its demonstrations.

    None of them has the item's own input. ``labels`` stand before inputs and outputs of worked
    examples, where there are any; without them the query is the bare text under the definition.
    """
    apart = tuple(shot for shot in demonstrations if shot.input.strip() != text.strip())
    shown = apart[: spec.shots]
    form = FormattingSpec(input_label=labels[0], output_label=labels[1])
    prompt = user_message(Task(name=task, definition=definition), text, form, shown)
    return Item(
        suite=spec.name,
        messages=(Message(role="user", content=prompt),),
        references=tuple(references),
        input=text,
        definition=definition,
        demonstrations=apart,
        choices=tuple(choices),
        constraints=tuple(constraints),
        follow_ups=tuple(follow_ups),
        lineage=Lineage(
            source=row.source,
            row=row.row,
            task=task,
            family=family,
            category=category,
            language=language,
            licence=licence or spec.licence,
            template="definition" if definition else "",
            demonstrations=tuple(f"example:{n}" for n in range(1, len(shown) + 1)),
        ),
    )
