"""What is wrong with a rewording: the first reason found, counted where it is removed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import regex

from regimen.instances.rewording.languages import script_problem, untranslated
from regimen.instances.rewording.marks import (
    Masked,
    answer_source,
    mark_problem,
    segments,
    words_of,
)
from regimen.instances.task_rows import accepted_outputs, numbered_rows
from regimen.instances.templates import compile_check, missing_columns
from regimen.instances.words import fold, tokens
from regimen.records import Task, Template

REASONS = (
    *("empty", "answer_leaked", "marks_added", "marks_lost", "marks_repeated", "marks_moved"),
    *("does_not_compile", "names_changed", "same_as_original", "same_as_another"),
    *("language_wrong", "too_long", "too_short"),
)
"""Why a text that a generator wrote is not used. An answer that was cut off is not looked at."""

ROWS_SEEN = 256
"""Rows of a task whose outputs must not come into its prompts."""
MOST_TIMES = 3
"""A rewording has at most so many times the words of its source, and at least their share."""
_FEW_WORDS = 4
"""Shorter sources may grow as if they had so many words."""
_LEAST = 3
"""Shorter answers are words of any text ("no", "A"); in scripts without spaces one less."""
_OUTPUT = regex.compile(r"\boutput\b")
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
)


class Problem(NamedTuple):
    """Why a rewording is not used: a stable slug and the particulars."""

    reason: str
    detail: str = ""


Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What is reworded: the source, as it is masked, and what must not come into its words.

    ``answer`` says that the source writes prompt and answer with ``|||`` between them. ``answers``
    are those of ``row_answers`` and ``written_answers``, ``names`` the columns that the source
    needs, sorted.
    """

    source: str
    masked: Masked
    language: str
    answer: bool = False
    answers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the source is text without code."""
        return self.masked.plain

    def words(self, source: str) -> str:
        """The words of a source of this kind, without its answer."""
        return words_of(source, answer=self.answer, plain=self.plain)


def wording_key(source: str, *, plain: bool = False) -> Key:
    """Equal for sources that differ in case, punctuation and white space of their words alone."""
    said = [p for p in segments(source, plain=plain) if p.kind != "words" or _is_said(p.text)]
    return tuple(" ".join(tokens(text)) if kind == "words" else text for kind, text in said)


def _is_said(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return any(character.isalnum() for character in text)


def problem_of(
    text: str, original: Original, language: str, others: Collection[Key]
) -> Problem | None:
    """Why a reworded text (with marks, cleaned) is not used, or None.

    Args:
        text: what the generator wrote.
        original: what it was given.
        language: what it should be in; a translation where that is not the source's.
        others: keys of the other wordings of the task.
    """
    if problem := _marks(text, original):
        return problem
    source = original.masked.put_back(text)
    words, before = original.words(source), original.words(original.source)
    if not tokens(words) or not regex.search(r"\p{L}", words):
        return Problem("empty", text[:200])
    if problem := _code(source, original):
        return problem
    translated = language != original.language
    if problem := _equal(source, original, translated, others):
        return problem
    if wrong := (untranslated(words, before) if translated else ""):
        return Problem("language_wrong", wrong)
    if wrong := script_problem(words, language):
        return Problem("language_wrong", wrong)
    return _length(words, before) or _leak(words, before, original.answers)


def _marks(text: str, original: Original) -> Problem | None:
    """Code and marks: code that reads the answer is named apart from other code."""
    if not original.plain:
        for piece in segments(text):
            if piece.kind in ("expression", "statement") and _OUTPUT.search(piece.text):
                return Problem("answer_leaked", piece.text[:200])
    found = mark_problem(text, original.masked)
    return Problem(*found) if found else None


def _code(source: str, original: Original) -> Problem | None:
    """Code that came apart, does not compile, or reads other columns."""
    if original.plain:
        return None
    here = sorted(p.text for p in segments(source) if p.kind != "words")
    if here != sorted(p.text for p in segments(original.source) if p.kind != "words"):
        return Problem("does_not_compile", "words and code run together")
    failure = compile_check(source)
    if failure is not None:
        return Problem("does_not_compile", failure.got)
    names = missing_columns(source, ())
    if names != original.names:
        return Problem("names_changed", ", ".join(sorted({*names} ^ {*original.names})))
    return None


def _equal(
    source: str, original: Original, translated: bool, others: Collection[Key]
) -> Problem | None:
    key = wording_key(source, plain=original.plain)
    if key == wording_key(original.source, plain=original.plain):
        if translated:
            return Problem("language_wrong", "the source itself")
        return Problem("same_as_original")
    return Problem("same_as_another") if key in others else None


def _length(words: str, before: str) -> Problem | None:
    """Counts words, single characters in scripts without spaces."""
    found, expected = len(tokens(words)), len(tokens(before))
    detail = f"{found} words, the source has {expected}"
    if found > MOST_TIMES * max(expected, _FEW_WORDS):
        return Problem("too_long", detail)
    return Problem("too_short", detail) if found * MOST_TIMES < expected else None


def _leak(words: str, before: str, answers: Sequence[str]) -> Problem | None:
    """The first answer that stands in the words as whole words, and not in the source's."""
    here, there = f" {' '.join(tokens(words))} ", f" {' '.join(tokens(before))} "
    for answer in answers:
        if f" {answer} " in here and f" {answer} " not in there:
            return Problem("answer_leaked", answer[:200])
    return None


def row_answers(task: Task, seed: int) -> tuple[str, ...]:
    """What a prompt of the task must not say: its options, outputs and options of drawn rows.

    Each is its words with single spaces. Answers that a template computes from other columns are
    not known here, nor are answers in another language than the rows'. Answers of one or two
    characters are left out: they are words of any text.

    Raises:
        DataError: the task has rows, and they cannot be drawn.
    """
    found = list(task.options)
    if task.instances or task.generator is not None:
        for _, row in numbered_rows(task, ROWS_SEEN, seed):
            found += accepted_outputs(row)
            options = row.get("options")
            found += map(str, options) if isinstance(options, list | tuple) else ()
    return _searched(found)


def written_answers(template: Template) -> tuple[str, ...]:
    """Choices, and answers that the template itself spells: no expression is around them."""
    found: list[str] = []
    for source in (template.output or answer_source(template.input), template.choices):
        pieces = segments(source)
        if not any(piece.kind == "expression" for piece in pieces):
            found += [piece.text for piece in pieces if piece.kind == "words"]
    return _searched(found)


def _searched(found: Sequence[str]) -> tuple[str, ...]:
    """The words of each different answer that says something."""
    return tuple(dict.fromkeys(" ".join(tokens(text)) for text in found if _says_something(text)))


def _says_something(text: str) -> bool:
    folded = "".join(tokens(text))
    least = _LEAST - 1 if _UNSPACED.search(fold(text)) else _LEAST
    return _is_said(folded) and len(folded) >= least
