"""Self-alignment: answers under principles in the prompt, learnt without the prompt.

The core of Sun et al. 2023, *Principle-Driven Self-Alignment of Language Models from Scratch with
Minimal Human Supervision*, sections 3.2 and 3.3, arXiv 2305.03047: principles and a few
demonstrations stand before the question when a model answers, and the answer is then learnt as if
they had not been there (context distillation: Askell et al. 2021, arXiv 2112.00861; Bai et al.
2022). What is taught is what the prompt does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from regimen.alignment.constitutional import Principle
from regimen.records import Instance, Item, Message

OPENING = "You are an assistant. Follow these principles in every answer, and do not mention them:"


def prompted(
    item: Item, principles: Sequence[Principle], demonstrations: Sequence[tuple[str, str]]
) -> tuple[Message, ...]:
    """The question with principles and demonstrations before it; a system prompt stays first."""
    listed = "\n".join(f"{n}. {one.text}" for n, one in enumerate(principles, start=1))
    system = f"{OPENING}\n{listed}"
    turns = list(item.messages)
    if turns and turns[0].role == "system":
        system = f"{turns.pop(0).text}\n\n{system}"
    shown = [
        message
        for asked, said in demonstrations
        for message in (
            Message(role="user", content=asked),
            Message(role="assistant", content=said),
        )
    ]
    return (Message(role="system", content=system), *shown, *turns)


def engraved(item: Item, answer: str, generator: str, principles: Sequence[Principle]) -> Instance:
    """The answer to the bare question; the lineage has the principles that were shown."""
    prompt = (
        replace(turn, train=False) if turn.role == "assistant" else turn for turn in item.messages
    )
    by = tuple(f"principle:{one.id}" for one in principles)
    lineage = replace(
        item.lineage,
        variant="self_align",
        generator=generator,
        verdicts=(*item.lineage.verdicts, *by),
    )
    return Instance(messages=(*prompt, Message(role="assistant", content=answer)), lineage=lineage)
