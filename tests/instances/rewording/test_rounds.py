"""Rewording of whole tasks by a script: pytest tests/instances/rewording/test_rounds.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.rewording.rounds import Reworded, reword_tasks
from regimen.instances.rewording.wanted import RewordingSpec
from regimen.instances.templates import TemplateWorker, template_job
from regimen.protocols import Completion, Generator, Request
from regimen.records import Task, Template

TASK = Task(
    name="mood",
    definition="Say how the text feels.",
    options=("gloomy", "cheerful"),
    templates=(
        Template(name="ask", input="How does this text feel?\n{{ input }}", tags={"metric": "f1"}),
        Template(
            name="both",
            input="{% if title %}Title: {{ title }}\n{% endif %}Tell the mood of {{ input }} "
            "||| It is {{ output }}.",
            output="",
            choices="gloomy ||| cheerful",
        ),
    ),
    instances=({"input": "Rain again.", "output": "gloomy", "title": "Today"},),
)
ANSWERS = {
    "reword-mood#ask~p1": "Read this:\n[[1]]\nWhat mood is it in?",
    "reword-mood#ask~p2": '"What do you feel when you read [[1]] now?"',
    "reword-mood#ask~es": "¿Qué ánimo tiene este texto?\n[[1]]",
    "reword-mood#both~p1": "[[1]]It is called [[2]].\n[[3]]Name the feeling of [[4]][[5]]",
    "reword-mood#both~p2": "Name it [[1]] now [[2]][[3]] and its mood [[4]][[5]]",
    "reword-mood#both~es": "[[1]]Título: [[2]]\n[[3]]Di el ánimo de [[4]][[5]]",
    "reword-mood~es": "Di cómo se siente el texto.",
}
SPEC = RewordingSpec(paraphrases=2, languages=("es", "en"))


@dataclass
class Script:
    """Answers by request id, in an order of their own; remembers what was asked."""

    answers: Mapping[str, str | Completion]
    order: Sequence[int] = ()
    name: str = "script"
    asked: list[Request] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        self.asked += requests
        order = self.order or range(len(requests))
        for request in (requests[n] for n in order):
            if request.id in self.answers:
                answer = self.answers[request.id]
                text = answer if isinstance(answer, Completion) else Completion(text=answer)
                yield request.id, text


def account(found: Reworded) -> dict[str, str]:
    """Reasons by wording; the counts must agree."""
    assert found.wanted == found.kept + len(found.refused)
    assert sum(found.counts().values()) == len(found.refused)
    return {one.where: one.reason for one in found.refused}


def test_the_script_is_a_generator() -> None:
    assert isinstance(Script({}), Generator)


def test_right_answers_become_templates_and_definitions() -> None:
    found = reword_tasks([TASK], Script(ANSWERS), SPEC)
    assert account(found) == {}
    assert found.kept == 7
    (task,) = found.tasks
    assert task.templates[:2] == TASK.templates
    new = {template.name: template for template in task.templates[2:]}
    assert list(new) == ["ask~p1", "ask~p2", "ask~es", "both~p1", "both~p2", "both~es"]
    assert new["ask~es"] == Template(
        name="ask~es",
        input="¿Qué ánimo tiene este texto?\n{{ input }}",
        language="es",
        tags={"metric": "f1", "reworded_from": "ask", "generator": "script"},
    )
    assert new["ask~p2"].input == "What do you feel when you read {{ input }} now?"
    assert new["both~p1"].choices == TASK.templates[1].choices
    assert new["both~p1"].output == ""
    assert task.definitions == {"es": "Di cómo se siente el texto."}
    assert task.definition == TASK.definition
    assert task.tags == {"definition_generator:es": "script"}


def test_reworded_templates_render_with_the_answer_of_the_original() -> None:
    (task,) = reword_tasks([TASK], Script(ANSWERS), SPEC).tasks
    row = dict(TASK.instances[0])
    with TemplateWorker() as worker:
        made = worker.render([template_job(template, row) for template in task.templates])
    texts = {t.name: r.texts for t, r in zip(task.templates, made, strict=True)}
    assert texts["ask~es"] == ("¿Qué ánimo tiene este texto?\nRain again.", "gloomy")
    assert texts["both~es"] == ("Título: Today\nDi el ánimo de Rain again.", "It is gloomy.")
    assert {answer for _, answer in texts.values()} == {"gloomy", "It is gloomy."}


@given(st.permutations(range(7)))
def test_the_order_of_the_answers_does_not_matter(order: list[int]) -> None:
    assert reword_tasks([TASK], Script(ANSWERS, order), SPEC) == reword_tasks(
        [TASK], Script(ANSWERS), SPEC
    )


def test_requests_depend_on_task_template_kind_and_seed_alone() -> None:
    one, other, seeded = Script({}), Script({}), Script({})
    reword_tasks([TASK], one, SPEC)
    reword_tasks([replace(TASK, name="other"), TASK], other, SPEC)
    assert [request.id for request in one.asked] == list(ANSWERS)
    assert one.asked == other.asked[7:]
    reword_tasks([TASK], seeded, replace(SPEC, seed=1, as_text=True))
    assert {r.id for r in seeded.asked} == {r.id for r in one.asked}
    assert not {r.seed for r in seeded.asked} & {r.seed for r in one.asked}
    assert [r.text for r in seeded.asked] == [r.messages[0].text for r in one.asked]
    assert len({r.seed for r in one.asked}) == 7


def test_no_code_and_no_answer_is_sent() -> None:
    script = Script({})
    reword_tasks([TASK], script, SPEC)
    for request in script.asked:
        text = request.messages[0].text.partition("\n\n")[2]
        assert not any(code in text for code in ("{{", "{%", "|||", "It is"))
    assert (
        script.asked[3]
        .messages[0]
        .text.endswith("\n\n[[1]]Title: [[2]]\n[[3]]Tell the mood of [[4]][[5]]")
    )


@pytest.mark.parametrize(
    ("answer", "reason", "outcome"),
    [
        (Completion(text="", finish="error", error="no answer"), "generation_error", "failed"),
        (Completion(text="What mood is [[1]] in?", finish="length"), "cut_off", "removed"),
        ("", "empty", "removed"),
        ('""', "empty", "removed"),
        ("What mood is this in, please?", "marks_lost", "removed"),
        ("Is the mood of [[1]] gloomy?", "answer_leaked", "removed"),
        ("How does this text feel? [[1]]", "same_as_original", "removed"),
    ],
)
def test_each_refusal_has_its_reason(answer: str | Completion, reason: str, outcome: str) -> None:
    answers = {**ANSWERS, "reword-mood#ask~p1": answer}
    found = reword_tasks([TASK], Script(answers), SPEC)
    assert account(found) == {"mood#ask~p1": reason}
    (refused,) = found.refused
    assert refused.outcome == outcome
    assert "ask~p1" not in {template.name for template in found.tasks[0].templates}
    assert "ask~p2" in {template.name for template in found.tasks[0].templates}


def test_requests_without_an_answer_fail() -> None:
    found = reword_tasks([TASK], Script({}), SPEC)
    assert set(account(found).values()) == {"generation_error"}
    assert found.tasks == (TASK,)
    assert {one.detail for one in found.refused} == {"the generator gave no answer"}


def test_the_second_of_two_equal_paraphrases_is_refused() -> None:
    again = {**ANSWERS, "reword-mood#ask~p2": "read this [[1]] what mood is it in"}
    found = reword_tasks([TASK], Script(again), SPEC)
    assert account(found) == {"mood#ask~p2": "same_as_another"}


def test_templates_that_cannot_be_reworded_are_counted_and_not_asked() -> None:
    bad = (
        Template(name="bare", input="{{ input }}"),
        Template(name="broken", input="Say {{ input"),
        Template(name="two", input="{% if a %}x ||| y{% else %}z ||| w{% endif %}", output=""),
    )
    script = Script({})
    task = replace(TASK, templates=bad, definition="")
    found = reword_tasks([task], script, replace(SPEC, paraphrases=1, languages=()))
    assert account(found) == {
        "mood#bare~p1": "nothing_to_reword",
        "mood#broken~p1": "source_does_not_compile",
        "mood#two~p1": "several_answers",
    }
    assert script.asked == []


def test_what_a_task_has_is_not_asked_for_again() -> None:
    first = reword_tasks([TASK], Script(ANSWERS), SPEC)
    script = Script(ANSWERS)
    second = reword_tasks(first.tasks, script, SPEC)
    assert (second.wanted, script.asked) == (0, [])
    assert second.tasks == first.tasks
    missing = reword_tasks(first.tasks, Script({}), replace(SPEC, paraphrases=3))
    assert set(account(missing)) == {"mood#ask~p3", "mood#both~p3"}


def test_templates_of_one_name_are_all_reworded() -> None:
    twins = tuple(replace(TASK.templates[0], input=f"{n} {{{{ input }}}} here") for n in ("A", "B"))
    answers = {
        "reword-mood#ask~p1": "Look at [[1]] please",
        "reword-mood#ask~p1-2": "Mind [[1]] well",
    }
    task = replace(TASK, templates=twins)
    found = reword_tasks([task], Script(answers), replace(SPEC, paraphrases=1, languages=()))
    assert account(found) == {}
    assert [template.name for template in found.tasks[0].templates[2:]] == ["ask~p1", "ask~p1-2"]


def test_the_parts_can_be_chosen() -> None:
    def asked(**choice: bool) -> set[str]:
        script = Script({})
        reword_tasks([TASK], script, replace(SPEC, **choice))  # type: ignore[arg-type]
        return {request.id for request in script.asked}

    assert asked(templates=False) == {"reword-mood~es"}
    assert asked(definitions=False) == set(ANSWERS) - {"reword-mood~es"}
    assert asked(templates=False, definitions=False) == set()
