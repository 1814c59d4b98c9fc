"""Marks such as ``[[1]]`` that stand for the code of a template while its words are reworded.

Every expression, statement and comment is a mark of its own, and a ``raw`` block is one. From the
first ``|||`` on everything is one mark, the last: answers are learned as they were written. What
looks like a mark in the source is taken out as well, so a mark in an answer is always one of ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["words", "expression", "statement", "comment", "answer", "separator", "mark"]

_MARK = re.compile(r"\[\[\s*([0-9]{1,9})\s*\]\]")
_OPENING = re.compile(rf"\{{\{{|\{{%|\{{#|\|\|\||{_MARK.pattern}")
_STRING = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_BRACKET = r"[()\[\]{}]"
_NESTED = re.compile(rf"{_STRING}|{_BRACKET}", re.DOTALL)
_INSIDE = {
    close: re.compile(rf"{re.escape(close)}|{_STRING}|{_BRACKET}", re.DOTALL)
    for close in ("}}", "%}")
}
_RAW = re.compile(r"\{%[-+]?\s*raw\s*-?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}", re.DOTALL)
_STATEMENT = re.compile(r"\{%[-+]?\s*(\w+)")
_BLOCKS = frozenset(
    ("if", "for", "macro", "call", "filter", "with", "autoescape", "block", "set", "trans")
)
_BRANCHES = frozenset(("else", "elif"))


class Segment(NamedTuple):
    """A run of a source that is all words or one piece of code."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Masked:
    """A source as it is sent: the text with marks, what each mark stands for, from 1.

    ``before`` and ``after`` are the white space around the text, which is not sent.
    """

    text: str
    marks: tuple[Segment, ...]
    before: str = ""
    after: str = ""
    plain: bool = False

    def put_back(self, text: str) -> str:
        """The source that a reworded text stands for; a mark that is not known stays."""

        def code(found: re.Match[str]) -> str:
            number = int(found[1])
            return self.marks[number - 1].text if 0 < number <= len(self.marks) else found[0]

        return f"{self.before}{_MARK.sub(code, text)}{self.after}"


def segments(source: str, *, plain: bool = False) -> list[Segment]:
    """The source in pieces; joined they are the source.

    Args:
        source: a jinja2 template as the default delimiters write it. Code that is not closed
            reaches to the end.
        plain: the source is text without code: only what looks like a mark is taken out.
    """
    found: list[Segment] = []
    start = 0
    opening = _MARK if plain else _OPENING
    while match := opening.search(source, start):
        if match.start() > start:
            found.append(Segment("words", source[start : match.start()]))
        kind, start = _code(source, match)
        found.append(Segment(kind, source[match.start() : start]))
    if start < len(source):
        found.append(Segment("words", source[start:]))
    return found


def _code(source: str, opening: re.Match[str]) -> tuple[Kind, int]:
    """The kind of the code that opens here, and where it ends."""
    start = opening.start()
    match opening[0]:
        case "{#":
            end = source.find("#}", start + 2)
            return "comment", end + 2 if end >= 0 else len(source)
        case "{{":
            return "expression", _closed(source, start + 2, "}}")
        case "{%":
            raw = _RAW.match(source, start)
            return "statement", raw.end() if raw else _closed(source, start + 2, "%}")
        case "|||":
            return "separator", opening.end()
    return "mark", opening.end()


def _closed(source: str, start: int, close: str) -> int:
    """Where an expression or a statement ends: strings and brackets may hold the closing marks."""
    depth = 0
    while found := (_NESTED if depth else _INSIDE[close]).search(source, start):
        start = found.end()
        if found[0] == close:
            return start
        if found[0] in ("(", "[", "{"):
            depth += 1
        elif found[0] in (")", "]", "}"):
            depth = max(0, depth - 1)
    return len(source)


def mask(source: str, *, answer: bool = False, plain: bool = False) -> Masked:
    """The source with a mark for every piece of code, numbered from 1 in their order.

    Args:
        source: a template, or plain text.
        answer: the template writes prompt and answer; from the first ``|||`` on it is one mark.
        plain: as in ``segments``.
    """
    pieces = segments(source, plain=plain)
    if answer:
        pieces = _with_answer(pieces)
    text, marks = "", []
    for piece in pieces:
        if piece.kind == "words":
            text += piece.text
        else:
            marks.append(piece)
            text += f"[[{len(marks)}]]"
    inner = text.strip()
    start = len(text) - len(text.lstrip())
    after = text[start + len(inner) :]
    return Masked(inner, tuple(marks), text[:start], after, plain)


def _with_answer(pieces: Sequence[Segment]) -> list[Segment]:
    """The pieces, all from the first separator on as one, with the white space before it."""
    kinds = [piece.kind for piece in pieces]
    if "separator" not in kinds:
        return list(pieces)
    first = kinds.index("separator")
    prompt, rest = list(pieces[:first]), "".join(piece.text for piece in pieces[first:])
    if prompt and prompt[-1].kind == "words":
        words = prompt.pop().text
        kept = words.rstrip()
        prompt += [Segment("words", kept)] if kept else []
        rest = words[len(kept) :] + rest
    return [*prompt, Segment("answer", rest)]


def answers_written(source: str) -> int:
    """How many ``|||`` stand in the words of a template."""
    return sum(piece.kind == "separator" for piece in segments(source))


def answer_source(source: str) -> str:
    """What a template that writes prompt and answer has from its first ``|||`` on."""
    return "".join(p.text for p in _with_answer(segments(source)) if p.kind == "answer")


def words_of(source: str, *, answer: bool = False, plain: bool = False) -> str:
    """The words of a source, code left out with a line break in its place.

    With ``answer`` those before the first ``|||`` only.
    """
    pieces = segments(source, plain=plain)
    if answer:
        pieces = _with_answer(pieces)
    return "\n".join(piece.text for piece in pieces if piece.kind == "words")


class MarkProblem(NamedTuple):
    """Why the marks of a reworded text cannot be put back."""

    reason: str
    detail: str


def mark_problem(text: str, masked: Masked) -> MarkProblem | None:
    """Why a reworded text does not hold every mark once and where its block is, or None.

    Marks of one block may change places. Statements keep their order, what stands in a branch of
    a block stays in it, and nothing follows the answer.
    """
    found = [int(number) for number in _MARK.findall(text)]
    known = range(1, len(masked.marks) + 1)
    written = [] if masked.plain else _code_of(text)
    if added := [f"[[{n}]]" for n in found if n not in known] + written:
        return MarkProblem("marks_added", " ".join(added)[:200])
    if lost := [f"[[{n}]]" for n in known if n not in found]:
        return MarkProblem("marks_lost", " ".join(lost)[:200])
    if repeated := [f"[[{n}]]" for n, times in Counter(found).items() if times > 1]:
        return MarkProblem("marks_repeated", " ".join(repeated)[:200])
    moved = _moved(text, found, masked)
    return MarkProblem("marks_moved", moved[:200]) if moved else None


def _code_of(text: str) -> list[str]:
    """Code in a text that should hold marks only."""
    return [p.text for p in segments(text) if p.kind not in ("words", "mark")]


def _moved(text: str, order: Sequence[int], masked: Masked) -> str:
    """The first mark that stands in another block, before another statement or in the answer."""
    here, there = _places(order, masked.marks), _places(sorted(order), masked.marks)
    for number, place in there.items():
        if here[number] != place:
            return f"[[{number}]] {masked.marks[number - 1].text}"
    if masked.marks and masked.marks[-1].kind == "answer":
        last = [found.end() for found in _MARK.finditer(text)][-1]
        return text[last:].strip()
    return ""


def _places(order: Sequence[int], marks: Sequence[Segment]) -> dict[int, tuple[int, ...]]:
    """Where each mark stands: the branches around it; for a statement also how many came before.

    The answer stands behind all others.
    """
    places: dict[int, tuple[int, ...]] = {}
    branches: list[int] = []
    statements = 0
    for position, number in enumerate(order):
        kind, text = marks[number - 1]
        if kind == "answer":
            places[number] = (position,)
        elif kind == "statement":
            places[number] = (statements, *branches)
            statements += 1
            _enter(branches, number, text)
        else:
            places[number] = tuple(branches)
    return places


def _enter(branches: list[int], number: int, statement: str) -> None:
    """Change the branches that are open as a statement does."""
    name = _keyword(statement)
    if branches and (name in _BRANCHES or name.startswith("end")):
        branches.pop()
    if name in _BRANCHES or (name in _BLOCKS and not _is_assignment(name, statement)):
        branches.append(number)


def _keyword(statement: str) -> str:
    found = _STATEMENT.match(statement)
    return found[1] if found else ""


def _is_assignment(name: str, statement: str) -> bool:
    """``{% set x = 1 %}`` opens no block, ``{% set x %}`` does."""
    return name == "set" and "=" in statement
