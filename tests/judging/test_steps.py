"""The answer of a text that shows its steps: pytest tests/judging/test_steps.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.assets.starter.lexicon import LANGUAGES
from regimen.assets.starter.tasks.formats import FORMATS, write_answer
from regimen.instances.asking import ask, with_rationale
from regimen.instances.draws import Draws
from regimen.instances.encodings import FormattingSpec
from regimen.instances.wordings import WORDINGS
from regimen.judging.steps import steps_exact, without_steps
from regimen.records import Task


@examples(60)
@given(
    st.sampled_from(["before", "after"]),
    st.sampled_from(sorted(WORDINGS)),
    st.text("ab .:1", min_size=1).filter(str.strip),
    st.sampled_from("ab"),
)
def test_what_training_writes_is_read_back(
    where: str, language: str, rationale: str, answer: str
) -> None:
    task = Task(name="t", language=language, instruction_language=language)
    spec = FormattingSpec(chain_of_thought=where)  # type: ignore[arg-type]
    row = {"input": "x", "output": answer, "rationale": rationale}
    asked = ask(task, 0, row, spec, Draws(0, "t", 0))
    said = with_rationale(answer, asked, task, spec)
    assert said != answer
    assert without_steps(said) == answer
    assert steps_exact(said, [answer]) == 1
    assert steps_exact(said, ["c"]) == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_in_every_format_stay_whole(language: str) -> None:
    phrases = WORDINGS[language]
    for form in FORMATS:
        try:
            answer = write_answer(("fox", "owl"), form, language)
        except ValueError:
            answer = write_answer("fox", form, language)
        assert without_steps(answer) == answer
        assert without_steps(f"1: fox.\n{phrases.therefore} {answer}") == answer
        assert without_steps(f"{answer}\n{phrases.because} 1: fox.") == answer


def test_unfinished_steps_are_no_answer() -> None:
    assert steps_exact("1: fox, 2: owl. Number 2: owl.", ["owl"]) == 0
    assert steps_exact("1: fox.\nThe answer is\nowl", ["owl"]) == 1
    assert steps_exact("owl\nThe answer isn't fox", ["owl"]) == 0
