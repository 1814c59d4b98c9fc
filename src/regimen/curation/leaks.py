"""Leaks: training instances that give away what the evaluation asks.

The rules, in the order in which they are tried (the slug is the reason in the ledger):

    leak_task      the instance is of a task that is held out
    leak_exact     same prompt and same answer, after folding case, width and white space
    leak_prompt    same prompt, another answer: the question itself was seen
    leak_ngram     more than half of what the item asks lies in 8-grams that it shares with the
                   user turns of this one instance (Tulu 3, arXiv 2411.15124)
    leak_pair      a short input occurs as a whole in the user turns, and the answer is equal
    leak_inverted  the item turned round: its answer is in the user turns and its input is answered

"What the item asks" is its bare input where it has one: instances of a templated task share their
definition by design, and an unseen composition differs from a seen one in a few words, so over the
whole prompt everything would match. Items without a bare input are compared by the whole prompt.
Fewer than 8 words hold no 8-gram; they are found by equality alone.

What n-grams cannot find: translations and free paraphrases; a worked example inside a longer
prompt when its input is shorter than 8 words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from regimen.curation.filters import Filter
from regimen.curation.ngrams import NgramIndex, bordered
from regimen.instances.words import normalise, tokens
from regimen.records import Instance, Item, Message

BATCH = 4_096
# A short input and its answer of fewer words together coincide too often to mean anything.
MIN_PAIR_WORDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakRule:
    """How close is too close.

    ``ngram`` is in words; an item leaks when more than ``share`` of its words are in shared
    n-grams. With ``input_alone`` a shared input is a leak whatever was answered; without it the
    answer must be equal too, for tasks that ask different things of the same passages.
    """

    ngram: int = 8
    share: float = 0.5
    input_alone: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Why an instance is a leak. ``share`` of the item's words was found, in 0..1."""

    reason: str
    item_id: str = ""
    suite: str = ""
    share: float = 1.0

    def __str__(self) -> str:
        if not self.item_id:
            return self.reason
        return f"{self.reason}: {self.share:.2f} of item {self.item_id} of suite {self.suite}"


def find_leaks(
    instances: Sequence[Instance],
    items: Sequence[Item],
    *,
    held_out_tasks: Collection[str] | None = None,
    rule: LeakRule | None = None,
) -> list[Leak | None]:
    """For each training instance the leak it is, with the item that it gives away, or None.

    Args:
        instances: training instances.
        items: everything that will be evaluated.
        held_out_tasks: names of tasks of which nothing may be trained on. When not given, the
            tasks of all items; give the names when some items ask seen tasks about new rows.
        rule: thresholds; those of Tulu 3 when not given.
    """
    return _held_out(items, held_out_tasks, rule).leaks(instances)


def leak_filter(
    items: Sequence[Item],
    *,
    held_out_tasks: Collection[str] | None = None,
    rule: LeakRule | None = None,
) -> Filter:
    """``find_leaks`` as a filter: the reason names the item and the share that was found.

    The items are indexed here, once for all batches that the filter is given.
    """
    held_out = _held_out(items, held_out_tasks, rule)

    def leaks(instances: Sequence[Instance]) -> list[str | None]:
        return [None if leak is None else str(leak) for leak in held_out.leaks(instances)]

    return leaks


def _held_out(
    items: Sequence[Item], tasks: Collection[str] | None, rule: LeakRule | None
) -> _HeldOut:
    if tasks is None:
        tasks = {item.lineage.task for item in items if item.lineage.task}
    return _HeldOut(items, frozenset(tasks), rule or LeakRule())


def _turns(messages: Sequence[Message], role: str) -> list[str]:
    return [m.text for m in messages if m.role == role]


def asked_of(item: Item) -> str:
    """What an item asks: its bare input, else the text of its user turns."""
    return item.input.strip() or "\n".join(_turns(item.messages, "user"))


def _has_run(words: Sequence[str], run: Sequence[str]) -> bool:
    return f" {' '.join(run)} " in f" {' '.join(words)} "


class _Said:
    """One instance as the rules look at it. ``prompts`` holds the whole and every single turn."""

    __slots__ = ("answer_words", "answers", "prompts", "user_words")

    def __init__(self, instance: Instance) -> None:
        users, answers = _turns(instance.messages, "user"), _turns(instance.messages, "assistant")
        self.prompts = {normalise(text) for text in ("\n".join(users), *users)} - {""}
        self.answers = {normalise(text) for text in answers} - {""}
        self.user_words = bordered(users)
        self.answer_words = bordered(answers)


class _HeldOut:
    """The items, indexed for every rule."""

    def __init__(self, items: Sequence[Item], tasks: frozenset[str], rule: LeakRule) -> None:
        self.items, self.tasks, self.rule = items, tasks, rule
        self.ids = [item.item_id for item in items]
        self.references = [{normalise(text) for text in item.references} for item in items]
        self.runs = [[tokens(text) for text in item.references] for item in items]
        self.by_prompt: dict[str, list[int]] = defaultdict(list)
        self.by_ask: dict[str, list[int]] = defaultdict(list)
        asked_by: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for position, item in enumerate(items):
            prompt = "\n".join(_turns(item.messages, "user"))
            ask = asked_of(item)
            self.by_prompt[normalise(prompt)].append(position)
            self.by_ask[normalise(ask)].append(position)
            asked_by[tuple(tokens(ask))].append(position)
        usable = {
            ask: positions
            for ask, positions in asked_by.items()
            if len(ask) >= rule.ngram or any(self._is_telling(p, len(ask)) for p in positions)
        }
        self.asks, self.asked_by = list(usable), list(usable.values())
        self.index = NgramIndex(self.asks, rule.ngram)
        self.long = [position for position, a in enumerate(self.asks) if len(a) >= rule.ngram]
        self.long_index = NgramIndex([self.asks[p] for p in self.long], rule.ngram)

    def leaks(self, instances: Sequence[Instance]) -> list[Leak | None]:
        """The leak of each instance, batch by batch."""
        found: list[Leak | None] = []
        for start in range(0, len(instances), BATCH):
            found += self.check(instances[start : start + BATCH])
        return found

    def check(self, instances: Sequence[Instance]) -> list[Leak | None]:
        """The leak of each instance: by text first, the n-gram with the largest share after."""
        said = [_Said(one) for one in instances]
        found = [self._by_text(one, text) for one, text in zip(instances, said, strict=True)]
        for position, leak in self._by_input(said):
            best = found[position]
            if best is None or (best.reason == leak.reason and best.share < leak.share):
                found[position] = leak
        for position, leak in self._inverted(said):
            if found[position] is None:
                found[position] = leak
        return found

    def _leak(self, reason: str, position: int, share: float = 1.0) -> Leak:
        item = self.items[position]
        return Leak(reason=reason, item_id=self.ids[position], suite=item.suite, share=share)

    def _by_text(self, instance: Instance, said: _Said) -> Leak | None:
        if instance.lineage.task in self.tasks:
            return Leak(reason="leak_task")
        same = sorted({p for prompt in said.prompts for p in self.by_prompt.get(prompt, ())})
        for position in same:
            if self.references[position] & said.answers:
                return self._leak("leak_exact", position)
        return self._leak("leak_prompt", same[0]) if same else None

    def _by_input(self, said: Sequence[_Said]) -> Iterable[tuple[int, Leak]]:
        """What an item asks, found in the user turns."""
        covered = self.index.covered([one.user_words for one in said])
        for text, probe, words in zip(*(column.tolist() for column in covered), strict=True):
            size = len(self.asks[probe])
            if words <= self.rule.share * size:
                continue
            long = size >= self.rule.ngram
            for position in self.asked_by[probe]:
                equal = bool(self.references[position] & said[text].answers)
                if long and (equal or self.rule.input_alone):
                    yield text, self._leak("leak_ngram", position, words / size)
                    break
                if equal and not long and self._is_telling(position, size):
                    yield text, self._leak("leak_pair", position)
                    break

    def _inverted(self, said: Sequence[_Said]) -> Iterable[tuple[int, Leak]]:
        """What an item asks, found in the assistant turns, and its answer in the user turns."""
        for text, one in enumerate(said):
            for answer in sorted(one.answers):
                for position in self.by_ask.get(answer, ()):
                    if self._answer_in(position, one, len(tokens(answer))):
                        yield text, self._leak("leak_inverted", position)
        covered = self.long_index.covered([one.answer_words for one in said])
        for text, probe, words in zip(*(column.tolist() for column in covered), strict=True):
            ask = self.long[probe]
            size = len(self.asks[ask])
            if words <= self.rule.share * size:
                continue
            for position in self.asked_by[ask]:
                if self._answer_in(position, said[text], size):
                    yield text, self._leak("leak_inverted", position, words / size)

    def _answer_in(self, position: int, said: _Said, size: int) -> bool:
        return self._is_telling(position, size) and any(
            _has_run(said.user_words, run) for run in self.runs[position] if run
        )

    def _is_telling(self, position: int, size: int) -> bool:
        longest = max(map(len, self.runs[position]), default=0)
        return size > 0 and size + longest >= MIN_PAIR_WORDS
