"""Rows longer than ``max_length``: dropped, truncated or split, and what that costs.

- ``drop``: the conversation or text is not learnt.
- ``truncate``: the end is cut off. What is left is a true beginning: every token that is learnt
  stands after all that it stood after before, and the system prompt stays. An answer that is cut
  still ends its turn, in place of its last tokens, because a model that learns long answers without
  their ends learns not to end. A plain text just stops; its end is not made up.
- ``split``: several rows, in which every token that was to be learnt is learnt once. A conversation
  is split before turns of the user, and each row has as many of the earlier turns before it, read
  but not learnt, as fit. A single exchange that is too long is read through a window: at most half
  of it is new (all of it in the first), the rest is what stands before. A plain text becomes
  successive pieces; the first token of a piece has nothing before it and is not learnt.

Of a prompt with several answers, ``truncate`` cuts the prompt; see ``fit_answers``.

Under the masking policy ``all`` a conversation is text that is learnt whole, and is cut like it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from regimen.records import Message
from regimen.tokens.rendering import Rendered, RenderedAnswers, Renderer

OverflowPolicy = Literal["drop", "truncate", "split"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """The rows of a conversation that fit; none where nothing is left to learn.

    ``supervised`` counts the supervised tokens of the whole conversation and ``longest`` the tokens
    of its longest row before anything was cut.
    """

    rows: tuple[Rendered, ...]
    supervised: int
    longest: int

    @property
    def lost(self) -> int:
        """Supervised tokens that are in no row."""
        return self.supervised - sum(row.supervised for row in self.rows)


def fit_conversation(
    renderer: Renderer, messages: Sequence[Message], limit: int, policy: OverflowPolicy
) -> Fitted:
    """Rows of at most ``limit`` tokens, each with something to learn.

    Raises:
        TokenError: the conversation cannot be rendered.
    """
    rows = renderer.conversation(messages)
    supervised = sum(row.supervised for row in rows)
    longest = max((len(row.ids) for row in rows), default=0)
    if longest > limit:
        rows = SHORTEN[policy](renderer, messages, rows, limit)
    return Fitted(tuple(row for row in rows if row.supervised), supervised, longest)


def fit_answers(
    renderer: Renderer,
    prompt: Sequence[Message],
    answers: Sequence[Sequence[Message]],
    limit: int,
    policy: OverflowPolicy,
) -> tuple[RenderedAnswers | None, RenderedAnswers]:
    """A prompt with its answers that fits, None where none does; and the whole of it.

    ``truncate`` leaves out the oldest turns of the prompt. The answers stay whole, because a
    preference is about them whole, and an end that is made up would be preferred or not as well.

    Raises:
        TokenError: an answer cannot be rendered.
    """

    def rendered(turns: Sequence[Message]) -> RenderedAnswers:
        return renderer.answers(turns, answers)

    whole = rendered(prompt)
    if whole.longest <= limit:
        return whole, whole
    turns = None
    if policy == "truncate":
        turns = latest_turns(prompt, lambda some: rendered(some).longest <= limit)
    return (rendered(turns) if turns is not None else None), whole


def cut_text(ids: np.ndarray, limit: int, policy: OverflowPolicy) -> list[np.ndarray]:
    """Pieces of at most ``limit`` tokens of a plain text; one token alone teaches nothing."""
    if len(ids) > limit and policy == "drop":
        return []
    end = min(len(ids), limit) if policy == "truncate" else len(ids)
    pieces = [ids[start : min(start + limit, end)] for start in range(0, end, limit)]
    return [piece for piece in pieces if len(piece) > 1]


def truncated(row: Rendered, limit: int, end_of_turn: Sequence[int] = ()) -> Rendered:
    """The first ``limit`` tokens of a row, up to the last supervised one.

    Where the cut falls into an answer of which at least one token stays, the last tokens become
    ``end_of_turn``, supervised; without it they stay as they are.
    """
    if len(row.ids) <= limit:
        return row
    ids, weights = list(row.ids[:limit]), list(row.weights[:limit])
    if end_of_turn and weights[-1] and row.weights[limit]:
        answer = next(i for i in range(limit, 0, -1) if not weights[i - 1])  # where it begins
        room = limit - len(end_of_turn)
        if answer < room:
            ids[room:], weights[room:] = end_of_turn, [weights[-1]] * len(end_of_turn)
        else:
            del ids[answer:], weights[answer:]
    last = max((i for i, weight in enumerate(weights) if weight), default=-1)
    return replace(row, ids=tuple(ids[: last + 1]), weights=tuple(weights[: last + 1]))


def pieces(row: Rendered, limit: int) -> list[Rendered]:
    """Successive pieces of at most ``limit`` tokens; the first token of each is not learnt."""
    return [
        replace(row, ids=row.ids[a : a + limit], weights=(0.0, *row.weights[a + 1 : a + limit]))
        for a in range(0, len(row.ids), limit)
    ]


def windows(row: Rendered, limit: int) -> list[Rendered]:
    """Rows of at most ``limit`` tokens in which every supervised token is learnt once.

    The first is the beginning of the row; in each later one at most half is new, and what stands
    before it in the row fills the rest, read but not learnt.
    """
    places = [i for i, weight in enumerate(row.weights) if weight]
    rows: list[Rendered] = []
    done = 0
    while done < len(places):
        first = places[done]
        reach = limit if first < limit and not rows else first + limit // 2
        new = bisect_left(places, reach) - done
        stop = places[done + new - 1] + 1
        start = max(0, stop - limit)
        weights = (*([0.0] * (first - start)), *row.weights[first:stop])
        rows.append(replace(row, ids=row.ids[start:stop], weights=weights))
        done += new
    return rows


def end_of_turn(renderer: Renderer) -> tuple[int, ...]:
    """Ids that the chat template puts after an answer and that are supervised with it."""
    content = renderer.text_ids("b")
    probe = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    row = renderer.conversation(probe)[-1]
    ids = tuple(i for i, weight in zip(row.ids, row.weights, strict=True) if weight)
    for start in range(len(ids) - len(content), -1, -1):
        if ids[start : start + len(content)] == content:
            return ids[start + len(content) :]
    return ()


def exchanges(
    messages: Sequence[Message],
) -> tuple[tuple[Message, ...], list[tuple[Message, ...]]]:
    """The system messages at the head, and the turns from one question to before the next.

    An exchange begins with a turn of the user that follows an answer, so the calls of tools and
    their results stay together.
    """
    head = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
    found: list[list[Message]] = []
    for message in messages[head:]:
        if not found or (message.role == "user" and found[-1][-1].role != "user"):
            found.append([])
        found[-1].append(message)
    return tuple(messages[:head]), [tuple(turns) for turns in found]


def latest_turns(
    messages: Sequence[Message], fits: Callable[[Sequence[Message]], bool]
) -> list[Message] | None:
    """The conversation without its oldest exchanges, as few of them as makes it fit.

    The system messages stay. None where not even the last exchange fits.
    """
    head, turns = exchanges(messages)
    found = bisect_left(range(len(turns)), True, key=lambda n: fits([*head, *_flat(turns[n:])]))
    return [*head, *_flat(turns[found:])] if found < len(turns) else None


def _flat(turns: Iterable[Sequence[Message]]) -> list[Message]:
    return [message for exchange in turns for message in exchange]


def _drop(
    _renderer: Renderer, _messages: Sequence[Message], _rows: list[Rendered], _limit: int
) -> list[Rendered]:
    return []


def _truncate(
    renderer: Renderer, _messages: Sequence[Message], rows: list[Rendered], limit: int
) -> list[Rendered]:
    end = () if renderer.policy == "all" else end_of_turn(renderer)
    return [truncated(row, limit, end) for row in rows]


def _split(
    renderer: Renderer, messages: Sequence[Message], rows: list[Rendered], limit: int
) -> list[Rendered]:
    if renderer.policy == "all":
        return [piece for row in rows for piece in pieces(row, limit)]
    notes = dict(renderer.notes)  # renderings that only measure are none
    # a part of a conversation must not decide anew which turns are learnt
    marked = [
        replace(m, train=renderer.weight_of(messages, i) != 0) if m.role == "assistant" else m
        for i, m in enumerate(messages)
    ]
    head, turns = exchanges(marked)
    learnt = [n for n, exchange in enumerate(turns) if any(m.train for m in exchange)]
    split: list[Rendered] = []
    done = 0
    for start in learnt:
        if start >= done:
            rows, done = _next_rows(renderer, head, turns, start, limit)
            split += rows
    renderer.notes = notes
    return [part for row in split for part in (windows(row, limit) if row.supervised else [])]


def _next_rows(
    renderer: Renderer,
    head: Sequence[Message],
    turns: Sequence[Sequence[Message]],
    start: int,
    limit: int,
) -> tuple[list[Rendered], int]:
    """The row that learns from exchange ``start`` on, and the exchange that the next one learns.

    As many exchanges as fit are learnt together, at least one even where it does not fit; then as
    many of those before them as fit are read.
    """

    def rows(first: int, stop: int) -> list[Rendered]:
        context = [replace(message, train=False) for message in _flat(turns[first:start])]
        return renderer.conversation([*head, *context, *_flat(turns[start:stop])])

    def fits(first: int, stop: int) -> bool:
        return all(len(row.ids) <= limit for row in rows(first, stop))

    more = bisect_left(
        range(start + 1, len(turns) + 1), True, key=lambda stop: not fits(start, stop)
    )
    stop = start + max(1, more)
    first = bisect_left(range(start), True, key=lambda first: fits(first, stop))
    return rows(first, stop), stop


Shorten = Callable[[Renderer, Sequence[Message], list[Rendered], int], list[Rendered]]
SHORTEN: dict[OverflowPolicy, Shorten] = {"drop": _drop, "truncate": _truncate, "split": _split}
