"""pytest tests/stages/test_pipeline.py"""

import json
import shutil
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from regimen.cli import main
from regimen.tokens.bpe import train_tokenizer

COLOURS = ("red", "blue", "green", "grey", "pink", "gold")
TASK = """
name: first
family: pick
licence: CC0-1.0
definition: Name the first colour.
templates:
  - {name: short, input: "First of {{ input }}:"}
positive:
  - {input: "red, blue", output: red, explanation: red comes first}
  - {input: "gold, pink", output: gold}
instances:
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    texts = ["Name the first colour. " + ", ".join(COLOURS) + ". what is it ? it is here"] * 40
    tokenizer = train_tokenizer(texts, 340)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=3,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def project(tmp_path, base, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_project(tmp_path, base)


def write_project(tmp_path, base):
    """Sources and settings of a whole line in a folder."""
    rows = [f'  - {{input: "{a}, {b}", output: {a}}}' for a in COLOURS for b in COLOURS if a != b]
    for name in ("first", "other"):
        text = TASK.replace("name: first", f"name: {name}") + "\n".join(rows)
        (tmp_path / f"{name}.yaml").write_text(text)
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"what is {a} ?"},
                {"role": "assistant", "content": f"{a} it is"},
            ]
        }
        for a in COLOURS
    ]
    (tmp_path / "chats.jsonl").write_text("\n".join(json.dumps(c) for c in chats))
    pairs = [{"prompt": f"what is {a} ?", "chosen": "it is", "rejected": "here"} for a in COLOURS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(p) for p in pairs))
    settings = {
        "run": "run",
        "build": {
            "sources": [{"path": n} for n in ("first.yaml", "other.yaml", "chats.jsonl")]
            + [{"path": "pairs.jsonl"}],
            "held_out": {"tasks": ["other"]},
            "formatting": {"encoding": "mixed"},
        },
        "tune": {
            "model": {"path": str(base)},
            "max_steps": 3,
            "learning_rate": 0.01,
            "tokens_per_batch": 256,
            "max_length": 128,
            "logging_steps": 1,
            "save_steps": 2,
            "precision": "fp32",
        },
        "align": {
            "max_steps": 2,
            "learning_rate": 0.001,
            "tokens_per_batch": 256,
            "max_length": 128,
            "precision": "fp32",
        },
        "evaluate": {"max_new_tokens": 4, "shots": [0, 1], "validation_items": 4},
    }
    (tmp_path / "regimen.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory, base):
    """A project whose line was run, and what that said. Shared: run in a copy."""
    folder, said = write_project(tmp_path_factory.mktemp("whole"), base), StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(said):
        patched.chdir(folder)
        with pytest.raises(SystemExit) as stopped:
            main(["run", "regimen.yaml", "--json"])
    assert stopped.value.code == 0, said.getvalue()
    return folder, json.loads(said.getvalue().strip().splitlines()[-1])


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["run", "regimen.yaml", "--json", *arguments])
    out = capsys.readouterr()
    assert stopped.value.code == 0, out.err
    return json.loads(out.out.strip().splitlines()[-1])


def reused(result):
    return {stage: entry["reused"] for stage, entry in result["stages"].items()}


def test_the_whole_line_then_nothing_then_what_a_template_changes(
    whole, tmp_path, monkeypatch, capsys
):
    made, first = whole
    project = shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(project)
    assert reused(first) == dict.fromkeys(("build", "tune", "align", "evaluate"), False)
    for name in ("evaluation.json", "ledger/summary.json", "manifest.json", "settings.yaml"):
        assert (project / "run" / name).is_file(), name
    for step in json.loads((project / "run/ledger/summary.json").read_text()).values():
        out = step["kept"] + sum(step["removed"].values()) + sum(step["failed"].values())
        assert step["in"] == out
    body = json.loads((project / "run/evaluation.json").read_text())
    assert next(iter(body)) in ("changed", "schema_version")
    assert body["changed"]["mean_abs_delta_logp"] > 0
    systems = body["suites"]["unseen_tasks"]["systems"]
    assert set(systems) == {
        "base",
        "base_prompted",
        "tuned",
        "aligned",
        "copy_input",
        "copy_demonstration",
    }
    contamination = body["suites"]["unseen_tasks"]["contamination"]
    learnt = ["build/instances.parquet", "build/preferences.parquet"]
    assert contamination["against"]["files"] == learnt
    assert set(contamination["score_clean"]) == set(systems)
    assert (project / "run/evaluate/nearest.parquet").is_file()
    assert (project / "run/tune/checkpoint-2").is_dir()
    lines = (project / "run/tune/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]

    assert reused(run(capsys)) == dict.fromkeys(("build", "tune", "align", "evaluate"), True)

    task = project / "first.yaml"
    task.write_text(task.read_text().replace("First of", "The first of"))
    changed = reused(run(capsys))
    # the preferences do not depend on the template, but the policy that they start from does
    assert changed == dict.fromkeys(("build", "tune", "align", "evaluate"), False)

    chats = project / "pairs.jsonl"
    chats.write_text(chats.read_text().replace('"here"', '"here it is"'))
    assert reused(run(capsys)) == {
        "build": False,
        "tune": True,
        "align": False,
        "evaluate": False,
    }


def test_two_runs_from_the_same_settings_are_equal_to_the_byte(project, capsys):
    rule = "def longer(prompt, a, b):\n    return (len(a) > len(b)) - (len(a) < len(b))\n"
    (project / "rules.py").write_text(rule)
    judge = "evaluate.judge={function: {file: rules.py, function: longer}}"
    run(capsys, judge)
    run(capsys, judge, "run=again")
    for name in (
        "build/instances.parquet",
        "tune/final/model.safetensors",
        "evaluation.json",
        "evaluate/judgements.parquet",
    ):
        assert (project / "run" / name).read_bytes() == (project / "again" / name).read_bytes()
    body = json.loads((project / "run/evaluation.json").read_text())
    assert body["judge"]["unseen_tasks"]["tuned-base"]["failed"] == 0
    assert body["judged_by"]["name"] == "longer"


@pytest.mark.parametrize("quantise", [pytest.param("null", marks=pytest.mark.slow), "nf4"])
def test_an_adapter_is_tuned_aligned_and_loads_in_peft(project, base, capsys, quantise):
    from peft import PeftModel

    run(
        capsys,
        "tune.adapter={kind: lora, r: 4}",
        f"tune.quantise={quantise}",
        f"align.quantise={quantise}",
        *(["align.adapter={kind: lora, r: 4}"] if quantise == "nf4" else []),
    )
    final = project / "run/tune/final"
    assert (final / "adapter_model.safetensors").is_file()
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), final)
    names = [name for name, _ in model.named_parameters() if "lora_B" in name]
    assert any(dict(model.named_parameters())[name].abs().sum() > 0 for name in names)


def test_a_full_checkpoint_loads_in_transformers_untouched(whole):
    project, _ = whole
    for folder in ("tune/final", "align/final", "tune/checkpoint-2"):
        model = AutoModelForCausalLM.from_pretrained(project / "run" / folder)
        tokenizer = AutoTokenizer.from_pretrained(project / "run" / folder)
        assert model.config._attn_implementation != "regimen_ragged"
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": "what is red ?"}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        out = model.generate(**ids, max_new_tokens=4, do_sample=False)
        assert out.shape[1] <= ids["input_ids"].shape[1] + 4
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert end in model.generation_config.eos_token_id


def test_nothing_changed_is_an_error_not_a_score(project, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["run", "regimen.yaml", "tune.learning_rate=1e-30", "align=null"])
    assert stopped.value.code == 1
    assert "nothing changed" in capsys.readouterr().err


def test_rows_are_held_out_where_there_are_no_tasks(project, capsys):
    sources = "[{path: chats.jsonl}, {path: pairs.jsonl}]"
    result = run(
        capsys,
        f"build.sources={sources}",
        "build.held_out={share: 0.4}",
        "align=null",
        "evaluate.shots=[0]",
    )
    suite = result["stages"]["evaluate"]["summary"]["suites"]["unseen_rows"]
    kept = result["stages"]["build"]["summary"]["instances"]
    assert suite["items"] + kept == len(COLOURS)
    assert 0 < suite["items"] < len(COLOURS)
