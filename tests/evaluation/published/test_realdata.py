"""The published files themselves. pytest -m realdata tests/evaluation/published/test_realdata.py"""

import json

import pytest

from regimen.evaluation.metrics import require_fields
from regimen.evaluation.published.choosing import task_list
from regimen.evaluation.published.formats import FORMATS, read_suite
from regimen.evaluation.published.reading import SuiteSpec
from regimen.instances.compression import open_text
from regimen.judging.scorers import scorer_named
from regimen.settings.suites import SuiteSettings
from regimen.stages.evaluate_items import suite_plan

pytestmark = pytest.mark.realdata

# folder, options, items, clusters
COUNTS = [
    ("gsm8k", "gsm8k", {}, 1319, 1319),
    ("bbh", "bbh", {}, 6511, 27),
    ("ifeval", "ifeval", {}, 1063, 1063),
    ("ifeval", "ifeval", {"languages": ("en",)}, 541, 541),
    ("ifeval", "ifeval", {"languages": ("fr",)}, 235, 235),
    ("ifeval", "ifeval", {"languages": ("ja",)}, 172, 172),
    ("ifeval", "ifeval", {"languages": ("es",)}, 115, 115),
    ("mt_bench", "mt-bench/fastchat__llm_judge__data__mt_bench__question.jsonl", {}, 80, 80),
    ("mt_bench", "mt-bench/fastchat__llm_judge__data__vicuna_bench__question.jsonl", {}, 80, 80),
    ("super_ni", "super-natural-instructions", {"shots": 2, "per_task": 20}, 1400, 70),
]


@pytest.mark.parametrize(("form", "place", "options", "items", "clusters"), COUNTS)
def test_every_published_row_becomes_an_item(shared_data, form, place, options, items, clusters):
    found = read_suite(SuiteSpec(name="s", path=shared_data / place, **options), FORMATS[form])
    assert (len(found.items), dict(found.failed)) == (items, {})
    assert len({item.cluster for item in found.items}) == clusters
    assert all(item.messages[0].text.strip() for item in found.items)
    assert all(item.lineage.source and item.lineage.task for item in found.items)
    assert {bool(item.follow_ups) for item in found.items} <= {"mt_bench__" in place}


def test_published_answers_are_right_by_the_default_metrics(shared_data):
    gsm8k = read_suite(SuiteSpec(name="s", path=shared_data / "gsm8k"), FORMATS["gsm8k"])
    with open_text(shared_data / "gsm8k" / "test.jsonl.zst") as text:
        answers = [json.loads(line)["answer"] for line in text]
    score = scorer_named(FORMATS["gsm8k"].metric)
    assert all(score(answer, item) == 1 for answer, item in zip(answers, gsm8k.items, strict=True))
    assert all(len(item.demonstrations) == 8 for item in gsm8k.items)


def test_bbh_prompts_have_three_examples_whose_final_answer_is_found(shared_data):
    place = shared_data / "bbh"
    steps = read_suite(SuiteSpec(name="s", path=place, chain_of_thought=True), FORMATS["bbh"])
    alone = read_suite(SuiteSpec(name="s", path=place), FORMATS["bbh"])
    score = scorer_named(FORMATS["bbh"].metric)
    seen = set()
    for longer, shorter in zip(steps.items, alone.items, strict=True):
        assert len(longer.demonstrations) == len(shorter.demonstrations) == 3
        if longer.lineage.task not in seen:
            seen.add(longer.lineage.task)
            for shot, answer in zip(longer.demonstrations, shorter.demonstrations, strict=True):
                assert len(shot.output) > len(answer.output)
                asked = type(shorter)(suite="s", messages=(), references=(answer.output,))
                assert score(shot.output, asked) == 1, longer.lineage.task
    assert len(seen) == 27
    choices = [item for item in alone.items if item.choices]
    assert len(choices) > 4000
    assert all(item.references[0] in item.choices for item in choices)


def test_the_published_lists_of_test_tasks_can_be_read(shared_data):
    assert len(task_list(shared_data / "niv2-meta" / "default_test_tasks.txt")) == 119
    assert len(task_list(shared_data / "niv2-meta" / "xlingual_test_tasks.txt")) == 35


@pytest.mark.parametrize("form", ["gsm8k", "bbh", "super_ni", "ifeval"])
def test_default_metrics_have_what_they_need(shared_data, form):
    places = {"super_ni": "super-natural-instructions"}
    settings = SuiteSettings(format=form, path=str(shared_data / places.get(form, form)), limit=40)
    plan = suite_plan(settings)
    require_fields(plan.read.items, plan.metrics)
    for scorer in plan.metrics.scorers.values():
        assert all(0 <= scorer("An answer.", item) <= 1 for item in plan.read.items)
