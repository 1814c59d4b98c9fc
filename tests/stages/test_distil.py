"""pytest tests/stages/test_distil.py: tune with a teacher."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from regimen.records import Instance, Message
from regimen.settings.tune import TuneSettings
from regimen.tables import instances_to_table, write_table

COMMON = {
    "max_steps": 12,
    "tokens_per_batch": 128,
    "max_length": 64,
    "logging_steps": 1,
    "precision": "fp32",
    "learning_rate": 0.01,
    "schedule": "constant",
    "warmup_ratio": 0.0,
}
CHATS = [
    Instance(
        messages=(
            Message(role="user", content=f"the {a} dog"),
            Message(role="assistant", content=f"sees {a} cats"),
        )
    )
    for a in "abcdefxyz"
]


@pytest.fixture(scope="module")
def project(shared_project):
    """A project with conversations and a teacher that has learnt them."""
    write_table(Path("data/instances.parquet"), instances_to_table(CHATS))
    assert tune(shared_project, "teacher", model="base", max_steps=30) == 0
    return shared_project


def tune(project, name, model="base", **changes):
    """Run; the exit status."""
    section = {**COMMON, "model": {"path": model}, "data": "data", **changes}
    file = project.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"run": f"runs/{name}", "tune": section}))
    return project.run(file.name)


def logged(name):
    lines = Path(f"runs/{name}/tune/metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


TEACHER = "runs/teacher/tune/final"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("forward", {}),
        ("own", {"divergence": "jsd", "beta": 0.9, "on_policy": 0.5, "max_new_tokens": 6}),
        ("reverse", {"divergence": "reverse_kl", "sft_weight": 0.1, "temperature": 2.0}),
    ],
)
def test_a_student_learns_what_its_teacher_predicts(project, name, given):
    assert tune(project, name, distil={"teacher": TEACHER, **given}) == 0
    lines = logged(name)
    assert lines[-1]["distillation"] < 0.7 * lines[0]["distillation"]
    assert ("sft" in lines[0]) == ("sft_weight" in given)
    told = json.loads(Path(f"runs/{name}/tune/summary.json").read_text())["distil"]
    assert told["teacher"] == TEACHER
    assert told["teacher_parameters"] > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {"adapter": {"kind": "lora"}, "learning_rate": 0.05, "max_steps": 40},
        {"precision": "bf16", "gradient_accumulation_steps": 2},
        {
            "objective": "language_modelling",
            "text": {"path": "text.txt"},
            "data": None,
            "validation": {"share": 0.2, "every": 5},
        },
        {"replay": {"text": {"path": "text.txt"}, "share": 0.3}},
        {"memory": {"activations": "full"}, "distil": {"on_policy": 1.0, "max_new_tokens": 5}},
    ],
    ids=["lora", "bf16", "text", "replay", "recomputed"],
)
def test_a_teacher_goes_with_other_options(project, more, request):
    name = request.node.callspec.id
    given = {"distil": {"teacher": TEACHER, **more.get("distil", {})}}
    assert tune(project, name, **{**more, **given}) == 0
    lines = logged(name)
    assert lines[-1]["distillation"] < 0.9 * lines[0]["distillation"]


def test_a_teacher_with_other_tokens_is_refused(project, capsys):
    shutil.copytree(TEACHER, "other")
    tokenizer = json.loads(Path("other/tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["d"], words["g"] = words["g"], words["d"]
    Path("other/tokenizer.json").write_text(json.dumps(tokenizer))
    assert tune(project, "refused", distil={"teacher": "other"}) == 1
    error = capsys.readouterr().err
    assert "[teacher-vocabulary]" in error
    assert "2 tokens with other ids: 'd', 'g'" in error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"distil": {"teacher": "t", "beta": 0.5}}, "is for 'divergence: jsd'"),
        ({"distil": {"teacher": "t", "top_p": 0.5}}, "own answers"),
        ({"distil": {"teacher": "t"}, "label_smoothing": 0.1}, "learning given tokens"),
        ({"distil": {"teacher": "t"}, "memory": {"budget": "8GiB"}}, "count the teacher"),
        ({"distil": {"teacher": "t", "on_policy": 0.5}, "rows_per_prefix": 4}, "several answers"),
        ({"distil": {"teacher": "t", "on_policy": 0.5}, "mask": "all"}, "no prompt"),
    ],
)
def test_settings_that_cannot_work_are_told(change, said):
    with pytest.raises(ValueError, match=said):
        TuneSettings.model_validate({"model": {"path": "base"}, **change})
