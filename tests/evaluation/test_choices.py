"""Choice by likelihood. Run: pytest tests/evaluation/test_choices.py"""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError
from regimen.evaluation.choice_blocks import ROW_COLUMNS, ChoiceSystem, evaluate_choices
from regimen.evaluation.choices import (
    RANKINGS,
    ask_choices,
    ask_choices_prompted,
    choice_logps,
    choices_of,
    credit,
    premise_logps,
)
from regimen.instances.draws import Draws
from regimen.instances.options import STYLES, show_options
from regimen.protocols import Alternatives, AnswerLogps, Likelihoods
from regimen.records import Example, Item, Lineage, Message

ANIMALS = ("cat", "dog", "heron")


def item(text="Which animal barks?", choices=ANIMALS, references=("dog",), **more):
    return Item(
        suite=more.pop("suite", "animals"),
        messages=(Message(role="user", content=text),),
        references=references,
        choices=choices,
        **more,
    )


class Script:
    """Log-probabilities by a function of the prompt's text and an answer; None fails."""

    name = "script"

    def __init__(self, logp):
        self.logp, self.asked = logp, []

    def answer_logps(self, asked):
        for one in reversed(asked):
            self.asked.append(one)
            prompt = one.text or one.messages[0].text
            found = [self.logp(prompt, answer) for answer in one.answers]
            if None in found:
                yield one.id, AnswerLogps(error="no room")
            else:
                tokens = tuple(len(answer.split()) for answer in one.answers)
                yield one.id, AnswerLogps(logps=tuple(found), tokens=tokens)


def logps_of(one, logp):
    choices = choices_of(one)
    asked = ask_choices(one, choices)
    script = Script(logp)
    assert isinstance(script, Likelihoods)
    found = dict(script.answer_logps([asked]))[one.item_id]
    return choices, choice_logps(choices, asked, found, premise_logps(script, [asked]))


def test_the_four_rankings_by_hand():
    table = {"cat": -3.0, "dog": -4.0, "a big heron": -6.0}
    before = {"cat": -1.0, "dog": -4.5, "a big heron": -5.0}

    def logp(prompt, answer):
        return (before if prompt == "Answer:" else table)[answer]

    choices, found = logps_of(item(choices=tuple(table)), logp)
    score = {name: list(ranking(found)) for name, ranking in RANKINGS.items()}
    assert score["choice_logp"] == [-3, -4, -6]
    assert score["choice_per_byte"] == pytest.approx([-1, -4 / 3, -6 / 11])
    assert score["choice_per_token"] == [-3, -4, -2]
    assert score["choice_pmi"] == [-2, 0.5, -1]
    picks = {name: credit(np.asarray(s), choices.right) for name, s in score.items()}
    assert picks == {
        "choice_logp": 0,
        "choice_per_byte": 0,
        "choice_per_token": 0,
        "choice_pmi": 1,
    }


def test_bytes_not_characters_count():
    _, found = logps_of(item(choices=("猫", "dog")), lambda prompt, answer: -6.0)
    assert list(found.bytes_C) == [3, 3]


@pytest.mark.parametrize(
    ("score", "right", "expected"),
    [
        ([-1, -2], (True, False), 1),
        ([-1, -2], (False, True), 0),
        ([-1, -1], (False, True), 1 / 2),
        ([-1, -1, -1], (True, False, False), 1 / 3),
        ([-1, -1, -5], (True, False, True), 1 / 2),
        ([-1, -1 - 1e-9], (False, True), 1 / 2),
        ([-1, -1.001], (False, True), 0),
    ],
)
def test_a_tie_counts_what_a_pick_at_random_would(score, right, expected):
    assert credit(np.asarray(score, dtype=float), right) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(-4, 0), st.booleans()), min_size=2, max_size=6), st.randoms())
def test_the_order_of_the_choices_says_nothing(choices, random):
    mixed = list(choices)
    random.shuffle(mixed)
    both = [
        credit(np.asarray([float(s) for s, _ in each]), [right for _, right in each])
        for each in (choices, mixed)
    ]
    assert both[0] == pytest.approx(both[1])
    assert 0 <= both[0] <= 1


@pytest.mark.parametrize(
    ("changes", "slug"),
    [
        ({"choices": ()}, "too-few-choices"),
        ({"choices": ("dog",)}, "too-few-choices"),
        ({"choices": ("dog", "cat", "dog")}, "equal-choices"),
        ({"choices": ("dog", " dog ")}, "equal-choices"),
        ({"references": ("wolf",)}, "no-right-choice"),
        ({"references": ANIMALS}, "no-wrong-choice"),
    ],
)
def test_choices_that_say_nothing_are_refused(changes, slug):
    with pytest.raises(EvaluationError) as error:
        choices_of(item(**changes))
    assert error.value.slug == slug


@given(
    st.sampled_from(list(STYLES)),
    st.sampled_from(["label", "text", "both"]),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_choices_are_asked_for_as_training_answers_them(style, answer_as, right, seed):
    texts = ("red deer", "roe deer", "elk", "moose")
    draws = Draws(seed, "task", 0, "item")
    shown = show_options(texts, right, draws, style=style, answer_as=answer_as)
    one = item(choices=shown.options, references=shown.accepted)
    found = choices_of(one)
    assert found.answers[shown.position] == shown.answer
    assert [place for place, each in enumerate(found.right) if each] == [shown.position]
    expected = [
        show_options(texts, place, draws, style=style, answer_as=answer_as).answer
        for place in shown.permutation
    ]
    assert list(found.answers) == expected


def test_the_prompted_base_is_asked_in_plain_text():
    one = item(
        definition="Name the animal.",
        input="Which animal barks?",
        demonstrations=(Example(input="Which meows?", output="cat"),),
    )
    asked = ask_choices_prompted(one, choices_of(one), 1)
    assert asked.text.endswith("Input: Which animal barks?\nOutput:")
    assert "Output: cat" in asked.text
    assert asked.answers == (" cat", " dog", " heron")
    assert not asked.messages


def test_the_premise_is_asked_once_for_each_answer_and_one_failure_stays_alone():
    script = Script(lambda prompt, answer: None if answer == "a7" else -1.0)
    asked = [
        Alternatives(
            id=str(n),
            messages=(Message(role="user", content="?"),),
            answers=(f"a{n}", f"a{n + 1}"),
        )
        for n in range(100)
    ]
    found = premise_logps(script, asked, "So:")
    assert set(found) == {f"a{n}" for n in range(101)} - {"a7"}
    assert {one.messages[0].text for one in script.asked} == {"So:"}
    assert len([one for one in script.asked if len(one.answers) > 1]) == 2


def many(tasks=12, per_task=4, suite="animals"):
    return [
        item(
            f"task {task} row {n}: which?",
            references=(ANIMALS[n % 3],),
            suite=suite,
            lineage=Lineage(task=f"task-{task}"),
        )
        for task in range(tasks)
        for n in range(per_task)
    ]


def knows(prompt, answer):
    if prompt == "Answer:":
        return -2.0
    task, row = int(prompt.split()[1]), int(prompt.split()[3][:-1])
    right = answer == ANIMALS[row % 3]
    return -0.5 if right != (task == 0 and row == 3) else -2.0


def systems(**more):
    made = {"base": lambda prompt, answer: -1.0, "tuned": knows} | more
    return {name: ChoiceSystem(Script(logp), ask_choices) for name, logp in made.items()}


def test_the_shape_that_programs_read():
    bad = [item("bad", choices=("x", "x")), item("no right", references=("wolf",))]
    counted = []
    result = evaluate_choices(
        [*many(), *bad, item("free", choices=())],
        systems(),
        validation=many(tasks=3, suite="validation"),
        advance=counted.append,
        seeds=2,
    )
    assert len(counted) == 2 * (48 + 12)
    found = json.loads(json.dumps(result.suites, allow_nan=False))["animals"]
    assert (found["items"], found["clusters"]) == (48, 12)
    assert found["refused"] == {"equal-choices": 1, "no-right-choice": 1}
    assert found["chance"] == pytest.approx(1 / 3)
    base, tuned = found["systems"]["base"], found["systems"]["tuned"]
    assert base["choice_logp"]["score"] == pytest.approx(1 / 3)  # everything ties
    # In one item both wrong choices beat the right one.
    for metric in RANKINGS:
        assert tuned[metric]["score"] == pytest.approx(47 / 48)
        assert tuned[metric]["low"] < tuned[metric]["score"] <= tuned[metric]["high"]
    assert tuned["failed"] == 0
    paired = found["paired"]["tuned-base"]["choice_logp"]
    assert (paired["verdict"], paired["seeds"]) == ("better", 2)
    calibration = json.loads(json.dumps(result.calibration, allow_nan=False))["animals"]["tuned"]
    assert calibration["items"] == 48
    assert sum(one["items"] for one in calibration["reliability"]) == 48
    assert calibration["temperature"]["items"] == 12
    assert calibration["scaled"]["nll"]["estimate"] != calibration["nll"]["estimate"]
    assert len(result.rows) == 2 * 48 * 3
    assert tuple(result.rows[0]) == ROW_COLUMNS


def test_a_system_that_cannot_be_asked_gets_nothing_for_it():
    def fails(prompt, answer):
        return None if "row 1" in prompt else knows(prompt, answer)

    result = evaluate_choices(many(), systems(tuned=fails))
    tuned = result.suites["animals"]["systems"]["tuned"]
    assert tuned["failed"] == 12
    assert tuned["choice_logp"]["score"] == pytest.approx(35 / 48)
    assert result.calibration["animals"]["tuned"]["items"] == 36
    assert {row["error"] for row in result.rows if row["logp"] is None} == {"no room"}


def test_an_infinite_log_probability_is_no_score():
    _, found = logps_of(item(), lambda prompt, answer: -float("inf"))
    assert found == "a log-probability is not finite"


def test_a_suite_with_nothing_to_rank_is_an_error():
    with pytest.raises(EvaluationError) as error:
        evaluate_choices([item(choices=("x", "x"))], systems())
    assert error.value.slug == "equal-choices"


def test_one_item_and_one_cluster():
    result = evaluate_choices(many(tasks=2, per_task=1)[1:], systems())
    found = result.suites["animals"]
    assert found["systems"]["tuned"]["choice_logp"] == {"score": 1.0, "low": None, "high": None}
    assert found["paired"]["tuned-base"]["choice_logp"]["verdict"] == "no evidence"
