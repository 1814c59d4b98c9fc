"""Lints on characters: text that was decoded wrongly, and characters that no text has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from regimen.instances.lints.columns import Columns
from regimen.instances.lints.findings import Finding, found, quote

# C0 but for tab, line feed and carriage return; delete and C1; halves of pairs; noncharacters.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_SUSPECT = re.compile("[\u00c2-\u00f4][^\x00-\x7f]+")
_LOST = "\ufffd"
# Windows-1252 leaves five bytes open; decoders let them pass as C1 characters.
_BYTES = {
    **{bytes([b]).decode("cp1252"): b for b in range(256) if b not in (129, 141, 143, 144, 157)},
    **{chr(b): b for b in range(0x80, 0xA0)},
}


def is_mojibake(text: str) -> bool:
    """Whether a text holds UTF-8 that was read as Latin-1 or Windows-1252, or lost characters.

    A sequence counts only when it decodes to what people write: letters of Latin script, marks and
    signs of common typography, or two characters or more of another script. So "CAFÉ»" stays text.
    """
    if text.isascii():
        return False
    return _LOST in text or any(_decodes(match.group()) for match in _SUSPECT.finditer(text))


def _decodes(run: str) -> bool:
    codes = [_BYTES.get(character) for character in run]
    size = codes.index(None) if None in codes else len(codes)
    raw = bytes(code for code in codes[:size] if code is not None)
    decoded: list[str] = []
    while raw:
        length = 2 if raw[0] < 0xE0 else 3 if raw[0] < 0xF0 else 4
        try:
            decoded.append(raw[:length].decode("utf-8"))
        except UnicodeDecodeError:
            break
        raw = raw[length:]
    if not decoded:
        return False
    usual = all(
        "\u00a1" <= c <= "\u017f" or "\u2010" <= c <= "\u2044" or c in "\u00a0\u20ac\u2122\ufeff"
        for c in decoded
    )
    return usual or len(decoded) > 1


def odd_characters(c: Columns) -> Iterator[Finding]:
    """Rows, examples and definitions with wrongly decoded text, or with control characters."""
    texts = [
        "\n".join((text, *accepted)) for text, accepted in zip(c.inputs, c.answers, strict=True)
    ]
    texts += [c.task.definition]
    texts += [f"{e.input}\n{e.output}" for e in (*c.task.positive, *c.task.negative)]
    places = {
        "mojibake": [i for i, text in enumerate(texts) if is_mojibake(text)],
        "control_characters": [i for i, text in enumerate(texts) if _CONTROL.search(text)],
    }
    for lint, found_at in places.items():
        if found_at:
            text = texts[found_at[0]]
            rows = [i for i in found_at if i < len(c)]
            detail = _around(text) if lint == "mojibake" else _first_control(text)
            if len(rows) < len(found_at):
                detail += f"; {len(found_at) - len(rows)} in the definition and the examples"
            yield found(c.task.name, lint, rows, len(texts), detail, count=len(found_at))


def _first_control(text: str) -> str:
    match = _CONTROL.search(text)
    return f"the first is U+{ord(match.group()):04X}" if match else ""


def _around(text: str) -> str:
    """The text near what was decoded wrongly."""
    at = text.find(_LOST)
    for match in _SUSPECT.finditer(text):
        at = match.start() if at < 0 and _decodes(match.group()) else at
    return f"in {quote(text[max(0, at - 15) : at + 15])}"
