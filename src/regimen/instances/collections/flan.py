"""Lists of patterns in the style of FLAN: pairs of an input and a target, by task.

FLAN (Wei et al., 2022, arXiv 2109.01652; Longpre et al., 2023, arXiv 2301.13688) writes its
templates as texts with ``{field}``, several for each task::

    rte:
      - ["{premise}\\nDoes it follow that {hypothesis}?\\n{options_}", "{answer}"]
      - {input: "{premise}\\nWhat follows?", target: "{hypothesis}"}

The same as JSON, or as a dictionary in a Python file, which is read and never run.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from regimen.errors import TemplateError, near
from regimen.instances.collections.files import FileText, check_text, read_collection
from regimen.instances.collections.pattern_files import PATTERN_PARSERS, Listed
from regimen.instances.readers import RowFailure
from regimen.instances.template_worker import Sandbox
from regimen.records import Task, Template

SUFFIXES = tuple(PATTERN_PARSERS)
SOURCE = "patterns"
FIELDS: Mapping[str, str] = {"options_": "options_block", "answer": "output"}
"""Fields of FLAN and the columns that stand for them here."""
_INPUT, _TARGET = ("input", "inputs"), ("target", "targets")
FEW_SHOT = ("inputs_prefix", "targets_prefix", "x_y_delimiter", "example_separator")
"""What a pattern for several examples says besides its two texts; kept as tags."""
_KEYS = (*_INPUT, *_TARGET, *FEW_SHOT, "name")
_SANDBOX = Sandbox()
_SPECIAL = re.compile(r"[{\r]")


def read_patterns(path: Path | str) -> Iterator[Task | RowFailure]:
    """A task without rows for every task of a list of patterns, after a failure for each bad one.

    A pattern is a pair ``[input, target]``, or a mapping with the two and perhaps a ``name`` and
    the keys ``FEW_SHOT``. A failure's row is the pattern's line; in JSON its number in the file.

    Args:
        path: a file, a directory tree or a bundle (JSON lines with ``path`` and ``text``) of .json,
            .yaml or .py, each perhaps compressed. Of a Python file, every name that the top level
            assigns a dictionary of lists, written out; the tag ``variable`` says which. A task
            that two of them have is named after the variable too: ``FEW_SHOT.rte``.

    Raises:
        DataError: as ``read_collection``; a file that cannot be read or holds no patterns is
            ``collection-file``, with file and line.
    """
    return read_collection(path, SUFFIXES, parse_patterns)


def parse_patterns(file: FileText) -> Iterator[Task | RowFailure]:
    """The tasks of one file.

    Raises:
        DataError: as ``read_patterns``.
    """
    check_text(file)
    for listed in PATTERN_PARSERS[file.suffix](file):
        if isinstance(listed, RowFailure):
            yield listed
        else:
            yield from _task(listed)


def _task(listed: Listed) -> Iterator[Task | RowFailure]:
    made: dict[str, Template] = {}
    for number, (line, entry) in enumerate(listed.entries, start=1):
        try:
            template = _template(entry, number)
            if template.name in made:
                raise _pattern_error("Two patterns have one name.", template.name, "Rename one.")
        except TemplateError as error:
            got = f"task {listed.name!r}, pattern {number}: {error.what} {error.got}"
            slug = error.slug.replace("-", "_")
            yield RowFailure(line, slug, got[:300], error.fix, listed.place)
            continue
        made[template.name] = template
    if not listed.entries:
        got = f"the task {listed.name!r} has no patterns"
        fix = "Add patterns, or remove the task."
        yield RowFailure(listed.line, "no_templates", got, fix, listed.place)
    if made:
        tags = {"variable": listed.variable} if listed.variable else {}
        yield Task(name=listed.name, source=SOURCE, templates=tuple(made.values()), tags=tags)


def _template(entry: Any, number: int) -> Template:
    """The template of a pattern. Raises ``TemplateError``."""
    values = _values(entry)
    unknown = next((key for key in values if key not in _KEYS), None)
    if unknown is not None:
        raise _pattern_error("A pattern has an unknown key.", unknown, near(str(unknown), _KEYS))
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    if len(texts) < len(values):
        wrong = next(key for key in values if key not in texts)
        got = f"{wrong} is {values[wrong]!r}"[:120]
        raise _pattern_error("A pattern has a value that is no text.", got, "Write texts.")
    pair = [[key for key in keys if texts.get(key, "").strip()] for keys in (_INPUT, _TARGET)]
    if [len(keys) for keys in pair] != [1, 1]:
        got = f"{', '.join(texts) or 'nothing'}"
        raise _pattern_error("A pattern is one input and one target.", got, "Write both.")
    return Template(
        name=texts.get("name", "").strip() or f"pattern_{number}",
        input=pattern_source(texts[pair[0][0]]),
        output=pattern_source(texts[pair[1][0]]),
        tags={key: texts[key] for key in FEW_SHOT if texts.get(key)},
    )


def _values(entry: Any) -> Mapping[Any, Any]:
    if isinstance(entry, Mapping):
        return entry
    if isinstance(entry, list | tuple) and len(entry) == 2:
        return dict(zip(("input", "target"), entry, strict=True))
    raise _pattern_error(
        "A pattern is neither a pair nor a mapping.",
        f"{entry!r}"[:120],
        "Write [input, target], or {input: ..., target: ...}.",
    )


def pattern_source(pattern: str) -> str:
    """The jinja2 source of a pattern with ``{field}``, as ``str.format`` reads it.

    ``{field}`` becomes ``{{ field }}`` (``FIELDS`` gives two of them other names) and a doubled
    brace one brace.

    Raises:
        TemplateError: a field with a position, an attribute, a format or a conversion, or a brace
            that is not closed (``pattern-field``).
    """
    try:
        pieces = list(string.Formatter().parse(pattern))
    except ValueError as error:
        fix = "Double a brace that is meant as itself: {{ or }}."
        raise _pattern_error("A brace has no partner.", f"{pattern!r}: {error}", fix) from error
    source = []
    for literal, field, spec, conversion in pieces:
        source.append(_literal(literal))
        if field is not None:
            if spec or conversion or not _is_column(field):
                shown = "".join(
                    (field, f"!{conversion}" * bool(conversion), f":{spec}" * bool(spec))
                )
                fix = "Write the name of a column alone: {premise}."
                got = f"{{{shown}}} in {pattern!r}"
                raise _pattern_error("A field is no name of a column.", got, fix)
            source.append(f"{{{{ {FIELDS.get(field, field)} }}}}")
    return "".join(source)


def _literal(text: str) -> str:
    """A text as a source that prints it: no brace may open a tag, no line break be changed."""
    return _SPECIAL.sub(lambda found: f"{{{{ {found[0]!r} }}}}", text)


def _is_column(name: str) -> bool:
    """Whether jinja2 reads the name as a column, and not as ``true``, ``in`` or an expression."""
    if not name.isidentifier() or name == "self":
        return False
    try:
        tree = _SANDBOX.parse(f"{{{{ {name} }}}}")
    except TemplateSyntaxError:
        return False
    return [node.name for node in tree.find_all(nodes.Name)] == [name]


def _pattern_error(what: str, got: str, fix: str) -> TemplateError:
    expected = "an input and a target with {field}"
    return TemplateError(what, slug="pattern-field", got=got[:240], expected=expected, fix=fix)
