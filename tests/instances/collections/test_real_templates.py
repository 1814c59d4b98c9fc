"""The whole of promptsource, on rows of real data sets and on made ones.

pytest -m realdata tests/instances/collections/test_real_templates.py
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from helpers.template_rows import Shapes
from regimen.instances.collections.lookup import collection_templates
from regimen.instances.collections.option_order import can_shuffle
from regimen.instances.collections.promptsource import read_promptsource
from regimen.instances.compression import open_text
from regimen.instances.readers import RawRow, read_rows
from regimen.instances.templates import (
    RenderFailure,
    Rendering,
    TemplateWorker,
    template_job,
)
from regimen.records import Task

pytestmark = pytest.mark.realdata
Rows = Iterator[dict[str, Any]]
ROWS, TURNS = 40, 6
LETTERS = "ABCDE"


def columns_of(path: Path) -> Iterator[list[str]]:
    """Question, answer and rationale of the tables, which have no header."""
    with open_text(path) as text:
        for line in text:
            yield [part.replace("\\n", "\n") for part in line.rstrip("\n").split("\t")]


def listed(data: Path, name: str, mark: str) -> Iterator[tuple[str, list[str], str, str]]:
    """Question, options, answer and rationale of a table whose questions list their options."""
    for question, answer, rationale in columns_of(data / "flan-cot" / f"{name}_train.tsv.zst"):
        asked, _, below = question.partition("\nOptions:\n")
        yield asked, [re.sub(mark, "", line) for line in below.split("\n")], answer, rationale


def lettered(data: Path, name: str, mark: str) -> Rows:
    for question, options, answer, rationale in listed(data, name, mark):
        choices = {"text": options, "label": list("ABCDEFGH"[: len(options)])}
        facts = {"fact1": rationale, "fact2": question, "combinedfact": rationale}
        yield {"question": question, "choices": choices, "answerKey": answer[1], **facts}


def qasc(data: Path) -> Rows:
    return lettered(data, "qasc", r"^- \(\w\) ")


def science(data: Path) -> Rows:
    """Questions with four options, as ARC and OpenBookQA have them."""
    for path in sorted((data / "super-natural-instructions" / "tasks").glob("task*mmmlu*")):
        for instance in json.loads(path.read_text())["Instances"][:2]:
            asked, *texts = re.split(r"\s*\([ABCD]\)", instance["input"])
            choices = {"text": texts, "label": list("ABCD")}
            key = instance["output"][0]
            said = {"question": asked, "question_stem": asked}
            yield {**said, "choices": choices, "answerKey": key}


def aqua(data: Path) -> Rows:
    for question, options, answer, rationale in listed(data, "aqua", r"^\(\w\) "):
        lettered_options = [f"{a}){text}" for a, text in zip(LETTERS, options, strict=True)]
        yield {
            "question": question,
            "options": lettered_options,
            "rationale": rationale,
            "correct": answer[1],
        }


def math(data: Path) -> Rows:
    for row in aqua(data):
        parts = [f"{one[0].lower()} ) {one[2:]}" for one in row["options"]]
        yield {
            "Problem": row["question"],
            "options": " , ".join(parts),
            "correct": row["correct"].lower(),
            "category": "general",
            "Rationale": row["rationale"],
        }


def explained(data: Path) -> Rows:
    for question, options, answer, rationale in listed(data, "ecqa", "^- "):
        yield {
            "question": question,
            "choices": options,
            "answer": answer,
            "abstractive_explanation": rationale,
        }


def common_sense(data: Path) -> Rows:
    for row in explained(data):
        choices = {"text": row["choices"], "label": list(LETTERS)}
        key = LETTERS[row["choices"].index(row["answer"])]
        yield {"question": row["question"], "choices": choices, "answerKey": key}


def yes_no(data: Path) -> Rows:
    for question, answer, why in columns_of(data / "flan-cot" / "strategyqa_train.tsv.zst"):
        yield {"question": question.rstrip("?"), "passage": why, "label": int(answer == "yes")}


def tales(data: Path) -> Rows:
    """Questions on fairy tales with the section that answers them, as SQuAD has them."""
    folder = data / "fairytaleqa"
    tables: list[dict[str, str]] = []
    for kind in ("questions", "stories"):
        rows = read_rows(folder / f"fairytaleqa_{kind}_csv.jsonl.zst")
        found = (row.values for row in rows if isinstance(row, RawRow))
        named = {Path(v["path"]).stem.removesuffix(f"-{kind}"): v["text"] for v in found}
        tables.append({name.removesuffix("-story"): text for name, text in named.items()})
    questions, stories = tables
    for name in sorted(questions.keys() & stories.keys()):
        sections = {r["section"]: r["text"] for r in csv.DictReader(StringIO(stories[name]))}
        for row in islice(csv.DictReader(StringIO(questions[name])), 4):
            text = sections.get(row["cor_section"])
            if text is None or not row["answer1"]:
                continue
            yield {
                "title": name.replace("-", " "),
                "context": text,
                "question": row["question"],
                "answers": {"text": [row["answer1"]], "answer_start": [0]},
                "metadata": {"split": "train"},
                "id": f"{name} {row['question_id']}",
            }


def plots(data: Path) -> Rows:
    for row in tales(data):
        answers = row["answers"]["text"]
        yield {**row, "plot": row["context"], "answers": answers, "no_answer": False}


def documents(data: Path) -> Rows:
    for row in tales(data):
        summary = {"text": row["context"], "title": row["title"]}
        answers = [{"text": row["answers"]["text"][0]}] * 2
        document = {"summary": summary, "text": row["context"]}
        yield {"document": document, "question": {"text": row["question"]}, "answers": answers}


def restaurants(data: Path) -> Rows:
    tasks = data / "super-natural-instructions" / "tasks"
    path = tasks / "task957_e2e_nlg_text_generation_generate.json"
    for instance in json.loads(path.read_text())["Instances"]:
        yield {
            "meaning_representation": instance["input"],
            "human_reference": instance["output"][0],
        }


def causes(data: Path) -> Rows:
    tasks = data / "super-natural-instructions" / "tasks"
    path = tasks / "task1393_superglue_copa_text_completion.json"
    for instance in json.loads(path.read_text())["Instances"]:
        premise, first, rest = re.split(r"\s*\([AB]\)\s*", instance["input"])
        second, _, question = rest.rpartition(", Question: ")
        label = "AB".index(instance["output"][0])
        choices = {"choice1": first, "choice2": second}
        yield {"premise": premise, **choices, "question": question, "label": label}


SETS: dict[tuple[str, str], tuple[Callable[[Path], Rows], int]] = {
    ("aqua_rat", "raw"): (aqua, 6),
    ("math_qa", ""): (math, 6),
    ("qasc", ""): (qasc, 8),
    ("cos_e", "v1.11"): (explained, 11),
    ("commonsense_qa", ""): (common_sense, 5),
    ("super_glue", "boolq"): (yes_no, 10),
    ("super_glue", "copa"): (causes, 12),
    ("ai2_arc", "ARC-Challenge"): (science, 6),
    ("openbookqa", "main"): (science, 7),
    ("squad", ""): (tales, 6),
    ("squad_v2", ""): (tales, 12),
    ("quoref", ""): (tales, 11),
    ("adversarial_qa", "dbert"): (tales, 5),
    ("duorc", "SelfRC"): (plots, 9),
    ("narrativeqa", ""): (documents, 8),
    ("e2e_nlg_cleaned", ""): (restaurants, 12),
}
"""Data sets of the collection whose rows real data can be written as, and their templates."""

ATTRIBUTES = {
    "area_qa": "area",
    "eat_type_qa": "eatType",
    "family_friendly_yes_no": "familyFriendly",
    "food_qa": "food",
    "near_qa": "near",
    "price_range_qa": "priceRange",
    "rating_qa": "customer rating",
    "name_qa": "name",
}
CAUSE = ("…which may be caused by", "…why? C1 or C2")
EFFECT = ("…What could happen next, C1 or C2?", "…As a result, C1 or C2?")


def meant_blank(template: str, row: dict[str, Any]) -> bool:
    """Whether a template has nothing to ask of a row: it asks for what the row does not have."""
    if template in ATTRIBUTES:
        return f"{ATTRIBUTES[template]}[" not in row["meaning_representation"]
    kinds = {**dict.fromkeys(CAUSE, "cause"), **dict.fromkeys(EFFECT, "effect")}
    return template in kinds and row["question"] != kinds[template]


@pytest.mark.parametrize(("dataset", "subset"), SETS)
def test_templates_render_on_rows_of_real_data(
    shared_data: Path, dataset: str, subset: str
) -> None:
    make, count = SETS[dataset, subset]
    rows = list(islice(make(shared_data), ROWS))
    folder = shared_data / "promptsource"
    templates = collection_templates(folder, dataset=dataset, subset=subset)
    assert (len(rows), len(templates)) == (ROWS, count)
    pairs = [(template, row) for template in templates for row in rows]
    with TemplateWorker() as worker:
        made = worker.render([template_job(*pair) for pair in pairs])
        moved = worker.render([template_job(*pair, seed=3, shuffle=True) for pair in pairs])
    assert [one for one in made if isinstance(one, RenderFailure)] == []
    for (template, row), plain, shuffled in zip(pairs, made, moved, strict=True):
        assert isinstance(plain, Rendering)
        blank = not all(text.strip() for text in plain.texts)
        assert blank == meant_blank(template.name, row), (template.name, row)
        if can_shuffle(template):
            # the same options in another order: the same characters, and the same answer
            assert isinstance(shuffled, Rendering)
            assert shuffled.texts[1] == plain.texts[1]
            assert sorted(shuffled.texts[0]) == sorted(plain.texts[0])


def test_every_file_parses_and_every_template_is_kept_or_counted(shared_data: Path) -> None:
    records = list(read_promptsource(shared_data / "promptsource"))
    tasks = [record for record in records if isinstance(record, Task)]
    failed = [record for record in records if not isinstance(record, Task)]
    templates = [template for task in tasks for template in task.templates]
    assert (len(tasks), len(templates), failed) == (279, 2_085, [])
    assert len({*(task.name for task in tasks)}) == len(tasks)
    for task in tasks:
        assert len({template.name for template in task.templates}) == len(task.templates)
    inverted = sum(template.inverted for template in templates)
    assert inverted == 550
    assert {template.language for template in templates} == {"en"}
    listed_in_prompt = [t for t in templates if "answer_choices" in t.input.partition("|||")[0]]
    shuffled = [template for template in templates if can_shuffle(template)]
    assert len(listed_in_prompt) == 383
    assert len(shuffled) == 265
    assert {id(template) for template in shuffled} <= {
        id(template) for template in listed_in_prompt
    }


def test_every_template_on_rows_made_for_it(shared_data: Path) -> None:
    """A row is made from what a template does with its names, so the rest is the row's fault."""
    records = read_promptsource(shared_data / "promptsource")
    templates = [t for task in records if isinstance(task, Task) for t in task.templates]
    jobs = []
    for template in templates:
        shapes = Shapes(template.choices, template.input)
        jobs += [template_job(template, shapes.row(turn)) for turn in range(TURNS)]
    with TemplateWorker() as worker:
        made = worker.render(jobs)
    found: Counter[str] = Counter()
    for start in range(0, len(made), TURNS):
        results = made[start : start + TURNS]
        texts = [result.texts for result in results if isinstance(result, Rendering)]
        if any(all(text.strip() for text in pair) for pair in texts):
            found["rendered"] += 1
        elif texts:
            found["blank"] += 1
        else:
            found.update({result.error for result in results if isinstance(result, RenderFailure)})
    assert found.total() == len(templates)
    # blank: no row took the branch that asks; error: a text that lacks the sign it is parted at
    assert set(found) == {"rendered", "blank", "template_error"}
    assert found["rendered"] >= 1_919
