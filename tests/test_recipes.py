"""The recipes of alignment: pytest tests/test_recipes.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean

import pytest

from helpers.doc_examples import blocks
from regimen.instances.formats import read_source
from regimen.records import Preference
from regimen.settings import yaml12
from regimen.settings.loading import load_settings, settings_from
from regimen.stages.user_code import load_function

RECIPES = ("sft-dpo", "sft-kto", "reward-best-of-n", "constitutional", "rlaif")
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_short_valid_and_names_files_that_are_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    file = Path("recipes") / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    assert f"#   regimen run {file}\n" in text
    assert len(text.splitlines()) <= 70
    assert all(len(line) <= 100 for line in text.splitlines())
    settings = load_settings(file)
    for place in re.findall(r"(?:recipes|src)/[\w./-]+", text):
        assert Path(place).exists(), place
    made = [f"{settings.run}/tune/final", f"{settings.run}/align/final", f"{settings.run}/build"]
    for one in settings.then:
        named = re.findall(rf"'({settings.run}/[^']*)'", str(one.model_dump()))
        assert named
        assert all(place.startswith(tuple(made)) for place in named)


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_gives_the_command_of_every_recipe(name: str) -> None:
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert f"regimen run recipes/{name}.yaml" in page


def test_the_settings_of_the_page_are_taken() -> None:
    (block,) = blocks((ROOT / "docs/recipes.md").read_text(encoding="utf-8"), "yaml")
    settings = settings_from(yaml12.parse(block, "example").data)
    assert [one.run for one in settings.runs] == ["runs/mine", "runs/mine-2"]


def test_the_rows_of_the_recipes_are_read_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "recipes/data")
    assert all(isinstance(one, Preference) for one in read_source("pairs.jsonl"))
    rows = {
        name: [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
        for name in ("pairs", "labelled", "prompts")
    }
    assert 0.3 < fmean(row["label"] for row in rows["labelled"]) < 0.7
    asked = {name: {row["prompt"] for row in some} for name, some in rows.items()}
    assert not asked["prompts"] & (asked["pairs"] | asked["labelled"])


def test_lessons_ask_in_the_words_of_critic_and_judge() -> None:
    lessons = ROOT / "recipes/lessons.py"
    first, second = (
        list(load_function(lessons, "critiques")(rows=4, seed=seed)) for seed in (2, 2)
    )
    assert first == second
    assert [m.role for m in first[0].messages] == ["user", "assistant", "user", "assistant"]
    verdicts = list(load_function(lessons, "verdicts")(rows=20, seed=1))
    assert {one.messages[-1].text for one in verdicts} == {"[[A]]", "[[B]]"}
