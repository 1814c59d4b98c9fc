"""Why a rewording is refused: pytest tests/instances/rewording/test_checks.py."""

from __future__ import annotations

import pytest

from regimen.instances.rewording.checks import (
    REASONS,
    Original,
    problem_of,
    row_answers,
    wording_key,
    written_answers,
)
from regimen.instances.rewording.marks import mask
from regimen.instances.rewording.prompts import clean, paraphrase_prompt, translation_prompt
from regimen.instances.templates import missing_columns
from regimen.records import Task, Template

SOURCE = "Read the {{ kind }} below.\n{{ text }}\nWhich word describes its mood best?"


def original(source: str = SOURCE, answers: tuple[str, ...] = (), **given: bool) -> Original:
    plain, answer = given.get("plain", False), given.get("answer", False)
    return Original(
        source=source,
        masked=mask(source, answer=answer, plain=plain),
        language="en",
        answer=answer,
        answers=answers,
        names=() if plain else missing_columns(source, ()),
    )


def reason(text: str, given: Original, language: str = "en", others: tuple[str, ...] = ()) -> str:
    keys = [wording_key(other, plain=given.plain) for other in others]
    problem = problem_of(text, given, language, keys)
    assert problem is None or problem.reason in REASONS
    return problem.reason if problem else ""


GOOD = "Here is a [[1]]: [[2]]\nSay in one word how it feels."
SPANISH = "Lee el [[1]] siguiente.\n[[2]]\n¿Qué palabra describe mejor su ánimo?"


def test_a_good_paraphrase_and_a_good_translation_pass() -> None:
    assert reason(GOOD, original()) == ""
    assert reason(SPANISH, original(), "es") == ""
    assert reason("读下面的[[1]]。[[2]] 哪个词最能描述它的情绪?", original(), "zh") == ""


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("[[1]] [[2]]", "en", "empty"),
        ("[[1]] 12 ... [[2]]?", "en", "empty"),
        ("Read it.\n[[2]]\nHow does it feel?", "en", "marks_lost"),
        (GOOD + " [[3]]", "en", "marks_added"),
        (GOOD + " {{ kind }}", "en", "marks_added"),
        (GOOD + " {{ output }}", "en", "answer_leaked"),
        (GOOD + " {% if output %}", "en", "answer_leaked"),
        (GOOD + " {{ output_length }}", "en", "marks_added"),
        (GOOD + " [[1]]", "en", "marks_repeated"),
        ("A {[[1]] is here: [[2]] Say how it feels.", "en", "does_not_compile"),
        (
            "read the [[1]] BELOW: [[2]] Which word describes its mood, best",
            "en",
            "same_as_original",
        ),
        ("read the [[1]] BELOW: [[2]] Which word describes its mood, best", "es", "language_wrong"),
        (
            "Please read the [[1]] below [[2]] Which word describes mood best",
            "es",
            "language_wrong",
        ),
        (GOOD, "ru", "language_wrong"),
        ("Прочти [[1]] ниже: [[2]] Какое слово лучше всего?", "en", "language_wrong"),
        (GOOD + " and then some more" * 8, "en", "too_long"),
        ("Mood of [[1]] [[2]]", "en", "too_short"),
        ("Here is a [[1]]: [[2]] Is it gloomy, or how does it feel?", "en", "answer_leaked"),
    ],
)
def test_each_reason(text: str, language: str, expected: str) -> None:
    assert reason(text, original(answers=("gloomy",)), language) == expected


def test_another_wording_of_the_task_is_not_kept_twice() -> None:
    other = "Here is a {{ kind }} - {{ text }}\nsay, in one word, how it FEELS!"
    assert reason(GOOD, original(), others=(other,)) == "same_as_another"
    same_words = "Here is a {{ text }} - {{ kind }}\nsay, in one word, how it FEELS!"
    assert reason(GOOD, original(), others=(same_words,)) == ""


def test_code_that_moves_behind_its_use_changes_the_names() -> None:
    given = original("{% set a = b %}Say which is longer: {{ a }} or {{ b }}")
    assert reason("Which is longer, [[2]] or [[3]]? Tell me. [[1]]", given) == "names_changed"
    assert reason("[[1]]Which one is longer, [[3]] or [[2]]?", given) == ""


def test_an_answer_that_the_original_names_is_no_leak() -> None:
    given = original("Is {{ text }} gloomy or cheerful?", ("gloomy", "cheerful"))
    assert reason("Tell me if [[1]] is cheerful or gloomy.", given) == ""
    assert reason("Tell me if [[1]] is gloomier or not.", given) == ""


def test_the_answer_of_a_template_may_be_in_its_own_part() -> None:
    given = original("What is {{ a }}? ||| It is gloomy.", ("it is gloomy",), answer=True)
    assert given.masked.text == "What is [[1]]?[[2]]"
    assert reason("Tell me about [[1]]. [[2]]", given) == ""
    assert reason("Tell me: [[2]] [[1]]", given) == "marks_moved"
    assert reason("It is gloomy, is [[1]]. [[2]]", given) == "answer_leaked"


def test_plain_text_may_hold_braces_and_marks() -> None:
    given = original("Fill in {{ name }} and [[3]] where they are missing.", plain=True)
    assert given.masked.text == "Fill in {{ name }} and [[1]] where they are missing."
    assert reason("Pon {{ name }} y [[1]] donde falten.", given, "es") == ""
    assert given.masked.put_back("Pon [[1]]") == "Pon [[3]]"
    assert reason("Pon {{ name }} y [[3]] donde falten.", given, "es") == "marks_added"


def test_short_sources_may_grow_to_a_few_words_each() -> None:
    given = original("Answer: {{ a }}")
    twelve = "Please tell me what you would say to this if you could [[1]]"
    assert reason(twelve, given) == ""
    assert reason(f"Oh, {twelve}", given) == "too_long"


def test_answers_of_a_task_are_its_outputs_and_options() -> None:
    rows = (
        {"input": "x", "output": ["A Fine Day!", "fine"]},
        {"input": "y", "output": "no", "options": ["no", "never", "好的", "是"]},
    )
    task = Task(name="t", options=("maybe", "..."), instances=rows)
    assert row_answers(task, 0) == ("maybe", "a fine day", "fine", "never", "好 的")
    assert row_answers(Task(name="empty"), 0) == ()
    made = Task(name="made", generator=lambda seed, n: [{"output": f"made{seed}"}] * n)
    assert row_answers(made, 5) == ("made5",)


def test_answers_that_a_template_spells() -> None:
    both = Template(name="a", input="Q ||| {% if x %}Surely{% endif %}", output="")
    assert written_answers(both) == ("surely",)
    computed = Template(name="b", input="Q ||| It is {{ x }}", output="")
    assert written_answers(computed) == ()
    choices = Template(name="c", input="Q", choices="Entailed ||| Neutral ||| No")
    assert written_answers(choices) == ("entailed", "neutral")
    assert written_answers(Template(name="d", input="Q", output="Done")) == ("done",)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("  Say it. \n", "Say it."),
        ("```\nSay it.\n```", "Say it."),
        ("```text\nSay\nit.\n```\n", "Say\nit."),
        ('"Say it."', "Say it."),
        ("“Say it.”", "Say it."),
        ("« Di lo. »", "Di lo."),
        ("```\n'Say it.'\n```", "Say it."),
        ('"Say" or "it"', '"Say" or "it"'),
        ("Say ```it```", "Say ```it```"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_quotes_and_fences_around_an_answer_are_taken_off(answer: str, text: str) -> None:
    assert clean(answer, "Tell me.") == text


def test_quotes_and_fences_of_the_source_stay() -> None:
    assert clean('"[[1]]"', '"[[1]]"') == '"[[1]]"'
    assert clean("```\n[[1]]\n```", "```\n[[1]]\n```") == "```\n[[1]]\n```"


def test_prompts_name_language_manner_and_marks() -> None:
    first = paraphrase_prompt("Say [[1]].", "en", 1, marks=1)
    assert first.endswith("Answer with the new text alone.\n\nSay [[1]].")
    assert "in English" in first
    assert "Copy every mark once" in first
    several = [paraphrase_prompt("x", "", n, marks=0) for n in range(1, 7)]
    assert len(set(several)) == 6
    assert all("its own language" in one and "mark" not in one for one in several)
    assert "into Spanish." in translation_prompt("x", "es", marks=0)
