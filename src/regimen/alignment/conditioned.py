"""Conditioned tuning: what an answer is worth stands in the prompt, and the answer is learnt.

At the end the model is asked with the condition of the best answers. Only answers are learnt; the
words of a condition are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from regimen.alignment.forms import answers_in, scores_of
from regimen.records import Instance, Message, Preference, Ranked, stable_hash


@dataclass(frozen=True, slots=True)
class Hindsight:
    """Chain of Hindsight (Liu et al. 2023, arXiv 2302.02676): two answers in one conversation.

    The prompt ends with the words for the first answer, the user then asks with those for the
    second. The better one comes first in one half of the rows and second in the other (by a hash of
    the row), so that a good answer is learnt both from nothing and as better than a bad one.
    """

    good: str = "Give a good answer."
    bad: str = "Give a bad answer."

    def conversation(self, pair: Preference) -> Instance:
        """The conversation of a pair."""
        both = [(self.good, pair.chosen), (self.bad, pair.rejected)]
        if int(stable_hash([pair.instance_id, "hindsight"]), 16) % 2:
            both.reverse()
        (first, before), (second, after) = both
        turns = (*conditioned(pair.prompt, first), *learnt(before))
        asked = Message(role="user", content=second)
        return Instance(
            messages=(*turns, asked, *learnt(after)), lineage=pair.lineage, weight=pair.weight
        )

    @property
    def condition(self) -> str:
        """What a prompt ends with to get the best answers."""
        return self.good


@dataclass(frozen=True, slots=True)
class Quark:
    """Quantised reward conditioning (Lu et al. 2022, *Quark*, arXiv 2205.13636), on given answers.

    Answers of all prompts are put in order by their scores and cut into ``quantiles`` groups; a
    prompt ends with the token of its answer's group, the highest number the best. Of the paper's
    equation 2 this is the first term; the penalty by the reference over the whole vocabulary, and
    the rounds of sampling, are left out.
    """

    quantiles: int = 5

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens of the groups, the worst first."""
        return tuple(f"<|reward_{number}|>" for number in range(1, self.quantiles + 1))

    @property
    def condition(self) -> str:
        """What a prompt ends with to get the best answers."""
        return self.tokens[-1]

    def group_of(self, score: float, ordered: Sequence[float]) -> int:
        """The group of a score among all scores in ascending order; ties share the middle rank."""
        from bisect import bisect_left, bisect_right

        rank = (bisect_left(ordered, score) + bisect_right(ordered, score)) / 2
        return min(int(self.quantiles * rank / len(ordered)), self.quantiles - 1)

    def conversations(
        self, record: Ranked | Preference, ordered: Sequence[float]
    ) -> list[Instance]:
        """One conversation for each answer of a record."""
        return [
            Instance(
                messages=(
                    *conditioned(record.prompt, self.tokens[self.group_of(score, ordered)]),
                    *learnt(answer),
                ),
                lineage=record.lineage,
                weight=record.weight,
            )
            for answer, score in zip(answers_in(record), scores_of(record), strict=True)
        ]


def conditioned(prompt: Sequence[Message], condition: str) -> tuple[Message, ...]:
    """A prompt whose last turn of the user ends with a condition; nothing in it is learnt."""
    read = [replace(message, train=False) for message in prompt]
    if read and read[-1].role == "user":
        text = f"{read[-1].text}\n\n{condition}"
        return (*read[:-1], replace(read[-1], content=text))
    return (*read, Message(role="user", content=condition, train=False))


def learnt(answer: Sequence[Message]) -> tuple[Message, ...]:
    """An answer whose turns of the assistant are learnt."""
    return tuple(replace(m, train=m.role == "assistant") for m in answer)
