"""Leaks of evaluation items into training: pytest tests/curation/test_leaks.py"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.curation import leaks
from regimen.curation.filters import apply
from regimen.curation.leaks import BATCH, LeakRule, find_leaks, leak_filter
from regimen.curation.ledger import Ledger
from regimen.records import Instance, Item, Lineage, Message

TEXT = (
    "the old lighthouse keeper counted every ship that passed before dawn and wrote its name in a "
    "blue book that nobody else was ever allowed to open"
)
PASSAGE = TEXT.split()
DEFINITION = "You get a passage. Say in one word who is the main person in it, in capital letters."


def train(question: str, answer: str, task: str = "seen", system: str = "") -> Instance:
    head = (Message(role="system", content=system),) if system else ()
    return Instance(
        messages=(
            *head,
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        ),
        lineage=Lineage(task=task),
    )


def item(given: str, *references: str, definition: str = DEFINITION, task: str = "held") -> Item:
    prompt = f"{definition}\n\n{given}" if definition else given
    return Item(
        suite="unseen",
        messages=(Message(role="user", content=prompt),),
        references=references,
        input=given if definition else "",
        definition=definition,
        lineage=Lineage(task=task),
    )


def changed(words: list[str], every: int) -> str:
    return " ".join("other" if n % every == every // 2 else w for n, w in enumerate(words))


def reason(instance: Instance, *items: Item, rule: LeakRule | None = None) -> str | None:
    (found,) = find_leaks([instance], items, rule=rule)
    return found and found.reason


def test_a_held_out_task_leaks_by_name() -> None:
    held = item(" ".join(PASSAGE), "KEEPER", task="held")
    assert reason(train("anything", "x", task="held"), held) == "leak_task"
    found = find_leaks([train("anything", "x", task="held")], [held], held_out_tasks=["another"])
    assert found == [None]


def test_items_without_a_task_hold_no_task_out() -> None:
    assert reason(train("anything", "x", task=""), item("a b c", "d", task="")) is None


def test_a_verbatim_leak_is_found_through_case_width_and_space() -> None:
    held = item("Compute 3 + 4", "７", definition="")
    assert reason(train("  compute\n3 + 4 ", "7"), held) == "leak_exact"
    assert reason(train("Compute 3 + 4", "seven"), held) == "leak_prompt"
    # The same words, another question: symbols count in an exact comparison.
    assert reason(train("Compute 3 - 4", "-1"), held) is None


def test_any_reference_counts_as_the_answer() -> None:
    assert reason(train("Say hello", "hi"), item("Say hello", "hello", "Hi", definition="")) == (
        "leak_exact"
    )


def test_a_question_in_the_middle_of_a_chat_is_found() -> None:
    long = Instance(
        messages=(
            Message(role="user", content="Good morning!"),
            Message(role="assistant", content="Good morning."),
            Message(role="user", content="What is 3 + 4?"),
            Message(role="assistant", content="7"),
            Message(role="user", content="Thanks."),
            Message(role="assistant", content="You are welcome."),
        )
    )
    assert reason(long, item("What is 3 + 4?", "7", definition="")) == "leak_exact"


def test_a_copied_input_is_found_under_another_definition_and_answer() -> None:
    held = item(" ".join(PASSAGE), "KEEPER")
    leaked = train("Make a title. Text: " + " ".join(PASSAGE), "Ships before dawn")
    (found,) = find_leaks([leaked], [held])
    assert found is not None
    assert (found.reason, found.item_id, found.suite, found.share) == (
        "leak_ngram",
        held.item_id,
        "unseen",
        1.0,
    )


def test_with_input_alone_off_the_answer_must_be_equal_too() -> None:
    held, text = item(" ".join(PASSAGE), "KEEPER"), "Text: " + " ".join(PASSAGE)
    strict = LeakRule(input_alone=False)
    assert reason(train(text, "Ships before dawn"), held, rule=strict) is None
    assert reason(train(text, "Keeper"), held, rule=strict) == "leak_ngram"


def test_one_word_in_ten_changed_is_found_by_8_grams_and_not_by_13_grams() -> None:
    leaked = train("Text: " + changed(PASSAGE, 10), "someone")
    held = item(" ".join(PASSAGE), "KEEPER")
    assert reason(leaked, held) == "leak_ngram"
    assert reason(leaked, held, rule=LeakRule(ngram=13)) is None


def test_one_word_in_five_changed_leaves_no_8_gram() -> None:
    held = item(" ".join(PASSAGE), "KEEPER")
    assert reason(train("Text: " + changed(PASSAGE, 5), "someone"), held) is None


@pytest.mark.parametrize(("kept", "expected"), [(14, "leak_ngram"), (13, None), (8, None)])
def test_more_than_half_must_match(kept: int, expected: str | None) -> None:
    assert len(PASSAGE[:26]) == 26
    held = item(" ".join(PASSAGE[:26]), "KEEPER")
    assert reason(train(" ".join(PASSAGE[:kept]) + " and so on", "x"), held) == expected


def test_all_matches_must_be_in_one_instance() -> None:
    held = item(" ".join(PASSAGE[:24]), "KEEPER")
    halves = [train(" ".join(PASSAGE[a : a + 12]), "x") for a in (0, 12)]
    assert find_leaks(halves, [held]) == [None, None]


def test_a_shared_definition_is_no_leak() -> None:
    held = item("banana, cherry, plum", "CHERRY")
    assert reason(train(f"{DEFINITION}\n\nMary met John at the sea.", "MARY"), held) is None


def test_an_item_without_bare_input_is_compared_by_its_whole_prompt() -> None:
    held = item(" ".join(PASSAGE), "x", definition="")
    assert reason(train(f"Read this: {' '.join(PASSAGE)} Now sum up.", "y"), held) == "leak_ngram"


def test_system_turns_and_answers_do_not_count_as_prompts() -> None:
    held = item(" ".join(PASSAGE), "KEEPER")
    assert reason(train("Hello", "Hi", system=" ".join(PASSAGE)), held) is None
    assert reason(train("Hello", " ".join(PASSAGE)), held) is None


def test_a_short_input_leaks_with_its_answer_only() -> None:
    held = item("plum fig pear", "pear fig plum")
    other_words = "Turn the order round, please: plum fig pear."
    assert reason(train(other_words, "Pear fig plum"), held) == "leak_pair"
    assert reason(train(other_words, "3"), held) is None
    assert reason(train("Turn round: plum fig apple pear", "pear fig plum"), held) is None


def test_pairs_too_short_to_mean_anything_are_kept() -> None:
    assert reason(train("Is 7 odd or even?", "odd"), item("7", "odd")) is None


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ("good morning dear friend", "buenos días querido amigo"),
        (" ".join(PASSAGE), "un viejo farero"),
        ("早上好我的朋友", "good morning my friend"),
    ],
)
def test_an_inverted_pair_is_found(given: str, reference: str) -> None:
    held = item(given, reference, definition="Translate the text.")
    assert reason(train(f"Translate back: {reference}.", given), held) == "leak_inverted"
    assert reason(train("Translate back: something else", given), held) is None


def test_short_inverted_pairs_need_an_equal_answer() -> None:
    held = item("good morning friend", "buenos días amigo", definition="Translate.")
    assert reason(train("Say: buenos días amigo", "a good morning friend"), held) is None


def test_chinese_passages_are_found_by_characters() -> None:
    text = "灯塔的老看守每天黎明之前数着经过的每一条船并把名字写进一本蓝色的书"
    held = item(text, "看守", definition="这段话的主角是谁？")
    assert reason(train(f"给下面的文字写一个标题：{text[:24]}。", "船"), held) == "leak_ngram"
    assert reason(train("写一首关于大海和月亮的短诗，不要超过二十个字。", "海"), held) is None


def test_a_translation_is_beyond_n_grams() -> None:
    # Stated as a limit in the module; a rule that finds it would change this test.
    held = item("the old keeper counted every ship that passed before dawn", "KEEPER")
    french = "le vieux gardien comptait chaque navire qui passait avant l'aube"
    assert reason(train(french, "GARDIEN"), held) is None


def test_unrelated_instances_are_kept_and_every_batch_is_looked_at() -> None:
    draw = random.Random(0)
    words = [f"word{n}" for n in range(400)]
    rows = [train(" ".join(draw.choices(words, k=20)), str(n)) for n in range(BATCH + 10)]
    held = [item(" ".join(draw.choices(words, k=15)), f"answer {n}") for n in range(50)]
    rows[BATCH + 3] = train(f"Read: {held[7].input}", "x")
    found = find_leaks(rows, held)
    assert [n for n, leak in enumerate(found) if leak] == [BATCH + 3]
    assert found[BATCH + 3].item_id == held[7].item_id  # type: ignore[union-attr]


def test_the_item_with_the_largest_share_is_named() -> None:
    part, whole = item(" ".join(PASSAGE[:12] + ["x"] * 9), "A"), item(" ".join(PASSAGE[:16]), "B")
    (found,) = find_leaks([train(" ".join(PASSAGE), "y")], [part, whole])
    assert found is not None
    assert (found.item_id, found.share) == (whole.item_id, 1.0)


@given(st.lists(st.text(max_size=12), max_size=4), st.lists(st.text(max_size=12), max_size=4))
def test_any_text_is_judged_and_a_copy_of_an_item_never_kept(
    questions: list[str], asked: list[str]
) -> None:
    held = [item(text, "ref", definition="") for text in asked]
    rows = [train(text, "ref") for text in [*questions, *asked]]
    found = find_leaks(rows, held)
    assert len(found) == len(rows)
    for row, leak in zip(rows[len(questions) :], found[len(questions) :], strict=True):
        assert (leak is not None) or not row.messages[0].content.strip()


def test_items_are_indexed_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(leaks.NgramIndex):
        def __init__(self, *arguments: Any) -> None:
            made.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr(leaks, "NgramIndex", Counted)
    judge = leak_filter([item(TEXT, "KEEPER")])
    indexed = len(made)
    found = [
        judge([train(f"Read this: {TEXT} {n}", "KEEPER"), train("hello", "hi")]) for n in "abc"
    ]
    assert [[bool(reason) for reason in batch] for batch in found] == [[True, False]] * 3
    assert (indexed > 0, len(made)) == (True, indexed)


def test_no_items_leak_nothing() -> None:
    assert find_leaks([train("a", "b")], []) == [None]
    assert find_leaks([], [item("a", "b")]) == []


def test_as_a_step_of_the_ledger(tmp_path: object) -> None:
    ledger = Ledger(str(tmp_path))
    held = item(" ".join(PASSAGE), "KEEPER")
    rows = [train("Hello", "Hi"), train(" ".join(PASSAGE), "x"), train("q", "a", task="held")]
    assert apply("leaks", rows, leak_filter([held]), ledger) == rows[:1]
    assert ledger.write()["leaks"]["removed"] == {"leak_ngram": 1, "leak_task": 1}
