"""YAML 1.2 with line marks: text to plain data that knows where each value was written.

PyYAML follows YAML 1.1, where ``1e-4`` is a text and ``no`` is false. This module gives its parser
the scalar rules of the YAML 1.2 core schema, refuses duplicate keys, tags and keys that are not
texts, and collects every problem that does not end the parsing. It needs no pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from regimen.errors import SettingsError
from regimen.settings.places import Document, Path, Place, dotted

MOST_NODES = 20_000
"""Aliases can make a short file describe billions of values; this many are read."""

_BREAKS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_INT = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_TAG = "tag:yaml.org,2002:"

# What PyYAML says (problem or context) -> what is wrong, what to do.
_SYNTAX = (
    ("'\\t'", "a tab stands where only spaces may", "Indent with spaces."),
    (
        "mapping values are not allowed",
        "a second ': ' stands where a value was expected",
        "Put quotes around a text that holds ': ', or check the indentation.",
    ),
    ("unknown escape", "a backslash in double quotes starts no known escape", "Use single quotes."),
    ("quoted scalar", "a quoted text has no end", "Close the quotes."),
    ("expected ',' or ']'", "a list in [ ] is not closed", "Add the missing ',' or ']'."),
    ("expected ',' or '}'", "a section in { } is not closed", "Add the missing ',' or '}'."),
    ("could not find expected ':'", "a key has no ': ' after it", "Write 'key: value'."),
    ("undefined alias", "an alias (*name) has no anchor (&name) before it", "Add the anchor."),
    ("expected a single document", "a second document starts here", "Keep one in the file."),
    (
        "expected <block end>",
        "the indentation does not match the lines above",
        "Give entries of one section the same indentation.",
    ),
    (
        "cannot start any token",
        "a value starts with a character that YAML reserves",
        "Put quotes around the value.",
    ),
)


class _Loader(yaml.SafeLoader):
    """Composes nodes; all plain scalars stay texts, their types are ours to tell."""


_Loader.yaml_implicit_resolvers = {}


def scalar(text: str) -> Any:
    """The value of a plain scalar by the YAML 1.2 core schema."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.(?=[inIN])", "", text))
    return text


def parse(text: str, origin: str) -> Document:
    """Read YAML text.

    Raises:
        SettingsError: the text is not YAML; problems that do not end the parsing are in
            ``Document.problems`` instead.
    """
    document = Document(origin=origin)
    walk = _Walk(document, _BREAKS.split(text))
    try:
        node = _compose(text)
        if node is not None:
            document.data = walk.value(node, ())
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, walk) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise SettingsError(
            f"{origin} holds a character that YAML does not allow",
            slug="settings-yaml",
            got=f"character U+{_code(error.character):04X}",
            fix="Remove it, or write it as an escape in double quotes.",
            where=f"{origin}:{line}",
        ) from None
    except RecursionError:
        raise SettingsError(
            f"{origin} is nested too deeply to be read",
            slug="settings-yaml",
            fix="Settings have a few levels; look for an unclosed '[' or '{'.",
            where=origin,
        ) from None
    return document


def _code(character: str | int) -> int:
    return character if isinstance(character, int) else ord(character)


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return node


def _syntax_error(error: yaml.MarkedYAMLError, walk: _Walk) -> SettingsError:
    said = f"{error.problem} {error.context}"
    known = (entry[1:] for entry in _SYNTAX if entry[0] in said)
    what, fix = next(known, ("this line does not follow YAML", "Check indentation and quotes."))
    mark = error.problem_mark or error.context_mark
    where = walk.place(mark, mark).render() if mark else walk.document.origin
    return SettingsError(
        f"{walk.document.origin} is not valid YAML: {what}",
        slug="settings-yaml",
        fix=fix,
        where=where,
    )


def _is_plain(node: yaml.Node) -> bool:
    """Whether a scalar was written without quotes and without a tag."""
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.tag != "!"


class _Walk:
    """Nodes to data, remembering places and collecting problems."""

    def __init__(self, document: Document, lines: list[str]) -> None:
        self.document, self.lines = document, lines
        self.nodes = 0
        self.open: set[int] = set()

    def place(self, start: yaml.Mark, end: yaml.Mark) -> Place:
        """The place between two marks, on the line of the first."""
        text = self.lines[start.line] if start.line < len(self.lines) else ""
        last = end.column if end.line == start.line else len(text)
        return Place(
            origin=self.document.origin,
            line=start.line + 1,
            column=start.column + 1,
            text=text,
            length=max(1, last - start.column),
        )

    def problem(self, node: yaml.Node, what: str, slug: str, **parts: str) -> None:
        """Note a problem at a node."""
        where = self.place(node.start_mark, node.end_mark).render()
        self.document.problems.append(SettingsError(what, slug=slug, where=where, **parts))

    def value(self, node: yaml.Node, path: Path) -> Any:
        """The data of a node; its place is kept under ``path``."""
        place = self.place(node.start_mark, node.end_mark)
        self.document.values[path] = place
        self.document.keys.setdefault(path, place)
        self.nodes += 1
        if self.nodes > MOST_NODES:
            what = f"{self.document.origin} describes more than {MOST_NODES:,} values"
            fix = "Look for aliases (*name) of aliases."
            raise SettingsError(what, slug="settings-yaml", fix=fix, where=place.render())
        if id(node) in self.open:
            what = f"{dotted(path)}: an alias (*name) repeats a part of itself"
            self.problem(node, what, "settings-yaml", fix="Write the values out.")
            return None
        self.open.add(id(node))
        value = self._content(node, path)
        self.open.discard(id(node))
        return value

    def _content(self, node: yaml.Node, path: Path) -> Any:
        if self._tagged(node, path):
            return None
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, i)) for i, child in enumerate(node.value)]
        if not _is_plain(node):
            return node.value
        if node.value == "":
            self.document.empty.add(path)
        return scalar(node.value)

    def _tagged(self, node: yaml.Node, path: Path) -> bool:
        kind = "str"
        if isinstance(node, yaml.CollectionNode):
            kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag in (_TAG + kind, "!"):
            return False
        what = f"{dotted(path)}: tags are not read"
        got = node.tag.replace(_TAG, "!!")
        self.problem(node, what, "settings-yaml", got=got, fix="Remove the tag.")
        return True

    def _is_key(self, key: yaml.Node, path: Path) -> bool:
        if self._tagged(key, path):
            return False
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name == "<<" and _is_plain(key):
            what = f"{dotted(path)}: merge keys (<<) are not part of YAML 1.2"
            self.problem(key, what, "settings-key", fix="Write the entries out.")
        elif name is None or (_is_plain(key) and not isinstance(scalar(name), str)):
            what = f"{dotted(path)}: keys are texts"
            got = "a list or a section" if name is None else name or "nothing"
            self.problem(key, what, "settings-key", got=got, fix="Put quotes around the key.")
        else:
            return True
        return False

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Place] = {}
        for key, child in node.value:
            if not self._is_key(key, path):
                continue
            name = key.value
            if name in seen:
                what = f"{dotted((*path, name))} is set twice"
                got = f"the first is in line {seen[name].line}"
                self.problem(key, what, "settings-duplicate-key", got=got, fix="Remove one.")
                continue
            seen[name] = self.place(key.start_mark, key.end_mark)
            self.document.keys[(*path, name)] = seen[name]
            yield name, self.value(child, (*path, name))


class _Dumper(yaml.SafeDumper):
    """Writes block style, and quotes whatever YAML 1.1 or 1.2 would not read as a text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Values are written out each time."""
        return True

    def text(self, value: str) -> yaml.Node:
        """A text, in quotes where a reader could take it for something else."""
        # YAML reads U+0085 as a line break wherever it is not escaped
        odd = not isinstance(scalar(value), str) or value == "<<" or "\x85" in value
        style = '"' if odd else None
        return self.represent_scalar(_TAG + "str", value, style=style)


_Dumper.add_representer(str, _Dumper.text)


def dump(data: Any) -> str:
    """Data as YAML text that ``parse`` reads back to equal data; keys keep their order."""
    return yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )
