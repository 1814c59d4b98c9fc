"""Choices and calibration of real models. Run: pytest tests/stages/test_evaluate_choices.py"""

import json

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.small_models import PADDED, make
from regimen.protocols import Alternatives, Likelihoods
from regimen.records import Message
from regimen.stages.likelihoods import LocalLikelihoods
from regimen.stages.models import LazyGenerator, load

ANSWERS = ("the dog", "a cat sees", "dogs", "the dog sees cats")
USER = Message(role="user", content="the a dog sees what ?")


def likelihoods(folder, **more):
    return LocalLikelihoods(LazyGenerator("m", lambda: load(str(folder))), **more)


def expected(folder, prompt, continuations):
    """By transformers' own full logits, one row each, ids already cut in two."""
    network = AutoModelForCausalLM.from_pretrained(folder)
    network.resize_token_embeddings(len(load(str(folder)).tokenizer))
    network.load_state_dict(load(str(folder)).language_model.model.state_dict(), strict=False)
    found = []
    for ids in continuations:
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0]
        logp = logits.float().log_softmax(-1)[len(prompt) - 1 : -1]
        found.append(float(logp.gather(1, torch.tensor(ids)[:, None]).sum()))
    return found


def asked(id_, **more):
    return Alternatives(id=id_, answers=ANSWERS, **more)


def test_chat_and_plain_text_are_what_full_logits_say(text_project):
    base = text_project.folder / "base"
    source = likelihoods(base, chunk=1)
    assert isinstance(source, Likelihoods)
    found = dict(
        source.answer_logps(
            [asked("chat", messages=(USER,)), asked("text", text="the a dog sees what ?\nOutput:")]
        )
    )
    tokenizer = load(str(base)).tokenizer

    def encode(text):
        return tokenizer(text, add_special_tokens=False).input_ids

    # ChatML, written out by hand: a choice is the whole turn with its end.
    turn = encode(f"<|im_start|>user\n{USER.text}<|im_end|>\n<|im_start|>assistant\n")
    answers = [encode(f"{answer}<|im_end|>") for answer in ANSWERS]
    assert found["chat"].logps == pytest.approx(expected(base, turn, answers), abs=1e-4)
    assert found["chat"].tokens == tuple(map(len, answers))
    plain = encode("the a dog sees what ?\nOutput:")
    answers = [encode(answer) for answer in ANSWERS]
    assert found["text"].logps == pytest.approx(expected(base, plain, answers), abs=1e-4)


@pytest.mark.parametrize("name", ["bloom", "mamba"])
def test_models_without_flat_batches_too(text_project, name):
    base = text_project.folder / "base"
    tokenizer = AutoTokenizer.from_pretrained(base)
    make(name, {**PADDED[name], "vocab_size": len(tokenizer)}).save_pretrained(
        text_project.folder / name
    )
    tokenizer.save_pretrained(text_project.folder / name)
    folder = text_project.folder / name
    found = dict(likelihoods(folder).answer_logps([asked("text", text="the cat")]))
    prompt = tokenizer("the cat", add_special_tokens=False).input_ids
    rests = [tokenizer(answer, add_special_tokens=False).input_ids for answer in ANSWERS]
    assert found["text"].logps == pytest.approx(expected(folder, prompt, rests), abs=1e-4)


def test_what_cannot_be_asked_is_an_error_of_its_own(text_project):
    source = likelihoods(text_project.folder / "base")
    long = "the dog sees cats " * 100
    found = dict(
        source.answer_logps(
            [asked("long", text=long), asked("fits", text="the"), asked("empty", text="")]
        )
    )
    assert "context of 128" in found["long"].error
    assert "no tokens" in found["empty"].error
    assert len(found["fits"].logps) == 4


TASK = """
name: {name}
definition: Say which animal is named first.
options: [dog, cat, hen]
positive:
  - {{input: "a cat", output: cat}}
instances:
"""


@pytest.fixture
def project(text_project):
    animals = ("dog", "cat", "hen")
    rows = [
        f'  - {{input: "the {a} and the {b}, number {n}", output: {a}}}'
        for n in range(2)
        for a in animals
        for b in animals
        if a != b
    ]
    for name in ("first", "again", "other"):
        text = TASK.format(name=name) + "\n".join(rows)
        (text_project.folder / f"{name}.yaml").write_text(text)
    settings = {
        "run": "run",
        "build": {
            "sources": [{"path": f"{name}.yaml"} for name in ("first", "again", "other")],
            "held_out": {"tasks": ["other"]},
        },
        "tune": {
            "model": {"path": "base"},
            "max_steps": 2,
            "learning_rate": 0.01,
            "tokens_per_batch": 256,
            "max_length": 128,
            "precision": "fp32",
        },
        "evaluate": {
            "max_new_tokens": 4,
            "shots": [1],
            "validation_items": 4,
            "systems": ["base", "base_prompted", "tuned"],
            "choices": {"premise": "So:"},
        },
    }
    (text_project.folder / "all.yaml").write_text(yaml.safe_dump(settings))
    return text_project


def test_an_evaluation_ranks_the_choices_of_every_model(project):
    assert project.run("all.yaml") == 0
    body = json.loads((project.folder / "run/evaluation.json").read_text())
    (suite,) = body["suites"].values()
    choices = suite["choices"]
    assert choices["items"] == suite["items"]
    assert choices["refused"] == {}
    assert choices["chance"] == pytest.approx(1 / 3)
    assert set(choices["systems"]) == {"base", "base_prompted", "tuned"}
    for entry in choices["systems"].values():
        assert entry["failed"] == 0
        for metric in ("choice_logp", "choice_per_byte", "choice_per_token", "choice_pmi"):
            assert 0 <= entry[metric]["score"] <= 1
    assert set(choices["paired"]) == {"tuned-base", "tuned-base_prompted"}
    calibration = suite["calibration"]["tuned"]
    assert calibration["choices"]["items"] == calibration["answers"]["items"] == suite["items"]
    assert calibration["choices"]["temperature"]["value"] > 0
    rows = pq.read_table(project.folder / "run/evaluate/choices.parquet").to_pylist()
    assert len(rows) == 3 * 3 * suite["items"]
    assert all(row["logp"] < 0 and row["premise_logp"] < 0 for row in rows)
    per_item = {(row["item_id"], row["system"]): 0 for row in rows}
    for row in rows:
        per_item[row["item_id"], row["system"]] += row["right"]
    assert set(per_item.values()) == {1}
