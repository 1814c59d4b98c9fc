"""Rows with several judged answers to sets of answers; each raises ``Unusable`` for what it cannot.

    ranked     ``answers`` (or ``completions``): texts, lists of turns, or objects with a text and
               perhaps ``rank`` (1 is best), ``score``, ``breaks`` (rules), ``author``; or columns
               ``ranks`` or ``scores`` beside them; without any of these the first is the best
    compared   answers ``a`` and ``b``, and who prefers which: ``labels``, ``label``, or one column
               for each annotator (``PairRule.annotators``)
    labelled   one answer, ``completion``, and ``label`` (good or not), ``score`` or ``breaks``;
               rows of one prompt belong together

The prompt is a column as in preference files, or the beginning of a conversation in ``messages``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from regimen.instances.answer_sets import Answer, AnswerSet, Kind, PairRule
from regimen.instances.row_records import (
    Values,
    answer_turns,
    cleaned,
    explicit_prompt,
    number_of,
)
from regimen.instances.turns import Unusable, kind_of, messages_of, with_system
from regimen.records import Lineage, Message

TEXTS = ("text", "content", "answer", "response", "completion", "value")
OVERALL = ("score", "overall_score", "rating")
RULES = ("breaks", "rules_broken", "violations")
AUTHORS = ("author", "model", "generator", "annotator")

_BESIDE: tuple[tuple[Kind, float], ...] = (("ranks", -1.0), ("scores", 1.0))
"""Columns beside the answers, and what makes of their numbers that the higher is the better."""

VOTES: Mapping[str, int] = {
    **dict.fromkeys(("a", "1", "model_a", "a is better"), 1),
    **dict.fromkeys(("b", "2", "model_b", "b is better"), -1),
    **dict.fromkeys(("tie", "0", "c", "both", "neither", "tie (bothbad)"), 0),
}
"""What annotators write of two answers, and their preference for the first."""

_LABELS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "good", "yes", "chosen", "up"), True),
    **dict.fromkeys(("false", "0", "bad", "no", "rejected", "down"), False),
}


def ranked_row(values: Values, lineage: Lineage, weight: float, rule: PairRule) -> AnswerSet:
    """Several answers in one row, with ranks, scores, ratings by aspect, or broken rules."""
    column = "answers" if values.get("answers") is not None else "completions"
    given = values.get(column)
    if not isinstance(given, list | tuple) or not given:
        fix = "Write a list of answers."
        raise Unusable("not_answers", f"{column} is {kind_of(given)}", fix)
    kind, scores = _scores(values, given, column, rule)
    answers = [
        _Read(
            turns=_answer(one, f"{column}[{place}]"),
            score=score,
            author=_author(one),
            breaks=_breaks(one) or (),
        )
        for place, (one, score) in enumerate(zip(given, scores, strict=True))
    ]
    return _set(values, answers, kind, lineage, weight)


def compared_row(values: Values, lineage: Lineage, weight: float, rule: PairRule) -> AnswerSet:
    """Two answers and the votes of one or more people.

    What most of them say decides; where two verdicts have as many, or most see a tie, it is a tie.
    The margin is the share of the votes for one less that for the other.
    """
    votes = _votes(values, rule)
    said = [vote for vote in votes if vote is not None]
    if not said:
        fix = "Write a, b or tie, or name the annotators' columns with pairs.annotators."
        raise Unusable("no_votes", "nobody voted", fix)
    counts = [said.count(side) for side in (1, 0, -1)]
    decided = counts.count(max(counts)) == 1 and max(counts) != counts[1]
    score = sum(said) / len(said) if decided else 0.0
    answers = [
        _Read(_answer(values.get(name), name), own, _text_of(values, f"author_{name}"))
        for name, own in (("a", score), ("b", 0.0))
    ]
    found = _set(values, answers, "votes", lineage, weight)
    verdicts = (*found.lineage.verdicts, "votes:" + "-".join(map(str, counts)))
    return replace(found, votes=votes, lineage=replace(found.lineage, verdicts=verdicts))


def labelled_row(values: Values, lineage: Lineage, weight: float, rule: PairRule) -> AnswerSet:
    """One answer that is good or not, rated, or breaks a rule or none."""
    breaks = _breaks(values)
    rated = _rating(values, rule)
    label = _label(values)
    kind: Kind
    if breaks is not None:
        kind, score = "rules", -float(bool(breaks))
    elif rated is not None:
        kind, score = "scores", rated
    elif label is not None:
        kind, score = "labels", float(label)
    else:
        fix = "Write label as true or false, a score, or breaks as a list of rules."
        raise Unusable("no_label", f"label is {kind_of(values.get('label'))}", fix)
    author = _author(values)
    if values.get("completion") is None and values.get("messages") is not None:
        turns = messages_of(values["messages"], "messages")
        cut = _last_question(turns) + 1
        answer = turns[cut:] or [Message(role="assistant", content="")]
        read = _Read(answer, score, author, breaks or ())
        return replace(_set(values, [read], kind, lineage, weight, turns[:cut]), loose=True)
    read = _Read(_answer(values.get("completion"), "completion"), score, author, breaks or ())
    return replace(_set(values, [read], kind, lineage, weight), loose=True)


ANSWER_CONVERSIONS: Mapping[str, Callable[[Values, Lineage, float, PairRule], AnswerSet]] = {
    "ranked": ranked_row,
    "compared": compared_row,
    "labelled": labelled_row,
}


class _Read:
    """An answer as a row has it, before it is put behind its prompt."""

    __slots__ = ("author", "breaks", "score", "turns")

    def __init__(
        self,
        turns: Sequence[Message],
        score: float | None,
        author: str = "",
        breaks: tuple[str, ...] = (),
    ) -> None:
        self.turns, self.score, self.author, self.breaks = turns, score, author, breaks


def _set(
    values: Values,
    answers: Sequence[_Read],
    kind: Kind,
    lineage: Lineage,
    weight: float,
    prompt: Sequence[Message] | None = None,
) -> AnswerSet:
    """The set of a row: every answer cleaned behind the prompt that they share."""
    asked = explicit_prompt(values) if prompt is None else list(prompt)
    if not asked:
        fix = "Name the column with the question: columns: {prompt: ...}."
        raise Unusable("no_prompt", "the row has answers and no question", fix)
    asked = with_system(asked, values.get("system"), values.get("tools"))
    shared, changes = _shared_prompt(asked)
    found = []
    for one in answers:
        turns = tuple(one.turns)
        if any(turn.role == "user" for turn in turns):
            fix = "Answers hold turns of the assistant and of tools alone."
            raise Unusable("prompts_differ", "an answer holds a turn of the user", fix)
        found.append(Answer(turns=turns, score=one.score, author=one.author, breaks=one.breaks))
    origin = replace(lineage, verdicts=(*lineage.verdicts, *changes))
    return AnswerSet(prompt=shared, answers=tuple(found), kind=kind, lineage=origin, weight=weight)


def _shared_prompt(asked: Sequence[Message]) -> tuple[tuple[Message, ...], list[str]]:
    """A prompt as conversations are cleaned; with an answer, as without one nothing is learned."""
    if asked[-1].role not in ("user", "tool"):
        fix = "End the prompt with what the user asks."
        raise Unusable("no_question", f"the prompt ends with the {asked[-1].role}", fix)
    turns, changes = cleaned([*asked, Message(role="assistant", content=".")])
    return tuple(turns[:-1]), changes


def _answer(value: Any, place: str) -> list[Message]:
    """The turns of an answer; one empty turn where it says nothing."""
    if isinstance(value, Mapping) and not ("role" in value or "from" in value):
        value = next((value[name] for name in TEXTS if value.get(name) is not None), None)
    try:
        return answer_turns(value, place)
    except Unusable as problem:
        if problem.error == "no_answer" and (value is None or isinstance(value, str)):
            return [Message(role="assistant", content="")]
        raise


def _scores(
    values: Values, given: Sequence[Any], column: str, rule: PairRule
) -> tuple[Kind, list[float | None]]:
    """What the answers' scores are, and the scores; the higher, the better."""
    broken = [_breaks(one) for one in given]
    if any(one is not None for one in broken):
        return "rules", [None if one is None else -float(bool(one)) for one in broken]
    for kind, sign in _BESIDE:
        beside = values.get(kind)
        if beside is None:
            continue
        if not isinstance(beside, list | tuple) or len(beside) != len(given):
            fix = f"Write one entry of {kind} for each answer."
            raise Unusable("bad_scores", f"{kind} is {kind_of(beside)}", fix)
        return kind, _signed([number_of(one) for one in beside], sign)
    ranks = [number_of(one.get("rank")) if isinstance(one, Mapping) else None for one in given]
    if any(rank is not None for rank in ranks):
        return "ranks", _signed(ranks, -1.0)
    ratings = [_rating(one, rule) if isinstance(one, Mapping) else None for one in given]
    if any(rating is not None for rating in ratings):
        return "scores", ratings
    if rule.aspects or any(isinstance(one, Mapping) and not _is_turn(one) for one in given):
        wanted = ", ".join(rule.aspects) or "rank, score or breaks"
        fix = f"Give the answers {wanted}, or write plain texts, the best first."
        raise Unusable("bad_scores", f"no answer of {column} has {wanted}", fix)
    return "ranks", [-float(place) for place in range(len(given))]


def _is_turn(value: Mapping[str, Any]) -> bool:
    return "role" in value or "from" in value


def _signed(numbers: Sequence[float | None], sign: float) -> list[float | None]:
    return [None if number is None else sign * number for number in numbers]


def _rating(values: Values, rule: PairRule) -> float | None:
    """The overall score, or the mean of the wanted aspects; None where one of them is missing."""
    if not rule.aspects:
        return next(
            (number for name in OVERALL if (number := number_of(values.get(name))) is not None),
            None,
        )
    found = [_aspect(values, name) for name in rule.aspects]
    numbers = [number for number in found if number is not None]
    return sum(numbers) / len(numbers) if len(numbers) == len(found) else None


def _aspect(values: Values, name: str) -> float | None:
    """A score by its name: beside the answer, or below ``annotations`` as ``{Rating: 4}``."""
    below = values.get("annotations")
    for place in (values, below if isinstance(below, Mapping) else {}):
        value = place.get(name)
        if isinstance(value, Mapping):
            value = next(
                (value[key] for key in ("Rating", "rating", "score") if key in value), None
            )
        number = number_of(value)
        if number is not None:
            return number
    return None


def _breaks(value: Any) -> tuple[str, ...] | None:
    """The rules that an answer breaks; None where nobody looked."""
    if not isinstance(value, Mapping):
        return None
    given = next((value[name] for name in RULES if value.get(name) is not None), None)
    if given is None:
        return None
    if isinstance(given, str):
        return (given,) if given.strip() else ()
    if isinstance(given, Mapping):
        given = [rule for rule, broken in given.items() if broken]
    if not isinstance(given, list | tuple):
        fix = "Write the rules that the answer breaks as a list; an empty one where it breaks none."
        raise Unusable("bad_rules", f"breaks is {kind_of(given)}", fix)
    return tuple(map(str, given))


def _author(value: Any) -> str:
    if not isinstance(value, Mapping):
        return ""
    return next((text for name in AUTHORS if (text := _text_of(value, name))), "")


def _text_of(values: Values, name: str) -> str:
    value = values.get(name)
    return value.strip() if isinstance(value, str) else ""


def _votes(values: Values, rule: PairRule) -> tuple[int | None, ...]:
    if rule.annotators:
        return tuple(_vote(values.get(name), name) for name in rule.annotators)
    listed = values.get("labels")
    if isinstance(listed, list | tuple):
        return tuple(_vote(one, "labels") for one in listed)
    return (_vote(listed if listed is not None else values.get("label"), "label"),)


def _vote(value: Any, column: str) -> int | None:
    """Preference for the first answer; None where the annotator said nothing."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = number_of(value)
    name = f"{number:g}" if number is not None else str(value).strip().casefold()
    if name not in VOTES:
        fix = f"Write one of {', '.join(list(VOTES)[:2])}, b, 2, tie, 0, or nothing."
        raise Unusable("bad_vote", f"{column} is {kind_of(value)}", fix)
    return VOTES[name]


def _label(values: Values) -> bool | None:
    """Whether an answer is good; None where the row does not say."""
    value = next((values[n] for n in ("label", "kto_tag") if values.get(n) is not None), None)
    if isinstance(value, bool) or value is None:
        return value
    number = number_of(value)
    name = f"{number:g}" if number is not None else str(value).strip().casefold()
    return _LABELS.get(name)


def _last_question(turns: Sequence[Message]) -> int:
    """Place of the user's last turn; -1 without one."""
    asked = [place for place, turn in enumerate(turns) if turn.role == "user"]
    return asked[-1] if asked else -1
