"""Definitions and templates: distinct, short, far from each other, and without the answer."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from regimen.assets.starter.lexicon import LANGUAGES
from regimen.assets.starter.tasks import catalogue, families, family_sample, masked_definition
from regimen.assets.starter.tasks.examples import Cell
from regimen.assets.starter.tasks.grammar import PARAPHRASES
from regimen.assets.starter.tasks.operations import OPERATIONS
from regimen.assets.starter.tasks.wording import Spec, assign, wordings

BOUND = 0.5


def rouge_l(one: list[str], other: list[str]) -> float:
    """ROUGE-L F of two word lists, by the textbook recurrence."""
    above = [0] * (len(other) + 1)
    for word in one:
        row = [0]
        for j, rival in enumerate(other):
            row.append(above[j] + 1 if word == rival else max(above[j + 1], row[j]))
        above = row
    return 2 * above[-1] / (len(one) + len(other))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_definitions_of_a_family_sample_are_near(language: str) -> None:
    for family in families(language):
        for seed in range(2):
            sample = family_sample(family, n=10, seed=seed, language=language)
            words = [masked_definition(task).split() for task in sample]
            for one, other in combinations(words, 2):
                assert rouge_l(one, other) <= BOUND, (family, language, one, other)


def test_no_two_definitions_of_a_whole_family_are_near() -> None:
    letters: dict[str, str] = {}
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for task in catalogue():
        words = masked_definition(task).split()
        line = "".join(letters.setdefault(w, chr(0x4E00 + len(letters))) for w in words)
        lines[task.family, task.language].append(line)
    for members in lines.values():
        common = cdist(members, members, scorer=LCSseq.similarity, dtype=np.int32)
        length = np.array([len(line) for line in members])
        score = 2 * common / (length[:, None] + length[None, :])
        np.fill_diagonal(score, 0)
        assert score.max() <= BOUND


def test_masked_definition_drops_object_names_and_literals() -> None:
    for task in catalogue()[::11]:
        masked = masked_definition(task).split()
        plain = re.sub(r"`[^`]*`", " ", task.definition).lower()
        said = re.findall(r"\w+", plain)
        cell = Cell(*(task.tags[k] for k in ("operation", "object", "format")), task.language)
        names = wordings(task.language)["objects"][task.tags["object"]]
        slots = f"{names['things']} {names['thing']} {cell.choices}".lower()
        left = list(said)
        for word in masked:
            left.remove(word)
        assert set(left) <= set(re.findall(r"\w+", slots)), task.name


def test_definitions_are_distinct_and_of_the_right_length() -> None:
    definitions = [task.definition for task in catalogue()]
    assert len(set(definitions)) == len(definitions)
    for text in definitions:
        assert 12 <= len(re.findall(r"\S*\w\S*", text)) <= 24, text
        assert "{things}" not in text
        assert "{thing}" not in text
        assert "{choices}" not in text


def test_family_sample_is_seeded_and_bounded() -> None:
    one = family_sample("pick", n=24, seed=1)
    assert one == family_sample("pick", n=24, seed=1)
    assert one != family_sample("pick", n=24, seed=2)
    assert len({task.name for task in one}) == 24
    assert {task.family for task in one} == {"pick"}
    assert len(family_sample("repeat", n=24, language="es")) == 18
    with pytest.raises(ValueError, match="known: pick"):
        family_sample("picks")


def test_templates_differ_from_the_definition() -> None:
    for task in catalogue():
        definition = set(re.findall(r"\w+", task.definition.lower()))
        for template in task.templates:
            bare = template.input.replace("{{ input }}", "").strip()
            assert bare
            assert bare not in task.definition
            assert set(re.findall(r"\w+", bare.lower())) != definition


def test_templates_do_not_leak_the_answer() -> None:
    """A template is fixed, so a leak would name the answers of several rows.

    The operations that answer with one of two given words name both of them.
    """
    for task in catalogue():
        if OPERATIONS[task.tags["operation"]].answer == "verdict":
            continue
        if task.tags["operation"] == "kind_of":
            continue
        answers = {row["output"][0] for row in task.generator(1, 3)} - {"a", "e", "o", "y"}
        for template in task.templates:
            said = set(re.split(r"[^\w?]+", template.input))
            assert not answers or not answers <= said, task.name


def test_a_template_says_the_same_for_every_row() -> None:
    """The only thing that changes is the input, so nothing of an answer can be in a template."""
    for task in catalogue():
        for template in task.templates:
            assert re.findall(r"\{\{.*?\}\}", template.input) == ["{{ input }}"]
            assert "{%" not in template.input
            assert "{#" not in template.input


@pytest.mark.parametrize("language", LANGUAGES)
def test_pools_are_large_enough(language: str) -> None:
    texts = wordings(language)
    least = 16 if language == "en" else 10
    assert all(len(set(pool)) >= least for pool in texts["openers"].values())
    for part in ("operations", "formats"):
        assert all(len(set(entry["clauses"])) >= 4 for entry in texts[part].values())


def test_clauses_say_the_slots_that_their_shape_fills() -> None:
    for language in LANGUAGES:
        for shape, pool in wordings(language)["openers"].items():
            slot = "{things}" if shape in ("list", "table", "passage") else "{thing}"
            assert all(text.count(slot) == 1 for text in pool), (language, shape)


def test_a_family_too_large_for_its_pools_is_refused() -> None:
    spec = Spec("list", "first", "plain", Cell("first", "animals", "plain", "en").fill)
    with pytest.raises(ValueError, match="add wordings for one of"):
        assign([spec] * 17, "en", "too many")


def test_paraphrases_are_made_of_the_clauses_of_their_task() -> None:
    for task in catalogue()[::37]:
        paraphrases = [t.input for t in task.templates if t.name.startswith("paraphrase")]
        assert len(set(paraphrases)) == PARAPHRASES
        texts = wordings(task.language)
        clauses = texts["operations"][task.tags["operation"]]["clauses"]
        forms = texts["formats"][task.tags["format"]]["clauses"]
        for text in paraphrases:
            assert text.endswith("\n{{ input }}")
            assert text.count("{{") == 1
            assert any(form in text for form in forms)
            whole = [
                clause for clause in clauses if "{thing" not in clause and "{choi" not in clause
            ]
            assert any(clause in text for clause in whole) or len(whole) < len(clauses)
