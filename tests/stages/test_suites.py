"""Suites of the settings, from file to evaluation.json. pytest tests/stages/test_suites.py"""

import json

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from regimen.cli import main
from regimen.settings.suites import SuiteSettings
from regimen.stages.evaluate_items import suite_plan


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def two_models(shared_project):
    """Two random models with one tokenizer, and suites in their formats."""
    folder = shared_project.folder
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "other")
    tokenizer.save_pretrained(folder / "other")
    rows = [{"question": f"{n} and {n}?", "answer": f"{n} + {n}\n#### {2 * n}"} for n in range(9)]
    write_lines(folder / "sums.jsonl", [*rows, {"question": "?", "answer": "no number"}])
    turns = [{"question_id": n, "category": "c", "turns": [f"say {n}", "more"]} for n in range(4)]
    write_lines(folder / "question.jsonl", turns)
    mine = [{"prompt": f"say {n}", "references": [str(n)], "task": f"t{n % 2}"} for n in range(4)]
    write_lines(folder / "mine.jsonl", mine)
    return folder


def settings(folder, name, suites, **more):
    section = {"base": "base", "tuned": "other", "suites": suites, "max_new_tokens": 3, **more}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"run": f"runs/{name}", "evaluate": section}))
    return str(file)


def run(file, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["run", file, *arguments])
    return stopped.value.code


SUITES = [
    {"name": "sums", "format": "gsm8k", "path": "sums.jsonl", "max_new_tokens": 4},
    {"format": "mt_bench", "path": "question.jsonl", "max_new_tokens": 5},
    {"format": "items", "path": "mine.jsonl", "metric": "exact", "metrics": ["f1"], "limit": 3},
]


def test_two_models_on_suites_without_a_build(two_models, capsys):
    assert run(settings(two_models, "two", SUITES), "--json") == 0
    shown = capsys.readouterr().out
    assert "suite sums: 9 of 10 items; 1 rows cannot be used, the first sums.jsonl:10" in shown
    assert "mt_bench: 4 items, 4 tasks, which only a judge scores" in shown
    body = json.loads((two_models / "runs/two/evaluation.json").read_text())
    suites = body["suites"]
    assert [suites[name]["metric"] for name in suites] == ["final_numeric", None, "exact"]
    assert suites["sums"]["read"] == {"rows": 10, "asked": 9, "failed": {"no_number": 1}}
    assert (suites["sums"]["items"], suites["sums"]["clusters"]) == (9, 9)
    assert (suites["items"]["items"], suites["items"]["clusters"]) == (3, 2)
    assert suites["items"]["systems"]["tuned"]["f1"] >= 0
    assert body["prompted_base"]["suites"] == {"sums": 8, "mt_bench": 0, "items": 2}
    assert suites["mt_bench"]["systems"]["tuned"]["score"] is None
    rows = pq.read_table(two_models / "runs/two/evaluate/answers.parquet").to_pylist()
    judged = [row for row in rows if row["suite"] == "mt_bench" and row["system"] == "tuned"]
    assert len(judged) == 4
    for row in judged:
        said = json.loads(row["turns"])
        assert [turn["user"] for turn in said] == [row["prompt"], "more"]
        assert said[0]["answer"] == row["answer"]
        assert (row["source"], row["score"]) == ("question.jsonl", None)
    sums = [row for row in rows if row["suite"] == "sums"]
    assert {row["row"] for row in sums} == set(range(1, 10))
    assert {row["turns"] for row in sums} == {""}


def test_a_suite_that_changes_is_asked_again(two_models, capsys):
    own = {"format": "items", "path": "changing.jsonl"}
    write_lines(two_models / "changing.jsonl", [{"prompt": "say 1", "references": "1"}])
    file = settings(two_models, "changing", [own], systems=["base", "tuned"])
    assert run(file) == 0
    assert run(file) == 0
    assert "evaluate: nothing to do" in capsys.readouterr().out
    write_lines(two_models / "changing.jsonl", [{"prompt": "say 2", "references": "2"}])
    assert run(file) == 0
    assert "suite items: 1 of 1 items" in capsys.readouterr().out
    body = json.loads((two_models / "runs/changing/evaluation.json").read_text())
    alone = body["suites"]["items"]
    assert alone["paired"]["tuned-base"]["verdict"] == "no evidence"
    assert (alone["clusters"], alone["systems"]["tuned"]["low"]) == (1, None)


@pytest.mark.parametrize(("system", "cut"), [("base", True), ("copy_input", False)])
def test_the_length_of_a_format_keeps_to_the_context_of_whoever_is_asked(
    two_models, capsys, system, cut
):
    asked = {"instruction_id_list": ["en:punctuation:no_comma"], "kwargs": [{}]}
    write_lines(two_models / "ifeval.jsonl", [{"key": 1, "prompt": "say 1", **asked}])
    long = {"format": "ifeval", "path": "ifeval.jsonl"}
    assert run(settings(two_models, f"only-{system}", [long], systems=[system])) == 0
    assert ("at most 64 tokens, half of the context" in capsys.readouterr().out) == cut


def test_starter_tasks_and_constraints_need_no_settings_of_their_own(tmp_path):
    starter = SuiteSettings(format="starter", families=("pick",), languages=("en",), limit=3)
    plan = suite_plan(starter)
    assert len(plan.read.items) == 3
    assert {item.lineage.family for item in plan.read.items} == {"pick"}
    assert (plan.metrics.primary, plan.base_shots) == ("exact", 2)
    asked = {"instruction_id_list": ["en:punctuation:no_comma"], "kwargs": [{}]}
    write_lines(tmp_path / "en_input_data.jsonl", [{"key": 1, "prompt": "Write.", **asked}])
    plan = suite_plan(SuiteSettings(format="ifeval", path=str(tmp_path)))
    (item,) = plan.read.items
    scorers = plan.metrics.scorers
    assert list(scorers) == ["ifeval_strict", "ifeval_loose", "ifeval_instructions"]
    assert [score("One, two.", item) for score in scorers.values()] == [0, 0, 0]
    assert [score("One and two.", item) for score in scorers.values()] == [1, 1, 1]
    assert (plan.max_new_tokens, plan.capped, plan.lines) == (1024, True, "open")


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        ({"format": "gsm8k", "path": "mine.jsonl"}, ("suite-format", "format: items")),
        ({"format": "gsm8k", "path": "sum.jsonl"}, ("file-missing", "sums.jsonl")),
        ({"format": "items", "path": "mine.jsonl", "metric": "exakt"}, ("unknown-scorer", "exact")),
        ({"format": "items", "path": "mine.jsonl", "metric": "choice"}, ("item-without-choices",)),
        ({"format": "items", "path": "mine.jsonl", "tasks": ["t9"]}, ("suite-empty", "t0")),
        ({"format": "gsm8k"}, ("path",)),
        ({"format": "starter", "path": "mine.jsonl"}, ("come with regimen",)),
        ({"format": "items", "path": "mine.jsonl", "encoding": "definition"}, ("no effect",)),
        ({"format": "items", "path": "mine.jsonl", "name": "validation"}, ("kept apart",)),
    ],
)
def test_what_is_wrong_with_a_suite_is_said_before_a_model_is_asked(
    two_models, capsys, suite, words
):
    assert run(settings(two_models, "wrong", [suite])) != 0
    said = capsys.readouterr().err
    for word in words:
        assert word in said
    assert not (two_models / "runs/wrong/evaluation.json").exists()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"tuned": "other"}, "no base"),
        ({"base": "base"}, "no model to measure"),
        (
            {"base": "base", "tuned": "other", "suites": [SUITES[2], SUITES[2]]},
            "second suite of the name",
        ),
    ],
)
def test_models_and_suites_that_the_settings_refuse(two_models, capsys, section, words):
    (two_models / "refused.yaml").write_text(yaml.safe_dump({"evaluate": section}))
    assert run("refused.yaml") != 0
    assert words in capsys.readouterr().err
