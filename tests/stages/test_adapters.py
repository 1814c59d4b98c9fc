"""Adapters through the stages: pytest tests/stages/test_adapters.py"""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors import safe_open
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from regimen.adapters.files import is_adapter
from regimen.cli import main
from regimen.models.loading import load_model, load_tokenizer
from regimen.stages.models import ModelSpec, load, token_logps
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows

KINDS = {
    "lora": {"r": 4, "learning_rate_ratio": 4.0},
    "eva": {"kind": "lora", "r": 2, "init": "eva"},
    "adalora": {"kind": "adalora", "r": 2, "initial_r": 4},
    "prefix": {"kind": "prefix", "num_virtual_tokens": 3},
    "text": {"kind": "prompt", "num_virtual_tokens": 3, "init": "text", "text": "the dog sees"},
    "houlsby": {"kind": "bottleneck", "placement": "houlsby", "inner": 4},
    "tokens": {"kind": "tokens", "tokens": ["s", "a"]},
    "lisa": {"kind": "lisa", "layers": 1, "interval": 2},
    "freeze": {"kind": "freeze", "layers": 1},
}


def summary(project, name):
    path = project.folder / "runs" / name / "tune" / "summary.json"
    return json.loads(path.read_text())


def logps(path):
    loaded = load(str(path))
    ids = loaded.tokenizer("the a dog sees x cats")["input_ids"]
    rows = token_rows([Rendered(tuple(ids), (0.0, *[1.0] * (len(ids) - 1)))])
    return token_logps(loaded.language_model, rows, bf16=False)[0]


@pytest.mark.matrix
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_trained_and_answers_as_it_was_saved(text_project, name):
    file = text_project.settings(name, adapter=KINDS[name], max_steps=8, learning_rate=0.02)
    assert text_project.run(file) == 0
    final = Path("runs") / name / "tune" / "final"
    before, after = logps("base").mean(), logps(final).mean()
    assert after > before
    own = name in ("lisa", "freeze")
    assert is_adapter(str(final)) is not own
    if name == "lisa":  # all layers in turn, not those of the last draw
        counted = summary(text_project, name)
        assert counted["trainable_parameters"] == counted["parameters"]
    assert (final / "base.json").is_file() is not own
    told = summary(text_project, name)
    assert bool(told.get("not_for_vllm")) is (name not in ("lora", "eva") and not own)


@pytest.mark.parametrize(
    ("tied", "adapter"),
    [
        pytest.param(True, {"r": 4}, id="lora-True"),
        pytest.param(False, {"kind": "tokens"}, id="tokens-False"),
        pytest.param(False, {"r": 4}, id="lora-False", marks=pytest.mark.slow),
        pytest.param(True, {"kind": "tokens"}, id="tokens-True", marks=pytest.mark.slow),
    ],
)
def test_new_tokens_train_as_rows_and_nothing_else_of_the_embedding(text_project, tied, adapter):
    base = text_project.folder / "base"
    if not tied:
        config = json.loads((base / "config.json").read_text())
        untied = LlamaConfig(**{**config, "tie_word_embeddings": False})
        LlamaForCausalLM(untied).save_pretrained(base)
    text = Path("text.txt").read_text().replace("sees", "<|sees|>").replace("cats", "<cats>")
    Path("text.txt").write_text(text)
    model = {"path": "base", "new_tokens": ["<|sees|>", "<cats>"]}
    file = text_project.settings("grown", model=model, adapter=adapter, learning_rate=0.05)
    assert text_project.run(file) == 0
    final = text_project.folder / "runs/grown/tune/final"
    old, new = AutoTokenizer.from_pretrained(base), AutoTokenizer.from_pretrained(final)
    ids = new.convert_tokens_to_ids(["<|sees|>", "<cats>"])
    assert ids == [len(old), len(old) + 1]
    assert ids[0] in new("dog<|sees|>x")["input_ids"]
    with safe_open(final / "adapter_model.safetensors", "pt") as adapter_file:
        shapes = {name: adapter_file.get_slice(name).get_shape() for name in adapter_file.keys()}  # noqa: SIM118
    vocabulary = {n: s for n, s in shapes.items() if "embed_tokens" in n or "lm_head" in n}
    # beside LoRA, PEFT writes tied rows once
    assert len(vocabulary) == (1 if tied and "r" in adapter else 2)
    assert set(map(tuple, vocabulary.values())) == {(2, 32)}
    loaded, plain = load(str(final)), load_model(ModelSpec(path=str(base)))
    weight = loaded.language_model.model.get_base_model().get_input_embeddings().weight
    assert torch.equal(weight[: len(old)], plain.get_input_embeddings().weight)
    assert load_tokenizer(str(final)).get_vocab() == new.get_vocab()


def test_without_an_adapter_new_tokens_are_rows_of_the_whole_model(text_project):
    model = {"path": "base", "new_tokens": ["<cats>"]}
    assert text_project.run(text_project.settings("whole", model=model)) == 0
    final = text_project.folder / "runs/whole/tune/final"
    size = len(AutoTokenizer.from_pretrained("base"))
    assert load_model(ModelSpec(path=str(final))).get_input_embeddings().weight.shape[0] == size + 1


def test_kinds_that_train_no_rows_say_so(text_project, capfd):
    model = {"path": "base", "new_tokens": ["<cats>"]}
    file = text_project.settings("no", model=model, adapter={"kind": "ia3"})
    assert text_project.run(file) == 1
    said = capfd.readouterr().err
    assert "cannot train the rows of new tokens" in said
    assert "adapter.kind: lora" in said


BAD = {
    "r: 0": ({"r": 0}, "tune.adapter.r"),
    "alpha: nan": ({"alpha": float("nan")}, "tune.adapter.alpha"),
    "alpha: 0": ({"alpha": 0}, "tune.adapter.alpha"),
    "dropout: 1": ({"dropout": 1.0}, "tune.adapter.dropout"),
    "kind": ({"kind": "lroa"}, "tune.adapter.kind"),
    "another's field": ({"kind": "ia3", "r": 4}, "tune.adapter.r"),
    "names": ({"rank": 4}, "tune.adapter.rank"),
    "text": ({"kind": "prompt", "init": "text"}, "tune.adapter.text"),
    "ranks": ({"kind": "adalora", "r": 8, "initial_r": 8}, "tune.adapter.initial_r"),
    "loftq": ({"init": "loftq"}, "tune.adapter.init"),
    "dora and pissa": ({"use_dora": True, "init": "pissa"}, "tune.adapter.init"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_name_their_place(text_project, name, capfd):
    adapter, place = BAD[name]
    assert text_project.run(text_project.settings("bad", adapter=adapter)) == 1
    said = capfd.readouterr().err
    assert place in said
    assert "Traceback" not in said


def test_all_that_is_wrong_is_told_at_once(text_project, capfd):
    adapter = {"r": 0, "alpha": float("nan"), "dropout": -1, "init": "pisa"}
    assert text_project.run(text_project.settings("bad", adapter=adapter)) == 1
    said = capfd.readouterr().err
    for field in adapter:
        assert f"tune.adapter.{field}" in said
    assert "'pissa'" in said


@pytest.mark.parametrize(
    ("targets", "says"),
    [(["q_prj"], "Did you mean 'q_proj'"), (["lm_head"], "matches no module"), ("atention", "")],
)
def test_a_misspelt_target_is_told_with_near_ones(text_project, targets, says, capfd):
    file = text_project.settings("bad", adapter={"target_modules": targets})
    assert text_project.run(file) == 1
    said = capfd.readouterr().err
    assert says in said
    assert "target_modules" in said or "adapter target" in said


def test_a_truncated_adapter_and_one_of_another_base_are_told(text_project, capfd):
    assert text_project.run(text_project.settings("a", adapter={"r": 2})) == 0
    goes_on = {"path": "runs/a/tune/final"}
    base = load_model(ModelSpec(path="base"))
    with torch.no_grad():
        base.model.norm.weight.add_(1.0)
    base.save_pretrained("base")
    capfd.readouterr()
    assert text_project.run(text_project.settings("b", model=goes_on)) == 1
    assert "trained on another base" in capfd.readouterr().err
    with torch.no_grad():
        base.model.norm.weight.sub_(1.0)
    base.save_pretrained("base")
    file = text_project.folder / "runs/a/tune/final/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    assert text_project.run(text_project.settings("b", model=goes_on)) == 1
    assert "adapter cannot be read" in capfd.readouterr().err


# -- several ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_adapters(shared_project):
    for name, rate in (("one", 0.02), ("two", -1)):
        more = {"adapter": {"r": 2}, "learning_rate": abs(rate), "max_steps": 6}
        if rate < 0:
            more |= {"adapter": {"r": 4}, "seed": 7, "learning_rate": 0.05}
        assert shared_project.run(shared_project.settings(name, **more)) == 0
    rows = [
        {"prompt": f"the {a} dog", "references": ["x"], "task": "cats" if a < "d" else "dogs"}
        for a in "abcdef"
    ]
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return shared_project


def command(*arguments):
    try:
        main(list(map(str, arguments)))
    except SystemExit as stopped:
        return stopped.code
    return 0


def final(name):
    return f"runs/{name}/tune/final"


def answers(name, tuned):
    suites = [{"name": "mine", "format": "items", "path": "mine.jsonl", "max_new_tokens": 6}]
    section = {"base": "base", "tuned": tuned, "suites": suites, "max_new_tokens": 6}
    Path(f"{name}.yaml").write_text(yaml.safe_dump({"run": f"runs/{name}", "evaluate": section}))
    assert command("run", f"{name}.yaml") == 0
    rows = pq.read_table(f"runs/{name}/evaluate/answers.parquet").to_pylist()
    return {
        (row["task"], row["item_id"]): row["answer"] for row in rows if row["system"] == "tuned"
    }


def test_rows_are_answered_by_the_adapter_of_their_task(two_adapters, capfd):
    use = ["--use", "cats=one", "--use", "dogs=two"]
    assert (
        command("combine", final("one"), final("two"), "--out", "routed", "--by", "task", *use) == 0
    )
    one, two = answers("by-one", final("one")), answers("by-two", final("two"))
    routed = answers("by-both", "routed")
    assert one != two
    assert routed == {key: (one if key[0] == "cats" else two)[key] for key in routed}
    assert {task for task, _ in routed} == {"cats", "dogs"}


def test_adapters_become_one_and_part_of_the_base(two_adapters, capfd):
    both = [f"a={final('one')}", f"b={final('two')}"]
    assert (
        command(
            "combine", *both, "--out", "sum", "--weight", 1, "--weight", 0, "--how", "cat", "--json"
        )
        == 0
    )
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert told["kind"] == "adapter"
    assert told["weights"] == {"a": 1.0, "b": 0.0}
    torch.testing.assert_close(logps("sum"), logps(final("one")), atol=1e-5, rtol=1e-5)
    assert command("combine", "sum", "--merged", "--out", "merged") == 0
    torch.testing.assert_close(logps("merged"), logps("sum"), atol=1e-5, rtol=1e-5)
    assert not is_adapter("merged")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["base", "--out", "x"], "is no adapter"),
        ([final("one"), final("one"), "--out", "x"], "one name"),
        ([final("one"), final("two"), "--out", "x", "--how", "tise"], "ties"),
        ([final("one"), final("two"), "--out", "x", "--by", "tsk", "--use", "a=one"], "task"),
        ([final("one"), final("two"), "--out", "x", "--by", "task", "--use", "a=three"], "three"),
        ([final("one"), "--out", "x", "--use", "a=one"], "--by"),
        ([final("one"), final("two"), "--out", "x", "--weight", "1"], "1 weights, 2 adapters"),
        ([final("one"), final("two"), "--out", "x", "--merged"], "Combine them first"),
        ([final("one"), "--out", "base"], "something in this folder"),
    ],
)
def test_what_cannot_be_combined_is_told(two_adapters, arguments, says, capfd):
    assert command("combine", *arguments) == 1
    said = capfd.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert not Path("x").exists()
