"""What is counted in an answer: words, capital words, sentences, paragraphs.

The definitions are those of the published verdicts, without their downloaded models: a word is a
run of letters, digits and underscores, and a sentence ends at a full stop, a question or an
exclamation mark before white space, unless the stop belongs to an abbreviation.
"""

from __future__ import annotations

import re

import regex

_WORD = regex.compile(r"[\w\p{M}]+")
# What ends a sentence, with the quotes and brackets that close after it.
_STOP = regex.compile(r"[.!?…。！？।؟۔]+[\p{Pe}\p{Pf}\"'*_]*(?=\s|$)|[。！？]+")
_NEXT = re.compile(r"\s*(\S)")
# Full stops after these end no sentence; after the others they do before a capital.
_TITLES = frozenset(
    (
        *("mr", "mrs", "ms", "dr", "prof", "rev", "st", "vs", "e.g", "i.e", "fig", "cf", "u.s"),
        *("u.k", "gov", "sen", "rep", "capt", "sgt", "lt", "mme", "mlle", "éd", "chap"),
        *("sra", "srta", "dra", "ud", "uds", "p.ej", "pág", "núm", "ee.uu"),
    )
)
_OTHERS = frozenset(
    (
        *("jr", "sr", "etc", "a.m", "p.m", "inc", "ltd", "co", "corp", "approx", "dept", "ave"),
        *("blvd", "jan", "feb", "apr", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
        *("ph.d", "m.d", "b.a", "m.a", "b.c", "a.d", "p.s", "p.p.s", "p.d"),
    )
)
_CLITIC = re.compile(r"(?i)(?<=\w)(?=(?:['’](?:s|m|d|ll|re|ve))\b)|(?<=\w)(?=n['’]t\b)")
_APART = re.compile(r"[\s()\[\]{}<>,;:!?\"“”«»…@#$%&]+|\.\.+|--+|\.$|\.(?=\s)")


def words(answer: str) -> list[str]:
    """Runs of letters, digits and underscores; "don't" is two words."""
    found: list[str] = _WORD.findall(answer)
    return found


def sentences(answer: str) -> list[str]:
    """Sentences of a text in a script with spaces; a list's "1." before a text is one."""
    found, start = [], 0
    for stop in _STOP.finditer(answer):
        ahead = _NEXT.match(answer, stop.end())
        after = ahead.group(1) if ahead else ""
        if stop.group() == "." and _abbreviated(answer[start : stop.start()], after):
            continue
        found.append(answer[start : stop.end()].strip())
        start = stop.end()
    found.append(answer[start:].strip())
    return [sentence for sentence in found if any(map(str.isalnum, sentence))]


def _abbreviated(before: str, after: str) -> bool:
    """Whether a full stop belongs to the word before it; ``after`` is the next character."""
    last = "".join(before.split()[-1:]).lstrip("([{\"'“*_")
    if len(last) == 1 and last.isupper() and last != "I":
        return True
    word = last.lower()
    return word in _TITLES or (word in _OTHERS and not after.isupper())


def capital_words(answer: str) -> list[str]:
    """Words without small letters; "DON'T" is two, as tokenizers of treebanks have it."""
    parts = (part for piece in _APART.split(answer) for part in _CLITIC.split(piece))
    return [part for part in parts if part.isupper()]


def parted(answer: str, separator: str) -> list[str] | None:
    """Parts between separators, stripped; None where one other than the first or last is blank.

    A separator may stand before the first part and after the last.
    """
    parts = [part.strip() for part in re.split(separator, answer)]
    kept = parts[not parts[0] : len(parts) - (not parts[-1])]
    return kept if all(kept) else None


def blocks(answer: str) -> list[str]:
    """Paragraphs between two line breaks, with the blank ones."""
    return answer.split("\n\n")
