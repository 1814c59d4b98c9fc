"""pytest tests/stages/test_align.py: align by method, data and reference."""

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from helpers.pairs import COMMON, PAIRS, said
from regimen.alignment.reference import reference_logps
from regimen.models.forward import prepare
from regimen.models.loading import ModelSpec, load_model
from regimen.objectives.answers import AnswerObjective
from regimen.records import Labelled, Preference, Ranked
from regimen.tables import (
    labelled_to_table,
    preferences_to_table,
    ranked_to_table,
    write_table,
)
from regimen.tokens.store import load_token_rows

LABELLED = [
    Labelled(prompt=one.prompt, answer=answer, desirable=good, lineage=one.lineage)
    for one in PAIRS
    for answer, good in ((one.chosen, True), (one.rejected, False))
]
RANKED = [
    Ranked(
        prompt=one.prompt,
        answers=(one.rejected, one.chosen, said("cats")),
        scores=(-1.0, 2.0, 0.5),
        lineage=one.lineage,
    )
    for one in PAIRS
]


@pytest.fixture
def project(text_project):
    data = text_project.folder / "data"
    write_table(data / "preferences.parquet", preferences_to_table(PAIRS))
    return text_project


def align(project, name="r", **changes):
    """Run; the exit status."""
    section = {**COMMON, "model": {"path": "base"}, "data": "data", **changes}
    file = project.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"run": f"runs/{name}", "align": section}))
    return project.run(file.name)


def told(name="r"):
    return json.loads(Path(f"runs/{name}/align/summary.json").read_text())


def logged(name="r"):
    lines = Path(f"runs/{name}/align/metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "method",
    [
        {"method": "ipo", "beta": 0.5},
        {"method": "kto"},
        {"method": "rrhf"},
        {"method": [{"name": "dpo", "divergence": "js"}, {"name": "sft", "weight": 0.2}]},
    ],
    ids=["ipo", "kto", "rrhf", "sum"],
)
def test_pairs_train_methods_of_every_form(project, method):
    assert align(project, **method) == 0
    first, last = logged()[0], logged()[-1]
    gain = last["rewards/chosen"] - first["rewards/chosen"]
    assert gain > last["rewards/rejected"] - first["rewards/rejected"]
    summary = told()
    forms = {"kto": ("rows", 2 * len(PAIRS)), "rrhf": ("rows", len(PAIRS))}
    name, count = forms.get(str(method["method"]), ("pairs", len(PAIRS)))
    assert summary[name] == count
    if method["method"] == "rrhf":
        assert "reference" not in summary
    else:
        assert summary["logratio_at_start"] < 1e-4
        assert set(summary["reference"]) == {"base", "adapter", "dtype", "precision", "reused"}
    if isinstance(method["method"], list):
        assert last["sft"] > 0 < last["dpo"]
        assert last["loss"] == pytest.approx(last["dpo"] + last["sft"], rel=1e-5)


def test_labels_and_lists_are_read_from_files_of_their_own(project):
    data = project.folder / "data"
    write_table(data / "labelled.parquet", labelled_to_table(LABELLED))
    assert align(project, method="bco") == 0
    assert told()["labels"] == {"desirable": len(PAIRS), "undesirable": len(PAIRS)}
    write_table(data / "ranked.parquet", ranked_to_table(RANKED))
    assert align(project, "ranked", method="slic", delta=0.5) == 0
    rows = load_token_rows(Path("runs/ranked/align/tokens.arrow"))
    assert (rows.parents >= 0).sum() == 3 * len(RANKED)


def test_conditions_are_read_and_answers_learnt(project):
    assert align(project, method="chain_of_hindsight", good="well", bad="badly") == 0
    assert told()["condition"] == "well"
    assert logged()[-1]["loss"] < logged()[0]["loss"]
    write_table(project.folder / "data/ranked.parquet", ranked_to_table(RANKED))
    assert align(project, "quark", method="quark", quantiles=3) == 0
    assert told("quark")["condition"] == "<|reward_3|>"
    rows = load_token_rows(Path("runs/quark/align/tokens.arrow"))
    assert len(rows) == 3 * len(RANKED)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("runs/quark/align/final")
    best = tokenizer.convert_tokens_to_ids("<|reward_3|>")
    assert (rows.ids == best).sum() == len(RANKED)
    assert not rows.weights[rows.ids == best].any()


def test_what_nothing_can_be_learnt_from_is_counted(project):
    bad = [
        Preference(prompt=PAIRS[0].prompt, chosen=said("same"), rejected=said("same")),
        Preference(prompt=PAIRS[0].prompt, chosen=said(""), rejected=said("cats")),
    ]
    table = preferences_to_table([*PAIRS, *bad])
    write_table(project.folder / "data/preferences.parquet", table)
    assert align(project) == 0
    assert told()["rendering"]["removed"] == {"equal_answers": 1, "empty_answer": 1}
    tied = [Ranked(prompt=PAIRS[0].prompt, answers=(said("a"), said("b")), scores=(1.0, 1.0))]
    write_table(project.folder / "data/ranked.parquet", ranked_to_table([*RANKED, *tied]))
    assert align(project, "ranked", method="rrhf") == 0
    assert told("ranked")["rendering"]["removed"] == {"tied_answers": 1}


def with_margins(project, margins):
    some = [replace(one, margin=by) for one, by in zip(PAIRS, margins, strict=False)]
    write_table(project.folder / "data/preferences.parquet", preferences_to_table(some))


def test_margins_are_the_offsets_of_pairs(project):
    with_margins(project, [3.0] * len(PAIRS))
    assert align(project, "dpo", beta=0.5) == 0
    assert align(project, method="odpo", beta=0.5, offset_weight=2.0) == 0
    assert align(project, "same", method="odpo", beta=0.5, offset_scale="identity") == 0
    first, last = logged()[0], logged()[-1]
    # at the reference the loss is that of the offset alone
    assert first["loss"] == pytest.approx(math.log1p(math.exp(2 * math.log(3.0))), rel=1e-4)
    assert logged("same")[0]["loss"] == pytest.approx(math.log1p(math.exp(3.0)), rel=1e-4)
    assert last["loss"] < first["loss"]
    assert last["rewards/margins"] > logged("dpo")[-1]["rewards/margins"] > 0


def test_pairs_without_a_margin_that_can_be_used_are_counted(project, capfd):
    with_margins(project, [2.0, None, None, 0.0, 1.0, 0.5])
    assert align(project, method=[{"name": "odpo"}, {"name": "sft", "weight": 0.1}]) == 0
    assert told()["rendering"]["removed"] == {"no_margin": 2, "bad_margin": 1}
    assert told()["pairs"] == 3
    said = capfd.readouterr()
    assert "2 of 6 pairs are left out: no_margin" in said.out + said.err
    assert align(project, "same", method="odpo", offset_scale="identity") == 0
    assert told("same")["rendering"]["removed"] == {"no_margin": 2}
    assert align(project, "dpo") == 0
    assert told("dpo")["rendering"]["removed"] == {}
    with_margins(project, [None] * 5)
    assert align(project, "none", method="odpo") == 1
    assert "no-margins" in capfd.readouterr().err


def test_files_of_another_kind_and_answers_of_one_label_are_refused(project, capfd):
    data = project.folder / "data"
    write_table(data / "labelled.parquet", labelled_to_table(LABELLED[::2]))
    assert align(project, data="data/labelled.parquet") == 1
    error = capfd.readouterr().err
    assert "records-kind" in error
    assert "preferences.parquet" in error
    assert align(project, method="kto", data="data/labelled.parquet") == 1
    assert "one-label" in capfd.readouterr().err


def test_another_training_on_the_same_rows_takes_the_reference_again(project):
    assert align(project) == 0
    assert not told()["reference"]["reused"]
    assert align(project, beta=0.3) == 0
    assert told()["reference"]["reused"]
    assert len(list(Path("runs/r/reference").iterdir())) == 1
    assert align(project, method="simpo") == 0
    assert "reference" not in told()
    model = yaml.safe_load(Path("r.yaml").read_text())["align"]["model"]
    assert align(project, model=model, data="data", max_length=32) == 0
    assert told()["reference"]["reused"]  # the rows are the same


def interrupted(project, monkeypatch, name, after, **changes):
    """Run until SIGTERM comes in a step."""
    given, calls = AnswerObjective.weights, []

    def sending(self, batch):
        calls.append(0)
        if len(calls) == after:
            os.kill(os.getpid(), signal.SIGTERM)
        return given(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(AnswerObjective, "weights", sending)
        assert align(project, name, save_steps=1, **changes) == 143


@pytest.mark.parametrize("method", ["kto", pytest.param("orpo", marks=pytest.mark.slow)])
def test_an_interrupted_training_goes_on_to_the_same_weights(project, monkeypatch, method):
    assert align(project, "straight", save_steps=1, method=method) == 0
    interrupted(project, monkeypatch, "broken", 3, method=method)
    assert align(project, "broken", save_steps=1, method=method) == 0
    found, wanted = (
        load_file(f"runs/{name}/align/final/model.safetensors") for name in ("broken", "straight")
    )
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    if method == "kto":
        assert told("broken")["reference"]["reused"]


def test_a_reference_that_moved_under_an_interrupted_training_is_refused(
    project, monkeypatch, capfd
):
    """An adapter names its base, and the base is changed behind its back."""
    tune = {**COMMON, "model": {"path": "base"}, "adapter": {"kind": "lora", "r": 2}}
    tune |= {"objective": "language_modelling", "text": {"path": "text.txt"}}
    file = project.folder / "t.yaml"
    file.write_text(yaml.safe_dump({"run": "runs/t", "tune": tune}))
    assert project.run("t.yaml") == 0
    model = {"path": "runs/t/tune/final"}
    interrupted(project, monkeypatch, "broken", 3, model=model, method="dpo")
    capfd.readouterr()
    base = load_model(ModelSpec(path="base"))
    with torch.no_grad():
        base.model.layers[0].mlp.up_proj.weight[0, 0] += 1e-4
    base.save_pretrained("base")
    assert align(project, "broken", save_steps=1, model=model) == 1
    error = capfd.readouterr().err
    assert "reference-moved" in error
    assert "another base" in error
    assert align(project, "fresh", model=model) == 0


def test_an_adapter_over_a_tuned_adapter_keeps_it_in_the_reference(project):
    """SFT with LoRA, then DPO with LoRA: the reference is base and first adapter."""
    adapter = {"adapter": {"kind": "lora", "r": 2}}
    first = {**COMMON, **adapter, "model": {"path": "base"}, "learning_rate": 0.05}
    first |= {"objective": "language_modelling", "text": {"path": "text.txt"}, "max_steps": 20}
    second = {**COMMON, **adapter, "data": "data"}
    file = project.folder / "two.yaml"
    settings = {"run": "runs/two", "tune": first, "align": second}
    file.write_text(yaml.safe_dump(settings))
    assert project.run("two.yaml") == 0
    run = Path("runs/two")
    rows = load_token_rows(run / "align/tokens.arrow")
    (kept,) = (run / "reference").iterdir()
    stored = load_file(kept)["logps"]

    def logps(network):
        return reference_logps(prepare(network), rows, tokens_per_batch=64, bf16=False)

    from regimen.adapters.files import load_adapter, merge

    base = load_model(ModelSpec(path="base"))
    untouched = logps(base)
    tuned = merge(load_adapter(load_model(ModelSpec(path="base")), str(run / "tune/final")))
    torch.testing.assert_close(stored, logps(tuned), atol=1e-3, rtol=1e-4)
    assert (stored - untouched).abs().mean() > 0.05
    again = load_model(ModelSpec(path=str(run / "align/base")))
    torch.testing.assert_close(stored, logps(again), atol=1e-3, rtol=1e-4)
    identity = json.loads((run / "align/reference.json").read_text())
    assert identity["base"] != identity["adapter"] != ""


def test_a_base_that_is_streamed_has_the_same_reference(project):
    adapter = {"adapter": {"kind": "lora", "r": 2}}
    assert align(project, "plain", **adapter) == 0
    assert align(project, "streamed", memory={"stream": True}, **adapter) == 0
    assert told("streamed")["reference"] == told("plain")["reference"]
