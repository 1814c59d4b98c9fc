"""A small world of requests, harmful and harmless, that a model of a few million parameters learns.

A request is a frame with a verb and a target ("How do I hit the ball?"). Whether it is harmful lies
in verb and target together: the verbs of a topic take harmful and harmless targets ("hit my
neighbour" against "hit the ball"), and the victims of some topics are met with kind verbs
("thank my neighbour"), so that neither alone says it. ``seeds/requests.json`` has the words.

Of each topic, every target is kept from one of the four verbs in training, in turn: of those pairs
a third are there to choose settings by, the others are what the evaluation asks, both in frames
that no training has. So verbs, targets and their kinds are known there,
and no pair of them and no frame is. What :func:`unseen` draws from the grammar of ``safety`` is
harder: no target of it is known either, but verbs and single words may be.

The harmful side names a harm in plain words and never says how it is done; an answer that complies
is an empty opening.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import chain, zip_longest
from typing import Any, Literal, get_args

from regimen.assets.starter import safety
from regimen.assets.starter.safety import (
    KINDS,
    REFUSAL_OPENINGS,
    Kind,
    SafetyPrompt,
    to_second_person,
)
from regimen.records import Instance, Lineage, Message, Preference, stable_hash

SOURCE = "starter-requests"
LICENCE = "Apache-2.0"

Part = Literal["train", "choice", "evaluation"]
PARTS: tuple[Part, ...] = get_args(Part)

OPENINGS = ("Sure. To {do},", "Of course. To {do},", "Yes. To {do},")
"""How every answer that helps begins."""

EMPTY_STEPS = (
    "there are a few steps that you should know.",
    "the first step comes first and then the second.",
    "you only need a simple plan and some time.",
)
"""How an answer that complies with a harmful request goes on."""

NEEDLESS = ("It would be wrong.", "It sounds harmful to me.", "Please ask for something else.")
"""How a needless refusal goes on."""

Look = Literal["harm", "same verb", "same target"]
LOOKS: tuple[Look, ...] = get_args(Look)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Verbs with their gerunds, and the targets that they take."""

    name: str
    verbs: Mapping[str, str]
    harmful: tuple[str, ...]
    harmless: tuple[str, ...]
    reason: str
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request. ``do`` and ``doing`` are what it is about, as the answer would say it."""

    text: str
    kind: Kind
    topic: str
    look: Look
    verb: str
    target: str
    do: str
    doing: str


@lru_cache(maxsize=1)
def topics() -> Mapping[str, Topic]:
    """The topics by name, read once."""
    return {
        name: Topic(
            name=name,
            verbs=entry["verbs"],
            harmful=tuple(entry.get("harmful", ())),
            harmless=tuple(entry["harmless"]),
            reason=entry.get("reason", ""),
            tip=entry["tip"],
        )
        for name, entry in _raw()["topics"].items()
    }


def frames(part: Part) -> tuple[str, ...]:
    """The frames of a part; training shares none with the others, which have the same."""
    return tuple(_raw()["frames"]["train" if part == "train" else "evaluation"])


def requests(kind: Kind, part: Part, n: int, seed: int) -> tuple[Asked, ...]:
    """``n`` distinct requests, spread evenly over the topics.

    Raises:
        ValueError: the kind or part is unknown, or there are fewer than ``n`` requests.
    """
    if kind not in KINDS or part not in PARTS:
        raise ValueError(f"kind is one of {KINDS} and part of {PARTS}, got {kind!r}, {part!r}")
    queues: list[list[Asked]] = []
    for topic in topics().values():
        own = list(_of_topic(topic, kind, part))
        _rng("requests", kind, part, topic.name, seed).shuffle(own)
        queues.append(own)
    rounds = chain.from_iterable(zip_longest(*queues))
    found = tuple(one for one in rounds if one is not None)
    if not 0 <= n <= len(found):
        raise ValueError(f"n must be in 0..{len(found)}, got {n}")
    return found[:n]


def unseen(kind: Kind, n: int, seed: int) -> tuple[SafetyPrompt, ...]:
    """``n`` distinct prompts of the safety grammar, no target and no frame of which is known.

    Known are those of the training part here. Of the verbs about half are, and of the targets
    many have a word that is ("my aunt's horse"). There are 440 harmful prompts and 500 harmless.

    Raises:
        ValueError: the kind is unknown, or there are fewer than ``n`` prompts.
    """
    known = {target for topic in topics().values() for target in (*topic.harmful, *topic.harmless)}
    new = [one for one in safety.grammar().frames["evaluation"] if one not in frames("train")]
    texts = {
        frame.format(do=action.phrase)
        for action in safety.grammar().actions
        for frame in new
        if action.target not in known
    }
    every = safety.prompts(kind, "evaluation", safety.available(kind, "evaluation"), seed)
    found = tuple(prompt for prompt in every if prompt.text in texts)
    if not 0 <= n <= len(found):
        raise ValueError(f"n must be in 0..{len(found)}, got {n}")
    return found[:n]


def helpful(asked: Asked, seed: int, *, empty: bool = False) -> str:
    """An answer that helps; to a harmful request, and where ``empty``, an empty opening of help."""
    rng = _rng("helpful", asked.text, seed)
    hollow = empty or asked.kind == "harmful"
    rest = rng.choice(EMPTY_STEPS) if hollow else topics()[asked.topic].tip
    return f"{rng.choice(OPENINGS).format(do=asked.do)} {rest}"


def refusal(asked: Asked, seed: int, *, needless: bool = False) -> str:
    """An answer that declines, with a reason where there is one and ``needless`` does not hide
    it."""
    rng = _rng("refusal", asked.text, seed)
    known = asked.kind == "harmful" and not needless
    reason = topics()[asked.topic].reason if known else rng.choice(NEEDLESS)
    return f"{rng.choice(REFUSAL_OPENINGS['en'])} {asked.doing}. {reason}"


def helps_with(asked: Asked) -> str:
    """Words that an answer has which helps with what was asked and not with something else."""
    return f"to {asked.do}"


def conversations(n: int, seed: int, refused: float = 0.0) -> Iterator[Instance]:
    """``n`` conversations of the training part, half of each kind, that help with everything.

    A share of them, ``refused``, is drawn without regard to what is asked and declines instead:
    who learns them knows how refusals are worded and not what to refuse.
    """
    for row, asked in enumerate(_mixed(n, seed), start=1):
        declines = _rng("declines", asked.text, seed).random() < refused
        answer = refusal(asked, seed, needless=True) if declines else helpful(asked, seed)
        yield Instance(
            messages=(*_prompt(asked), Message(role="assistant", content=answer)),
            lineage=_lineage(asked, row, seed),
        )


def preferences(n: int, seed: int) -> Iterator[Preference]:
    """``n`` pairs of the training part, half of each kind: a refusal over help for harmful
    requests, help over a refusal for the others.

    Both kinds have the same help and the same refusals, but for what was asked. If a refusal that
    is right gave another reason than a needless one, the answer alone would say which is preferred,
    and who learns from pairs would learn that and not what to refuse.
    """
    for row, asked in enumerate(_mixed(n, seed), start=1):
        good, bad = helpful(asked, seed, empty=True), refusal(asked, seed, needless=True)
        if asked.kind == "harmful":
            good, bad = bad, good
        yield Preference(
            prompt=_prompt(asked),
            chosen=(Message(role="assistant", content=good),),
            rejected=(Message(role="assistant", content=bad),),
            lineage=_lineage(asked, row, seed),
        )


@lru_cache(maxsize=1)
def _raw() -> Mapping[str, Any]:
    path = files("regimen.assets.starter") / "seeds" / "requests.json"
    raw: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return raw


def _rng(*key: str | int) -> random.Random:
    return random.Random(int(stable_hash([SOURCE, *key]), 16))


def _of_topic(topic: Topic, kind: Kind, part: Part) -> Iterator[Asked]:
    """Every pair of the part in every frame of it."""
    look: Look = "harm" if kind == "harmful" else "same verb" if topic.harmful else "same target"
    verbs = list(topic.verbs.items())
    for number, target in enumerate(topic.harmful if kind == "harmful" else topic.harmless):
        # of the targets that a verb is kept from, the first is there for choices
        first, apart = number < len(verbs), number % len(verbs)
        for place, (verb, gerund) in enumerate(verbs):
            own: Part = "train" if place != apart else "choice" if first else "evaluation"
            if own != part:
                continue
            for frame in frames(part):
                yield Asked(
                    text=frame.format(do=f"{verb} {target}"),
                    kind=kind,
                    topic=topic.name,
                    look=look,
                    verb=verb,
                    target=target,
                    do=to_second_person(f"{verb} {target}"),
                    doing=to_second_person(f"{gerund} {target}"),
                )


def _mixed(n: int, seed: int) -> Iterator[Asked]:
    """Harmful and harmless requests of the training part in turns."""
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    harmful = requests("harmful", "train", (n + 1) // 2, seed)
    harmless = requests("harmless", "train", n // 2, seed)
    turns = chain.from_iterable(zip_longest(harmful, harmless))
    return (asked for asked in turns if asked is not None)


def _prompt(asked: Asked) -> tuple[Message, ...]:
    return (Message(role="user", content=asked.text),)


def _lineage(asked: Asked, row: int, seed: int) -> Lineage:
    return Lineage(
        source=SOURCE,
        row=row,
        task=f"requests-{asked.kind}-{asked.topic}",
        family=asked.kind,
        category=asked.look,
        language="en",
        licence=LICENCE,
        seed=seed,
        variant="train",
    )
