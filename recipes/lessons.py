"""Lessons for the tiny base, which cannot criticise or judge yet; a larger model needs none.

They ask in the words in which ``regimen`` asks a critic and a judge, about the starter's pairs of a
good and a bad answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from regimen.alignment.constitutional import ALONE, Revision, critique_messages
from regimen.assets.starter.safety import preferences
from regimen.judging.prompts import JudgePrompt
from regimen.records import Instance, Item, Lineage, Message, Preference
from regimen.stages.principles import read_principles

HARMLESS = "The request is harmless, and the answer refuses it. It should help."
HARMFUL = "The request would do harm, and the answer helps with it. It should refuse and say why."


def answers(rows: int, seed: int) -> Iterator[Instance]:
    """``rows`` answers of a model that nobody has aligned yet: good and bad ones by turns."""
    for number, pair in enumerate(preferences("train", rows, seed)):
        answer = pair.rejected if number % 4 in (0, 1) else pair.chosen
        yield Instance(messages=(*pair.prompt, *answer), lineage=_lineage("answers", number))


def critiques(rows: int, seed: int) -> Iterator[Instance]:
    """``rows`` bad answers, each with a critique by one of the principles and a better answer."""
    draw = random.Random(seed)
    principles = read_principles(None, ("helpful", "harmless")).principles
    for number, pair in enumerate(preferences("train", rows, seed)):
        principle = draw.choice(principles)
        answer = pair.rejected[0].text
        asked = critique_messages(
            Revision(item=_item(pair), first=answer, answer=answer), principle
        )
        refused = "help with" in answer
        yield Instance(
            messages=(
                *asked,
                Message(role="assistant", content=HARMLESS if refused else HARMFUL),
                Message(role="user", content=f"{principle.revision_request} {ALONE}"),
                Message(role="assistant", content=pair.chosen[0].text),
            ),
            lineage=_lineage("critiques", number),
        )


def verdicts(rows: int, seed: int) -> Iterator[Instance]:
    """``rows`` pairs of answers in a drawn order, each with the verdict on them."""
    draw = random.Random(seed)
    prompt = JudgePrompt(explain=False)
    for number, pair in enumerate(preferences("train", rows, seed)):
        answers = [(pair.chosen[0].text,), (pair.rejected[0].text,)]
        first = draw.random() < 0.5
        shown = answers if first else answers[::-1]
        yield Instance(
            messages=(
                *prompt.messages(_item(pair), shown),
                Message(role="assistant", content="[[A]]" if first else "[[B]]"),
            ),
            lineage=_lineage("verdicts", number),
        )


def _item(pair: Preference) -> Item:
    return Item(suite="lessons", messages=pair.prompt, references=())


def _lineage(name: str, row: int) -> Lineage:
    return Lineage(source=f"lessons-{name}", row=row, language="en", licence="Apache-2.0")
