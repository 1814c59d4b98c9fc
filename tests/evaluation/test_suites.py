"""Items, prompts and copy baselines. Run: pytest tests/evaluation/test_suites.py"""

from dataclasses import replace

import pytest

from regimen.errors import EvaluationError
from regimen.evaluation.metrics import UNSCORED, Metrics
from regimen.evaluation.suites import (
    ask_chat,
    ask_prompted,
    by_suite,
    choose_k,
    cluster_of,
    copy_demonstration,
    copy_input,
    input_of,
)
from regimen.protocols import Completion
from regimen.records import Example, Item, Lineage, Message


def make_item(n=0, *, suite="s", **changes):
    item = Item(
        suite=suite,
        messages=(Message(role="user", content=f"Say it twice.\n\nword {n}"),),
        references=(f"word {n} word {n}",),
        input=f"word {n}",
        definition="Say it twice.",
        demonstrations=(
            Example(input="a", output="a a"),
            Example(input="b", output="b b"),
            Example(input="c", output="c c"),
        ),
        lineage=Lineage(task="twice", row=n),
    )
    return replace(item, **changes)


def exact(answer, item):
    return float(answer in item.references)


EXACT = Metrics(primary="exact", scorers={"exact": exact})


class Script:
    """Answers every request with a function of it; remembers the requests."""

    name = "script"

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def generate(self, requests):
        self.asked += requests
        for request in reversed(requests):
            yield request.id, self.answer(request)


def test_prompt_of_the_prompted_base():
    request = ask_prompted(make_item(7), 2, max_new_tokens=9)
    assert request.text == (
        "Say it twice.\n\nInput: a\nOutput: a a\n\nInput: b\nOutput: b b\n\nInput: word 7\nOutput:"
    )
    assert request.messages == ()
    assert (request.stop, request.max_new_tokens) == (("\n",), 9)
    assert request.id == make_item(7).item_id


def test_prompt_without_demonstrations_or_definition():
    assert ask_prompted(make_item(1), 0).text == "Say it twice.\n\nInput: word 1\nOutput:"
    assert ask_prompted(make_item(1, definition=" "), 0).text == "Input: word 1\nOutput:"
    assert ask_prompted(make_item(1), 99).text.count("Output:") == 4
    with pytest.raises(ValueError, match="0 or more"):
        ask_prompted(make_item(1), -1)


def test_answers_of_several_lines_end_at_a_blank_line():
    shots = (Example(input="a", output="a\na"), Example(input="b", output="b b"))
    assert ask_prompted(make_item(demonstrations=shots), 1).stop == ("\n\n", "\nInput:")
    # Only demonstrations that are shown decide: what the model has not seen it cannot follow.
    assert ask_prompted(make_item(demonstrations=shots[::-1]), 1).stop == ("\n",)


def test_chat_request_carries_the_messages():
    request = ask_chat(make_item(3), max_new_tokens=5)
    assert request.messages == make_item(3).messages
    assert (request.text, request.stop, request.temperature) == ("", (), 0.0)


def test_copy_baselines():
    assert copy_input(make_item(4)) == "word 4"
    assert copy_demonstration(make_item(4)) == "a a"
    assert copy_demonstration(make_item(4, demonstrations=())) is None
    assert input_of(make_item(4, input="")) == "Say it twice.\n\nword 4"
    assert input_of(make_item(4, input="", messages=())) == ""


def test_cluster_is_the_task_unless_told():
    assert cluster_of(make_item(cluster="topic")) == "topic"
    assert cluster_of(make_item()) == "twice"
    alone = make_item(lineage=Lineage())
    assert cluster_of(alone) == alone.item_id


def test_suites_keep_each_item_once_and_count_the_rest():
    items = [make_item(1), make_item(2, suite="t"), make_item(1), make_item(3), make_item(1)]
    suites = by_suite(items)
    assert list(suites) == ["s", "t"]
    assert [item.input for item in suites["s"].items] == ["word 1", "word 3"]
    assert (suites["s"].duplicates, suites["t"].duplicates) == (2, 0)
    total = sum(len(suite.items) + suite.duplicates for suite in suites.values())
    assert total == len(items)


def test_nothing_to_evaluate():
    with pytest.raises(EvaluationError) as empty:
        by_suite([])
    assert empty.value.slug == "no-items"


def test_k_is_the_best_on_validation_items():
    def answer(request):
        shots = request.text.count("Output:") - 1
        word = request.text.split("Input: ")[-1].removesuffix("\nOutput:")
        return Completion(text=f" {word} {word}\nInput: more" if shots == 2 else " no")

    chosen = choose_k(Script(answer), [make_item(n) for n in range(5)], [3, 0, 2], EXACT)
    assert (chosen.k, chosen.items) == (2, 5)
    assert chosen.scores == {0: 0.0, 2: 1.0, 3: 0.0}


def test_the_smaller_k_wins_a_tie_and_failures_score_0():
    def answer(request):
        if request.text.count("Output:") > 3:
            return Completion(text="", finish="error", error="beyond the context")
        return Completion(text="word 0 word 0")

    chosen = choose_k(Script(answer), [make_item(0), make_item(1)], [3, 2, 1], EXACT)
    assert chosen.scores == {1: 0.5, 2: 0.5, 3: 0.0}
    assert chosen.k == 1


def test_k_is_not_chosen_on_evaluated_items_or_without_answers():
    script = Script(lambda request: Completion(text="", finish="error", error="no model"))
    with pytest.raises(EvaluationError) as overlap:
        choose_k(script, [make_item(1)], [0], EXACT, held_out=[make_item(1, suite="test")])
    assert overlap.value.slug == "validation-overlap"
    assert script.asked == []
    with pytest.raises(EvaluationError) as silent:
        choose_k(script, [make_item(1)], [0, 1], EXACT, held_out=[make_item(2)])
    assert silent.value.slug == "nothing-answered"
    assert silent.value.got == "no model"
    with pytest.raises(ValueError, match="one number"):
        choose_k(script, [make_item(1)], [], EXACT)
    with pytest.raises(ValueError, match="chosen by a score"):
        choose_k(script, [make_item(1)], [0, 1], UNSCORED)
