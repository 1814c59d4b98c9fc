"""Rewordings in the ledger: pytest tests/stages/test_rewording.py."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.instances.scripted import ScriptedGenerator
from regimen.protocols import Completion
from regimen.records import Task, Template
from regimen.settings.rewording import RewordingSettings
from regimen.stages.generators import scripted_answers
from regimen.stages.rewording import reword

TASK = Task(
    name="longest",
    definition="Say which word is the longest.",
    templates=(Template(name="ask", input="Which of these words is longest? {{ input }}"),),
    instances=({"input": "a bb ccc", "output": "ccc"},),
)
ANSWERS = {
    "reword-longest#ask~p1": "Tell me the longest word of [[1]]",
    "reword-longest#ask~p2": "Tell me the longest word",
    "reword-longest#ask~es": "¿Cuál de estas palabras es la más larga? [[1]]",
}


def section(**given: object) -> RewordingSettings:
    named = {"generator": {"model": "base", "max_new_tokens": 40}, "languages": ["es"]}
    return RewordingSettings.model_validate(named | given)


def test_every_wording_is_in_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    found = reword([TASK], section(), 3, ledger, ScriptedGenerator(ANSWERS, "mine"))
    summary = ledger.write()["reword"]
    assert summary == {
        "in": 4,
        "kept": 2,
        "removed": {"marks_lost": 1},
        "failed": {"generation_error": 1},
    }
    assert [template.name for template in found[0].templates] == ["ask", "ask~p1", "ask~es"]
    assert found[0].templates[1].tags["generator"] == "mine"
    (removed,) = pq.read_table(tmp_path / "01-reword.removed.parquet").to_pylist()
    assert (removed["reason"], removed["detail"]) == ("marks_lost", "[[1]]")
    assert json.loads(removed["record"])["wording"] == "longest#ask~p2"
    assert json.loads(removed["record"])["text"] == ANSWERS["reword-longest#ask~p2"]
    failed = json.loads((tmp_path / "01-reword.failed.jsonl").read_text())
    assert failed["where"] == "longest~es"
    assert failed["got"] == "no answer is prepared for reword-longest~es"


def test_the_settings_reach_the_requests(tmp_path: Path) -> None:
    asked = []

    def answer(request) -> Completion:
        asked.append(request)
        return Completion(text="", finish="error", error="no")

    generator = {"model": "base", "temperature": 0.25, "max_new_tokens": 7}
    given = section(generator=generator, paraphrases=1, definitions=False)
    found = reword([TASK, TASK], given, 3, Ledger(tmp_path), ScriptedGenerator(answer))
    assert found == [TASK, TASK]
    assert len({request.id for request in asked}) == len(asked) == 4
    assert {(r.temperature, r.max_new_tokens) for r in asked} == {(0.25, 7)}


def test_prepared_answers_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(ANSWERS | {"reword-.*~es": "Di qué palabra es la más larga."}))
    ledger = Ledger(tmp_path / "ledger")
    (task,) = reword([TASK], section(generator={"scripted": str(file)}), 0, ledger)
    assert task.definitions == {"es": "Di qué palabra es la más larga."}
    assert task.templates[1].tags["generator"] == "answers.json"


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("[1]", "a list"),
        ('{"a": 1}', "an answer that is no text"),
        ("{not json", "line 1"),
        ('{"reword-(": "x"}', "no pattern"),
    ],
)
def test_a_file_of_other_things_is_refused(content: str, got: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text(content)
    with pytest.raises(DataError, match=got) as caught:
        scripted_answers(file)
    assert caught.value.slug == "scripted-answers"
    assert caught.value.where == str(file)


def test_a_file_that_is_not_there_names_its_neighbour(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file\.\n"):
        scripted_answers(tmp_path / "answer.json")
    (tmp_path / "answers.json").write_text("{}")
    with pytest.raises(DataError, match=r"Did you mean 'answers\.json'"):
        scripted_answers(tmp_path / "answer.json")
