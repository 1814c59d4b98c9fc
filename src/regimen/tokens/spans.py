"""Where the content of a turn stands in what a chat template made of it."""

from __future__ import annotations

from regimen.errors import TokenError
from regimen.records import Message


def content_start(text: str, message: Message) -> int:
    """Where an answer's content begins in an unstable rendering; the reasoning, if it is shown."""
    content = message.text.strip()
    start = text.rfind(content)
    if start < 0:
        raise TokenError(
            "The chat template does not show the content of an assistant turn.",
            slug="template-drops-content",
            got=repr(text[-80:]),
            expected=repr(content[:80]),
            fix="Use another chat template, or set train: false on that turn.",
        )
    return start


def trim_after_end(span: str, message: Message) -> str:
    """Drop the white space that a template puts after the end of a turn: it is never generated."""
    stripped = span.rstrip()
    return stripped if stripped and not stripped.endswith(message.text.rstrip()) else span


def check_content(span: str, message: Message, weight: float) -> None:
    """A supervised turn must show its content as it is.

    Raises:
        TokenError: it does not.
    """
    if weight and message.text.strip() not in span:
        raise TokenError(
            "The chat template changes the content of a supervised turn.",
            slug="template-drops-content",
            got=repr(span[:80]),
            expected=repr(message.text[:80]),
            fix="Use another chat template, or set train: false on that turn.",
        )
