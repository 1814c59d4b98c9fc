"""Answers and answers that failed. Run: pytest tests/evaluation/test_systems.py"""

import math
from dataclasses import replace

import pytest

from regimen.errors import EvaluationError, GenerationError
from regimen.evaluation.suites import ask_chat, ask_prompted
from regimen.evaluation.systems import (
    Answer,
    ComputedSystem,
    GeneratedSystem,
    System,
    answer_all,
    answer_items,
    answers_by_id,
    scored,
)
from regimen.protocols import Completion
from regimen.records import Item, Message


def make_items(count):
    return [
        Item(
            suite="s",
            messages=(Message(role="user", content=f"ask {n}"),),
            references=(str(n),),
            input=str(n),
        )
        for n in range(count)
    ]


class Script:
    name = "script"

    def __init__(self, generate):
        self.generate = generate


def generated(generate):
    return GeneratedSystem(Script(generate), ask_chat)


def test_answers_come_back_in_the_order_of_the_items():
    def backwards(requests):
        for request in requests[::-1]:
            yield request.id, Completion(text=request.messages[0].text.upper(), tokens=2)

    ticks = []
    answers = answer_items(generated(backwards), make_items(3), ticks.append)
    assert [answer.text for answer in answers] == ["ASK 0", "ASK 1", "ASK 2"]
    assert [answer.prompt for answer in answers] == ["ask 0", "ask 1", "ask 2"]
    assert ticks == [1, 1, 1]


def test_failed_and_missing_answers_are_kept_with_their_reason():
    def partly(requests):
        yield requests[0].id, Completion(text="0", finish="length")
        yield requests[1].id, Completion(text="half", finish="error", error="rate limit")
        yield requests[2].id, Completion(text="", finish="error")

    answers = answer_items(generated(partly), make_items(4))
    assert [answer.error for answer in answers] == [
        "",
        "rate limit",
        "the generator gave no reason",
        "no answer came back",
    ]
    assert [answer.finish for answer in answers] == ["length", "error", "error", "error"]
    assert [answer.text for answer in answers] == ["0", "", "", ""]


def test_a_generator_that_breaks_keeps_what_came_before():
    def breaks(requests):
        yield requests[0].id, Completion(text="fine")
        raise GenerationError("The endpoint went away.", slug="endpoint-gone")

    answers = answer_items(generated(breaks), make_items(3))
    assert answers[0].text == "fine"
    assert all("endpoint-gone" in answer.error for answer in answers[1:])


@pytest.mark.parametrize("repeat", [True, False])
def test_answers_that_nobody_asked_for_are_a_fault(repeat):
    def wrong(requests):
        yield requests[0].id, Completion(text="x")
        yield requests[0].id if repeat else "other", Completion(text="x")

    with pytest.raises(ValueError, match="not waiting"):
        answer_items(generated(wrong), make_items(2))


def test_plain_answers_are_cut_at_the_stop_string():
    def prompted(item):
        return ask_prompted(item, 0)

    def runs_on(requests):
        for request in requests:
            yield request.id, Completion(text=" 42 \nInput: 7\nOutput: 8")

    system = GeneratedSystem(Script(runs_on), prompted)
    assert answer_items(system, make_items(1))[0].text == "42"
    # A chat answer is left as it is: its line breaks may be the format that was asked for.
    assert answer_items(generated(runs_on), make_items(1))[0].text.startswith(" 42 \n")


def test_the_prompt_of_a_conversation_names_the_roles():
    messages = (Message(role="system", content="be brief"), Message(role="user", content="hi"))
    item = Item(suite="s", messages=messages, references=("x",))

    def echo(requests):
        yield requests[0].id, Completion(text="x")

    assert answer_items(generated(echo), [item])[0].prompt == "system: be brief\n\nuser: hi"


def test_computed_systems():
    system = ComputedSystem(lambda item: item.input if item.input != "1" else None)
    assert isinstance(system, System)
    assert not system.generates
    answers = answer_all({"copy": system}, make_items(2))["copy"]
    assert answers[0] == Answer(text="0")
    assert answers[1].error == "nothing to copy"


def test_a_system_that_never_answers_is_an_error_unless_computed():
    def silent(requests):
        return iter(())

    with pytest.raises(EvaluationError) as caught:
        answer_all({"tuned": generated(silent)}, make_items(2))
    assert caught.value.slug == "nothing-answered"
    assert "'tuned'" in caught.value.what
    nothing = answer_all({"copy": ComputedSystem(lambda item: None)}, make_items(2))
    assert all(answer.error for answer in nothing["copy"])


def raises(answer, item):
    raise KeyError("column")


@pytest.mark.parametrize(
    ("scorer", "words"),
    [
        (raises, "KeyError"),
        (lambda answer, item: math.nan, "not in 0..1"),
        (lambda answer, item: 1.5, "not in 0..1"),
        (lambda answer, item: "high", "ValueError"),
    ],
)
def test_a_scorer_that_gives_no_score_is_reported(scorer, words):
    value, error = scored(scorer, Answer(text="x"), make_items(1)[0])
    assert value == 0
    assert words in error


def test_a_failed_request_is_not_shown_to_the_scorer():
    assert scored(raises, Answer(error="gone"), make_items(1)[0]) == (0.0, "")


def test_answers_by_id():
    items = make_items(2)
    keyed = answers_by_id(items, {"a": (Answer(text="x"), Answer(text="y"))})
    assert keyed["a"][items[1].item_id].text == "y"


def conversation(count):
    items = make_items(count)
    return [replace(items[0], follow_ups=("then?", "and then?")), *items[1:]]


def test_later_turns_are_asked_after_the_answer_before_them():
    calls = []

    def counts(requests):
        calls.append(len(requests))
        for request in requests:
            said = [message.text for message in request.messages]
            yield request.id, Completion(text=f"<{len(said)}>", tokens=2, finish="stop")

    ticks = []
    first, second = answer_items(generated(counts), conversation(2), ticks.append)
    # One call for all first turns, one for each round of later ones.
    assert calls == [2, 1, 1]
    assert (second.text, second.turns) == ("<1>", ())
    assert [turn.user for turn in first.turns] == ["ask 0", "then?", "and then?"]
    assert [turn.answer for turn in first.turns] == ["<1>", "<3>", "<5>"]
    assert (first.text, first.tokens, first.finish, first.prompt) == ("<1>", 6, "stop", "ask 0")
    assert len(ticks) == 2


def test_the_history_of_a_plain_prompt_is_in_its_text():
    seen = []

    def remembers(requests):
        for request in requests:
            seen.append(request.text)
            yield request.id, Completion(text=" yes \nInput: no", finish="length")

    system = GeneratedSystem(Script(remembers), lambda item: ask_prompted(item, 0))
    (answer,) = answer_items(system, conversation(1))
    assert seen[2] == (
        "Input: 0\nOutput: yes\n\nInput: then?\nOutput: yes\n\nInput: and then?\nOutput:"
    )
    assert (answer.finish, len(answer.turns)) == ("length", 3)


def test_a_turn_that_fails_ends_the_conversation_and_keeps_what_was_said():
    def fails(requests):
        for request in requests:
            if len(request.messages) > 1:
                yield request.id, Completion(text="", finish="error", error="too long")
            else:
                yield request.id, Completion(text="fine")

    (answer,) = answer_items(generated(fails), conversation(1))
    assert (answer.text, answer.finish, answer.error) == ("fine", "error", "turn 2: too long")
    assert [turn.answer for turn in answer.turns] == ["fine", ""]
