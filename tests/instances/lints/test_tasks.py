"""Lints on rows and examples, each with where it fires and where it must not:
pytest tests/instances/lints/test_tasks.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.counting import lines_run
from regimen.instances.lints.findings import LINTS, SEVERITIES, Finding
from regimen.instances.lints.tasks import lint_task, lint_tasks
from regimen.instances.lints.texts import is_mojibake
from regimen.records import Example, Row, Task, Template


def task(pairs: Sequence[tuple[Any, Any]], **values: Any) -> Task:
    """A task of (input, output) rows."""
    rows = tuple({"input": text, "output": answer} for text, answer in pairs)
    return Task(**{"name": "t", "definition": "Do it.", "instances": rows, **values})


def lints(one: Task) -> dict[str, Finding]:
    found = lint_task(one)
    assert len({finding.lint for finding in found}) == len(found)
    return {finding.lint: finding for finding in found}


PLAIN = [(f"stone {i}", f"heavy {i}") for i in range(12)]
LABELS = [(f"stone {i}", "yes" if i % 2 else "no") for i in range(12)]


def fires(one: Task, lint: str) -> Finding:
    found = lints(one)
    assert set(found) == {lint}
    assert found[lint].fix == LINTS[lint].fix
    return found[lint]


def test_a_sound_task_has_no_findings() -> None:
    assert lint_task(task(PLAIN)) == []
    assert lint_task(task(LABELS, definition="Answer with 'yes' or 'no'.")) == []


def test_one_answer_for_all_rows() -> None:
    found = fires(task([(f"stone {i}", ["Yes", "y"]) for i in range(6)]), "label_entropy_zero")
    assert (found.count, found.of, found.severity) == (6, 6, "error")
    assert found.rows == (0, 1, 2, 3, 4)
    assert "entropy 0 bits: always 'Yes'" in found.detail
    few = fires(task([("a", "yes"), ("b", "yes")]), "label_entropy_zero")
    assert few.severity == "note"


def test_a_label_for_nearly_all_rows() -> None:
    pairs = [(f"岩 {i}", "否" if i else "是") for i in range(20)]
    found = fires(task(pairs), "label_imbalance")
    assert (found.count, found.of, found.severity) == (19, 20, "note")
    assert "'否' answers 95%; entropy 0.29 bits over 2 labels" in found.detail
    assert lint_task(task(pairs[:2] + LABELS)) == []


def test_equal_inputs_with_other_answers() -> None:
    found = fires(task([*LABELS, ("  Stone  1", "no")]), "conflicting_duplicates")
    assert (found.count, found.rows, found.severity) == (2, (1, 12), "note")
    found = fires(task([*LABELS, ("stone 1", "no")]), "conflicting_duplicates")
    assert found.severity == "error"
    assert "'yes' and 'no'" in found.detail
    free = fires(task([*PLAIN, ("stone 1", "grey")]), "conflicting_duplicates")
    assert free.severity == "note"


def test_accepted_answers_in_common_are_no_conflict() -> None:
    found = fires(task([*PLAIN, ("stone 1", ["grey", "Heavy 1"])]), "repeated_inputs")
    assert (found.count, found.rows, found.severity) == (1, (12,), "note")


def test_combining_characters_and_forms_are_equal_inputs() -> None:
    pairs = [*PLAIN, ("caf\u00e9", "noir"), ("cafe\u0301", "noir")]
    assert fires(task(pairs), "repeated_inputs").rows == (13,)


def test_rows_without_input_or_with_other_options_are_no_repetitions() -> None:
    assert lint_task(task([("", f"a name {i}") for i in range(6)])) == []
    rows = tuple(
        {"input": "Which one?", "options": [a, "fig"], "output": a} for a in ("pear", "nut")
    )
    assert lint_task(Task(name="t", definition="Choose.", instances=rows)) == []


def test_rows_without_an_answer() -> None:
    found = fires(task([*PLAIN, ("stone", ""), ("rock", []), ("pebble", None)]), "empty_outputs")
    assert (found.count, found.rows, found.of) == (3, (12, 13, 14), 15)


@pytest.mark.parametrize("answer", ["pear", "Pear.", "(A)", "b", "1", "A. pear"])
def test_an_option_or_its_mark_is_an_answer(answer: str) -> None:
    rows = tuple(
        {"input": f"q {i}", "options": ["pear", "fig"], "output": answer if i else "fig"}
        for i in range(4)
    )
    assert lint_task(Task(name="t", definition="Choose.", instances=rows)) == []


def test_an_answer_outside_of_the_options() -> None:
    rows = [{"input": f"سؤال {i}", "output": "لا" if i % 2 else "نعم"} for i in range(8)]
    one = Task(name="t", definition="أجب.", options=("نعم", "لا"), instances=tuple(rows))
    assert lint_task(one) == []
    wrong = (*rows, {"input": "سؤال 9", "output": "ربما"})
    found = fires(
        Task(name="t", definition="أجب.", options=("نعم", "لا"), instances=wrong),
        "answer_outside_options",
    )
    assert (found.count, found.of, found.rows) == (1, 9, (8,))
    own = tuple({**row, "options": ["نعم", "لا", "ربما"]} for row in wrong)
    assert lint_task(Task(name="t", options=("x",), definition="أجب.", instances=own)) == []


def test_an_answer_outside_of_the_options_that_the_input_lists() -> None:
    listing = "Which floats?\nOptions:\n(A) oak {}\n(B) iron"
    pairs = [(listing.format(i), "(A)" if i % 2 else "(B)") for i in range(12)]
    assert lint_task(task([*pairs, (listing.format(12), "oak 12")])) == []
    found = fires(task([*pairs, (listing.format(12), "cork")]), "answer_outside_options")
    assert (found.rows, found.of) == ((12,), 13)
    # lines that look like a list and are none of what is asked
    assert lint_task(task([(text, f"text {i}") for i, (text, _) in enumerate(pairs)])) == []


def test_an_answer_that_the_definition_does_not_name() -> None:
    said = "Answer with 'yes' or 'no'."
    found = fires(
        task([*LABELS, ("stone 12", "perhaps")], definition=said), "answer_outside_stated_space"
    )
    assert (found.count, found.of, found.rows) == (1, 13, (12,))
    assert found.detail == "the definition names 'yes', 'no'; rows answer 'perhaps'"
    chinese = task(
        [(f"石 {i}", "是" if i % 2 else "错") for i in range(12)], definition="回答“是”或“否”。"
    )
    assert fires(chinese, "answer_outside_stated_space").count == 6
    other = [(text, "True" if answer == "yes" else "False") for text, answer in LABELS]
    assert fires(task(other, definition=said), "answer_outside_stated_space").count == 12


def test_an_illustration_or_a_special_case_is_no_answer_space() -> None:
    for said in (
        "Name a property, for example 'hard' or 'heavy'.",
        "Say how heavy it is; answer 'unknown' if nobody knows and 'none' if it has no weight.",
    ):
        assert lint_task(task(PLAIN, definition=said)) == []


def test_an_example_that_is_a_row() -> None:
    positive = (Example(input="stone  1", output="heavy 1"), Example(input="x", output="y"))
    found = fires(task(PLAIN, positive=positive), "example_is_instance")
    assert (found.count, found.of, found.rows, found.severity) == (1, 2, (1,), "warning")
    assert "positive:1" in found.detail
    negative = (Example(input="stone 1", output="light"),)
    assert fires(task(PLAIN, negative=negative), "example_is_instance").severity == "note"
    assert lint_task(task(PLAIN, positive=positive[1:])) == []


def test_examples_that_contradict_the_task() -> None:
    said = "Answer with 'yes' or 'no'."
    right, wrong = Example(input="a", output="yes"), Example(input="a", output="No")
    assert lint_task(task(LABELS, positive=(right,), negative=(wrong,))) == []
    same = Example(input=" A ", output="yes ")
    found = fires(task(LABELS, positive=(right,), negative=(wrong, same)), "example_conflict")
    assert (found.count, found.of) == (1, 3)
    assert "negative:2" in found.detail
    cased = Example(input="a", output="YES")
    assert lint_task(task(LABELS, positive=(right,), negative=(cased,))) == []
    odd = (Example(input="b", output="maybe"),)
    assert (
        "positive:1"
        in fires(task(LABELS, definition=said, positive=odd), "example_conflict").detail
    )
    fires(task(LABELS, options=("yes", "no"), positive=odd), "example_conflict")
    assert lint_task(task(PLAIN, definition=said, positive=odd)) == []
    against = lints(task(LABELS, positive=(Example(input="stone 1", output="no"),)))
    assert set(against) == {"example_is_instance", "example_conflict"}


def test_inputs_that_end_with_or_mark_their_answer() -> None:
    ends = [(f"Is a stone heavier than {i}? No: heavy {i}", f"heavy {i}") for i in range(8)]
    found = fires(task(ends), "answer_in_input")
    assert (found.count, found.of, found.severity) == (8, 8, "note")
    marked = [(f"Answer: heavy {i}\nHow heavy is {i}?", f"Heavy {i}.") for i in range(3)]
    assert fires(task([*PLAIN, *marked]), "answer_in_input").rows == (12, 13, 14)
    chinese = [(f"{i}号石头重吗?\n答案:重{i}\n请说明", f"重{i}") for i in range(3)]
    assert fires(task([*PLAIN, *chinese]), "answer_in_input").count == 3


def test_extraction_and_a_wording_that_ends_all_inputs_give_nothing_away() -> None:
    inside = [(f"The bag holds a stone of {i} kilos and a nut.", f"{i} kilos") for i in range(8)]
    assert lint_task(task(inside)) == []
    last = [(f"A {i} or a {i + 1}?", f"a {i + 1}" if i % 2 else f"A {i}") for i in range(12)]
    assert lint_task(task(last)) == []
    asked = [(f"Is {text} grey? yes or no", answer) for text, answer in LABELS]
    assert lint_task(task(asked)) == []


def test_too_few_rows_and_no_definition() -> None:
    assert fires(task(PLAIN[:1]), "too_few_rows").rows == (0,)
    assert fires(task(PLAIN, definition=" "), "definition_missing").severity == "note"
    template = Template(name="x", input="{{ input }}")
    assert lint_task(task(PLAIN, definition="", templates=(template,))) == []


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("it costs Â£15", True),
        ("the mayorâ€™s hat", True),
        ("naÃ¯ve", True),
        ("caf\ufffd", True),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", True),
        ("CAFÉ» «ÀÉ»", False),
        ("à\u00a0» Âge Ãrvore", False),
        ("привет, 你好, مرحبا, e\u0301te\u0301, Ångström", False),
        ("“quoted” – €5 … naïve", False),
    ],
)
def test_text_that_was_decoded_wrongly(text: str, broken: bool) -> None:
    assert is_mojibake(text) is broken
    found = lints(task([*PLAIN, (text, "x")]))
    assert set(found) == ({"mojibake"} if broken else set())


@given(st.text(st.characters(min_codepoint=0xC0, max_codepoint=0x17F), min_size=1, max_size=20))
def test_any_latin_text_decoded_wrongly_is_seen(text: str) -> None:
    assert is_mojibake(text.encode().decode("latin-1"))


def test_control_characters_but_no_joiners_of_scripts() -> None:
    found = fires(task([*PLAIN, ("a\x00b", "x"), ("y", "c\x85d")]), "control_characters")
    assert (found.rows, found.count) == ((12, 13), 2)
    assert "U+0000" in found.detail
    said = fires(task(PLAIN, definition="Do \x1f it."), "control_characters")
    assert (said.rows, said.count) == ((), 1)
    joined = [("می\u200cخواهم\tو", "क्\u200dष\r\n"), ("\u2067עברית\u2069", "👩\u200d👧")]
    assert lint_task(task([*PLAIN, *joined])) == []


def test_columns_that_no_template_reads() -> None:
    rows: tuple[Row, ...] = ({"input": "a", "output": "b", "hint": "c", "shape": "d"},) * 2
    template = Template(name="x", input="{{ input }} {% if hint %}{{ hint }}{% endif %}")
    one = Task(name="t", templates=(template,), instances=rows)
    found = {f.lint: f for f in lint_task(one)}["unused_columns"]
    assert (found.count, found.of, found.severity) == (1, 4, "note")
    assert "'shape'" in found.detail
    assert "'hint'" not in found.detail


def test_a_task_whose_templates_write_the_answers_needs_no_outputs() -> None:
    template = Template(name="x", input="{{ text }} ||| {{ label }}", output="")
    rows = tuple({"text": f"stone {i}", "label": i % 2} for i in range(4))
    assert lint_task(Task(name="t", templates=(template,), instances=rows)) == []
    assert "empty_outputs" in lints(Task(name="t", definition="Do.", instances=rows))


def test_rows_of_a_generator_and_rows_that_are_given() -> None:
    def generator(seed: int, n: int) -> list[Row]:
        return [{"input": f"{seed} {i}", "output": "same"} for i in range(n)]

    one = Task(name="t", definition="Do.", generator=generator)
    assert lints(one)["label_entropy_zero"].of == 256
    assert lint_task(one, [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]) == []


def test_many_tasks_stream() -> None:
    def endless() -> Any:
        while True:
            yield task([("a", "yes"), ("b", "yes")])

    stream = lint_tasks(endless())
    assert [next(stream).lint for _ in range(3)] == ["label_entropy_zero"] * 3


texts = st.text(max_size=8)


@given(st.lists(st.tuples(texts, texts | st.lists(texts, max_size=2)), max_size=8), texts)
def test_findings_are_consistent_and_json(pairs: list[tuple[Any, Any]], said: str) -> None:
    for finding in lint_task(task(pairs, definition=said)):
        assert finding.lint in LINTS
        assert finding.severity in SEVERITIES
        assert 0 < finding.count <= finding.of
        assert len(finding.rows) <= 5
        assert list(finding.rows) == sorted(set(finding.rows))
        assert all(0 <= row < len(pairs) for row in finding.rows)
        json.dumps(asdict(finding))


def test_work_grows_linearly_with_the_rows() -> None:
    def lines(n: int) -> int:
        one = task([(f"stone {i % (n // 2)} of a wall", str(i)) for i in range(n)])
        return lines_run(lambda: lint_task(one))

    assert lint_task(task([("stone of a wall", str(i)) for i in range(4)]))
    assert lines(2000) < 10 * lines(250)
