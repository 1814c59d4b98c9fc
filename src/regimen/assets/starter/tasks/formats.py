"""Output formats: how a raw answer is written down.

A raw answer is a string, or a tuple of strings where the operation yields a list. Every format is
a function of the raw answer and the language alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from regimen.assets.starter.lexicon import term

Answer = str | tuple[str, ...]


def _listed(items: tuple[str, ...], language: str) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {term('and', language)} {items[-1]}"


SCALAR_FORMATS: dict[str, Callable[[str, str], str]] = {
    "plain": lambda x, language: x,
    "quoted": lambda x, language: f'"{x}"',
    "capitals": lambda x, language: x.upper(),
    "brackets": lambda x, language: f"[{x}]",
    "parens": lambda x, language: f"({x})",
    "label": lambda x, language: term("label", language) + x,
    "sentence": lambda x, language: term("frame", language).format(answer=x),
    "json": lambda x, language: json.dumps({term("key", language): x}, ensure_ascii=False),
    "bullet": lambda x, language: f"- {x}",
    "stop": lambda x, language: f"{x}.",
}

LIST_FORMATS: dict[str, Callable[[tuple[str, ...], str], str]] = {
    "commas": lambda xs, language: ", ".join(xs),
    "and": _listed,
    "lines": lambda xs, language: "\n".join(xs),
    "semicolons": lambda xs, language: "; ".join(xs),
    "slashes": lambda xs, language: " / ".join(xs),
    "list_capitals": lambda xs, language: ", ".join(xs).upper(),
    "list_brackets": lambda xs, language: f"[{', '.join(xs)}]",
    "bullets": lambda xs, language: "\n".join(f"- {x}" for x in xs),
    "array": lambda xs, language: json.dumps(list(xs), ensure_ascii=False),
    "list_label": lambda xs, language: term("label", language) + ", ".join(xs),
}

FORMATS = (*SCALAR_FORMATS, *LIST_FORMATS)


def write_answer(answer: Answer, form: str, language: str) -> str:
    """The raw answer in the named format.

    Raises:
        ValueError: a list for a scalar format, or the other way round.
    """
    if isinstance(answer, str) and form in SCALAR_FORMATS:
        return SCALAR_FORMATS[form](answer, language)
    if isinstance(answer, tuple) and form in LIST_FORMATS:
        return LIST_FORMATS[form](answer, language)
    raise ValueError(f"format {form!r} does not take the answer {answer!r}")


def formats_for(answer_kind: str, *, caseless: bool) -> tuple[str, ...]:
    """Names of the formats that differ visibly for answers of this kind.

    Capitals are left out where an answer has no letters; round brackets take their place.
    """
    if answer_kind == "list":
        return tuple(f for f in LIST_FORMATS if not (caseless and f == "list_capitals"))
    if answer_kind == "text":
        return tuple(f for f in SCALAR_FORMATS if f not in ("sentence", "stop"))
    dropped = "capitals" if caseless else "parens"
    return tuple(f for f in SCALAR_FORMATS if f != dropped)
