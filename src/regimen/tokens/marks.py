"""Which token of an answer ends a part of its text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from regimen.errors import TokenError


def tokens_at(
    tokenizer: Any, ids: Sequence[int], content: str, ends: Sequence[int]
) -> tuple[int, ...]:
    """The place in ``ids`` of the token with which each beginning of a text is complete.

    Args:
        tokenizer: whose ids they are.
        ids: of an answer as it is rendered, with what the template puts around its text.
        content: the text.
        ends: characters of each beginning, ascending, each at least 1.

    Raises:
        TokenError: ``content-not-found``, where the ids do not say the text.
    """

    def said(count: int) -> str:
        text: str = tokenizer.decode(
            list(ids[:count]), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    start = said(len(ids)).find(content)
    if start < 0:
        raise TokenError(
            "The tokens of an answer do not decode to its text.",
            slug="content-not-found",
            got=f"{content[:80]!r}",
            expected="a tokenizer and a chat template that leave the text as it is",
            fix="Write the answer as the template renders it, without blanks at its ends.",
        )
    whole = said(len(ids))
    found: list[int] = []
    for end in ends:
        beginning = whole[: start + end]
        # a token with a part of a character decodes to a replacement, which is no beginning
        count = bisect_left(
            range(len(ids) + 1), True, key=lambda count: said(count).startswith(beginning)
        )
        found.append(count - 1)
    return tuple(found)


def last_read(ids: Sequence[int], pad_id: int) -> int:
    """The place of the last id that is no padding, -1 where there is none.

    It is where transformers reads the score of a text, padded or not; a template may end a turn
    with the id that pads.
    """
    return next((place for place in reversed(range(len(ids))) if ids[place] != pad_id), -1)
