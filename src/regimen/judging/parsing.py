"""What a judge said, as a preference or a rating; None where it cannot be told.

A verdict is looked for in brackets first (``[[A]]``), then in a JSON object, then in words. The
last bracket counts, because judges repeat the instructions before they decide. An answer without a
verdict, or with several that contradict each other, is None: it is counted as failed, never taken
for a tie.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from regimen.instances.words import normalise


class Parsed(NamedTuple):
    """A value and what was said for it.

    A preference is 1 for the answer shown first, -1 for the second, 0 for a tie; a rating is a
    number of the scale.
    """

    value: float
    reason: str


_NAMES: Mapping[str, float] = {
    **dict.fromkeys(("a", "1", "first", "one"), 1.0),
    **dict.fromkeys(("b", "2", "second", "two"), -1.0),
    **dict.fromkeys(("c", "0", "tie", "tied", "draw", "equal", "both", "neither", "same"), 0.0),
}
_VERDICT_KEYS = ("verdict", "winner", "preference", "preferred", "better", "choice", "answer")
_RATING_KEYS = ("rating", "score", "grade", "value")
_REASON_KEYS = ("reason", "explanation", "rationale", "justification", "reasoning")

_NOUN = r"(?:answer|assistant|response|option|output|system|model)s?"
_SIDE = rf"(?:the )?(?:{_NOUN} )?(?P<side>a|b|1|2|first|second)(?: {_NOUN})?"
_DEGREE = r"(?:\w+ly |much |far |a bit |a little |somewhat )?"
_BRACKETS = re.compile(r"\[\[\s*([\w.,/-]+)\s*\]\]")
_ALONE = re.compile(rf"(?:{_SIDE}|(?:it is |it's )?(?:a )?(?P<tie>tie|draw|tied|equal|c|0))")
_WORDS = (
    re.compile(
        rf"\b(?:verdict|winner|preference|choice|better(?: one| {_NOUN})?)(?: is|:| =)+ {_SIDE}\b"
    ),
    re.compile(rf"\b{_SIDE} (?:is|was|seems|wins|is the) {_DEGREE}(?:better|best|superior|winner)"),
    re.compile(rf"\b{_SIDE} wins\b"),
    re.compile(rf"\bi (?:\w+ly )?(?:prefer|choose|pick) {_SIDE}\b"),
)
_TIES = (
    re.compile(
        r"\b(?:verdict|winner|preference|choice)(?: is|:| =)+ (?:a )?(?:tie|draw|neither)\b"
    ),
    re.compile(r"\b(?:it is|it's|this is|call it|declare) a (?:tie|draw)\b"),
    re.compile(rf"\b(?:both|the two)(?: {_NOUN})? (?:are|were|is) {_DEGREE}equal(?:ly)?\b"),
    re.compile(r"\bequally (?:good|bad|helpful|correct|wrong)\b"),
)
_NEGATED = re.compile(r"\b(?:not|isn't|wasn't|neither|nor|hardly|no) (?:\w+ ){0,2}$")
_NUMBER = r"(?<![\w.])\d+(?:\.\d+)?(?![\w]|\.\d)"
_RATED = re.compile(
    rf"\b(?:rating|score|grade)(?: is| of|:| =)+ (?:a )?(?P<one>{_NUMBER})"
    rf"|(?P<two>{_NUMBER}) ?(?:/|out of) ?\d+"
)


def parse_preference(text: str) -> Parsed | None:
    """The preference of a pairwise verdict: 1, 0 or -1 for the answer shown first."""
    bracketed = [_NAMES[name] for name in _bracketed(text) if name in _NAMES]
    if bracketed:
        return Parsed(bracketed[-1], _reason(text))
    for found in _objects(text):
        value = _NAMES.get(_bare(_first(found, _VERDICT_KEYS)))
        if value is not None:
            return Parsed(value, str(_first(found, _REASON_KEYS) or _reason(text)))
    value = _in_words(text)
    return None if value is None else Parsed(value, _reason(text))


def parse_rating(text: str, scale: tuple[int, int]) -> Parsed | None:
    """The rating of a pointwise verdict; a number outside the scale is none.

    Args:
        text: what the judge said.
        scale: lowest and highest rating.
    """
    bracketed = [value for name in _bracketed(text) if (value := _number(name)) is not None]
    if bracketed:
        return _on_scale(bracketed[-1], _reason(text), scale)
    for found in _objects(text):
        value = _number(_first(found, _RATING_KEYS))
        if value is not None:
            reason = str(_first(found, _REASON_KEYS) or _reason(text))
            return _on_scale(value, reason, scale)
    folded = normalise(text)
    if re.fullmatch(rf"{_NUMBER}\.?", folded):
        return _on_scale(float(folded.rstrip(".")), "", scale)
    said = {float(match["one"] or match["two"]) for match in _RATED.finditer(folded)}
    return _on_scale(said.pop(), _reason(text), scale) if len(said) == 1 else None


def _on_scale(value: float, reason: str, scale: tuple[int, int]) -> Parsed | None:
    return Parsed(value, reason) if scale[0] <= value <= scale[1] else None


def _bracketed(text: str) -> list[str]:
    return [found.casefold() for found in _BRACKETS.findall(text)]


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """Every JSON object in the text, the last first, with its keys folded."""
    decoder = json.JSONDecoder()
    for start in reversed([match.start() for match in re.finditer(r"\{", text)]):
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):  # not an object that begins here
            continue
        yield {str(key).casefold(): inner for key, inner in value.items()}


def _first(found: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((found[key] for key in keys if key in found), None)


def _bare(value: Any) -> str:
    """The name in "Answer A", "A" or 1, folded."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    folded = normalise(str(value)).strip(" .[]")
    match = re.fullmatch(_SIDE, folded)
    return match["side"] if match else folded


def _number(value: Any) -> float | None:
    """A number, also as text and as ``7/10``."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip().partition("/")[0]
    return float(text) if re.fullmatch(r"\d+(?:\.\d+)?", text) else None


def _in_words(text: str) -> float | None:
    """The one verdict that the words of the last line that has any agree on."""
    lines = [normalise(line.replace("*", " ")) for line in text.splitlines()]
    for line in reversed([line.strip(" .!\"'") for line in lines if line]):
        alone = _ALONE.fullmatch(line)
        if alone:
            return 0.0 if alone["tie"] else _NAMES[alone["side"]]
        said = {
            _NAMES[match["side"]]
            for pattern in _WORDS
            for match in pattern.finditer(line)
            if not _NEGATED.search(line[: match.start()])
        }
        said |= {0.0 for pattern in _TIES if pattern.search(line)}
        if said:
            return said.pop() if len(said) == 1 else None
    return None


def _reason(text: str) -> str:
    """The text without its bracketed verdict."""
    return _BRACKETS.sub("", text).strip()
