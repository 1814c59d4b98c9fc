"""pytest tests/stages/test_bad_input.py: what a newcomer may type or bring, end to end."""

import json

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from regimen.cli import main
from regimen.instances.templates import TemplateWorker
from regimen.tokens.bpe import train_tokenizer

CHAT = {
    "messages": [
        {"role": "user", "content": "what is red ?"},
        {"role": "assistant", "content": "a colour"},
    ]
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tokenizer = train_tokenizer(["what is red ? a colour it is"] * 20, 300)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_file(here, build=None, tune=None):
    body = {"run": "run"}
    if build is not None:
        body["build"] = build
    if tune is not None:
        body["tune"] = tune
    (here / "regimen.yaml").write_text(yaml.safe_dump(body))


def fails(capsys, *arguments):
    """Run the command; it must fail with a readable error and no traceback."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    text = capsys.readouterr().err
    assert stopped.value.code == 1
    assert "Traceback" not in text
    assert "fix" in text or "expected" in text
    return text


def runs(*arguments):
    """Run the command; its exit status."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


def ledger(here):
    return json.loads((here / "run/build/ledger/summary.json").read_text())


def build_only(here, *paths, **more):
    settings_file(here, build={"sources": [{"path": p} for p in paths], **more})
    with pytest.raises(SystemExit) as stopped:
        main(["build", "regimen.yaml"])
    return stopped.value.code


def test_an_unknown_settings_key_is_answered_with_the_near_one(here, capsys):
    (here / "regimen.yaml").write_text("build:\n  sources:\n    - {pth: x.jsonl}\n")
    text = fails(capsys, "build", "regimen.yaml")
    assert "regimen.yaml:3" in text
    assert "path" in text


def test_a_missing_file_is_answered_with_the_near_one(here, capsys):
    (here / "chats.jsonl").write_text(json.dumps(CHAT))
    settings_file(here, build={"sources": [{"path": "chat.jsonl"}]})
    assert "chats.jsonl" in fails(capsys, "build", "regimen.yaml")


def test_an_empty_file_is_an_error(here, capsys):
    (here / "chats.jsonl").write_text("")
    settings_file(here, build={"sources": [{"path": "chats.jsonl"}]})
    assert "chats.jsonl" in fails(capsys, "build", "regimen.yaml")


def test_broken_rows_and_rows_without_an_answer_are_counted_with_their_line(here):
    rows = [json.dumps(CHAT), "{not json", json.dumps({"messages": [CHAT["messages"][0]]})]
    (here / "chats.jsonl").write_text("\n".join(rows))
    assert build_only(here, "chats.jsonl") == 0
    step = next(iter(ledger(here).values()))
    assert step["in"] == 3
    assert step["kept"] == 1
    assert sum(step["failed"].values()) + sum(step["removed"].values()) == 2
    lines = "".join(p.read_text() for p in (here / "run/build/ledger").glob("*.failed.jsonl"))
    assert ":2" in lines
    assert "fix" in lines


TASK = """
name: t
family: f
licence: CC0-1.0
definition: Repeat it.
templates:
  - {{name: bad, input: "{template}"}}
  - {{name: good, input: "Say {{{{ input }}}}"}}
instances:
  - {{input: red, output: red}}
  - {{input: blue, output: blue}}
"""


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{{ inputt }}", "template_missing_column"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "time"),
        ("{{ 'a' * 10 ** 10 }}", "memory"),
        ("{{ input.__class__ }}", "attribute"),
    ],
)
def test_a_template_that_misbehaves_costs_its_own_rows_only(here, monkeypatch, template, error):
    monkeypatch.setitem(TemplateWorker.__init__.__kwdefaults__, "row_seconds", 0.3)
    (here / "t.yaml").write_text(TASK.format(template=template))
    more = {"formatting": {"encoding": "template", "templates": "all"}, "lints": False}
    assert build_only(here, "t.yaml", **more) == 0
    step = ledger(here)["format"]
    assert step["kept"] == 2
    assert sum(step["failed"].values()) == 2
    assert all(error in name for name in step["failed"]), step["failed"]


LONG = {"messages": [{"role": "user", "content": "red " * 200}, CHAT["messages"][1]]}


def tune_chats(here, base, chats, **more):
    (here / "chats.jsonl").write_text("\n".join(map(json.dumps, chats)))
    settings_file(
        here,
        build={"sources": [{"path": "chats.jsonl"}]},
        tune={"model": {"path": str(base)}, "max_length": 64, "max_steps": 1, **more},
    )


def test_a_conversation_longer_than_the_context_is_removed_counted_and_kept_on_disk(here, base):
    tune_chats(here, base, [CHAT, LONG], max_lost_share=0.5)
    assert runs("run", "regimen.yaml") == 0
    counts = json.loads((here / "run/tune/rendering.json").read_text())
    assert (counts["in"], counts["kept"], counts["failed"]) == (2, 1, {})
    assert counts["removed"] == {"longer_than_max_length": 1}
    assert counts["overflow"]["lost_share"] == 0.5
    ledger = here / "run/tune/ledger"
    assert json.loads((ledger / "summary.json").read_text())["rendering"]["kept"] == 1
    (removed,) = pq.read_table(ledger / "01-rendering.removed.parquet").to_pylist()
    assert removed["source"] == "chats.jsonl"
    assert json.loads(removed["record"])["messages"][0]["content"] == LONG["messages"][0]["content"]


def test_a_run_that_would_lose_too_much_is_refused_before_step_0(here, base, capsys):
    tune_chats(here, base, [CHAT, LONG])
    text = fails(capsys, "run", "regimen.yaml")
    assert "overflow-loss" in text
    assert "3 of 6 supervised tokens (50.0%), in 1 of 2 conversations" in text
    assert "at most 10.0% (tune.max_lost_share)" in text
    assert "tune.overflow to split" in text
    assert not (here / "run/tune/metrics.jsonl").exists()
    assert (here / "run/tune/ledger/01-rendering.removed.parquet").is_file()


def test_a_context_shorter_than_max_length_is_an_error(here, base, capsys):
    (here / "chats.jsonl").write_text(json.dumps(CHAT))
    settings_file(
        here,
        build={"sources": [{"path": "chats.jsonl"}]},
        tune={"model": {"path": str(base)}, "max_length": 128, "max_steps": 1},
    )
    text = fails(capsys, "run", "regimen.yaml")
    assert "64" in text
    assert "max_length" in text


def test_a_vocabulary_that_disagrees_with_its_tokenizer_is_an_error(here, base, tmp_path, capsys):
    other = tmp_path / "other"
    words = [f"w{a}{b} {a}{b}{a}" for a in "abcdefgh" for b in "ijklmnop"]
    bigger = train_tokenizer(words * 9, 330)
    assert len(bigger) == 330
    bigger.save_pretrained(other)
    (here / "chats.jsonl").write_text(json.dumps(CHAT))
    settings_file(
        here,
        build={"sources": [{"path": "chats.jsonl"}]},
        tune={"model": {"path": str(base), "tokenizer": str(other)}, "max_length": 64},
    )
    text = fails(capsys, "run", "regimen.yaml")
    assert "vocabulary" in text
    assert "300" in text


def test_a_stage_without_its_predecessor_says_what_to_run(here, base, capsys):
    (here / "chats.jsonl").write_text(json.dumps(CHAT))
    settings_file(
        here,
        build={"sources": [{"path": "chats.jsonl"}]},
        tune={"model": {"path": str(base)}, "max_length": 64},
    )
    assert "regimen build" in fails(capsys, "tune", "regimen.yaml")
