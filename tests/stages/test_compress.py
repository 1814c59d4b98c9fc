"""`compress` and quantisation-aware `tune`, through settings files."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from regimen.cli import main
from regimen.memory.quantisation.files import read_config
from regimen.stages.models import document_losses, load

TEXTS = ["the b dog sees y cats", "the c cat sees z dogs and the a dog sees x cats"]
METHODS = [
    {"kind": "rtn", "bits": 8, "group_size": 16},
    {"kind": "rtn", "bits": 3, "group_size": 16, "symmetric": False},
    {"kind": "gptq", "bits": 3, "group_size": 16, "symmetric": False, "act_order": True},
    {"kind": "awq", "bits": 3, "group_size": 16, "name": "awq"},
    {"kind": "smoothquant"},
]


def add(project, file, **sections):
    """More sections in a settings file."""
    path = project.folder / file
    settings = yaml.safe_load(path.read_text()) | sections
    path.write_text(yaml.safe_dump(settings))
    return file


def compression(**more):
    return {
        "methods": METHODS,
        "calibration": {"sequences": 8, "length": 32},
        "held_out": {"path": "text.txt"},
        **more,
    }


@pytest.fixture(scope="module")
def project(shared_project):
    return shared_project


@pytest.fixture(scope="module")
def compressed(project):
    """A finished tuning, compressed by every method."""
    file = add(project, project.settings("a", max_steps=3), compress=compression(dense=True))
    assert project.run(file) == 0
    folder = project.folder / "runs" / "a"
    return folder, json.loads((folder / "compression.json").read_text())


def test_every_method_gives_a_folder_that_answers_and_a_line_that_tells(compressed) -> None:
    folder, told = compressed
    full, *rest = told["methods"]
    assert full["kl"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert full["same_token"] == 1.0
    names = ["rtn-8", "rtn-3", "gptq-3", "awq", "smoothquant-8"]
    assert [entry["name"] for entry in rest] == names
    for entry in rest:
        place = folder / "compress" / entry["name"]
        assert read_config(place) is not None
        assert entry["bytes"] == (place / "model.safetensors").stat().st_size
        assert 0 < entry["kl"]["low"] < entry["kl"]["value"] < entry["kl"]["high"]
        assert entry["weight_error"] > 0
        loaded = load(str(place))
        losses = document_losses(loaded, TEXTS, bf16=False)
        assert all(0 < loss < 1000 for loss in losses)
    kl = {entry["name"]: entry["kl"]["value"] for entry in rest}
    assert kl["rtn-8"] < 0.1 * kl["rtn-3"]
    size = {entry["name"]: entry["bytes"] for entry in rest}
    assert size["rtn-3"] < size["rtn-8"]
    # the summary is the same
    assert (
        json.loads((folder / "compress" / "summary.json").read_text())["methods"] == told["methods"]
    )


def test_dense_weights_are_those_of_the_packed_ones(compressed) -> None:
    folder, _ = compressed
    packed, dense = (load(str(folder / "compress" / n)) for n in ("gptq-3", "gptq-3-dense"))
    assert read_config(folder / "compress" / "gptq-3-dense") is None
    ours, theirs = (document_losses(each, TEXTS, bf16=False) for each in (packed, dense))
    assert ours == pytest.approx(theirs, rel=2e-2)


def test_bits_per_byte_are_those_of_retention(compressed, project) -> None:
    folder, told = compressed
    texts = (project.folder / "text.txt").read_text().split("\n\n")
    entry = told["methods"][1]
    losses = document_losses(load(str(folder / "compress" / "rtn-8")), texts, bf16=False)
    expected = sum(losses) / sum(len(t.encode()) for t in texts) / torch.log(torch.tensor(2.0))
    assert entry["bits_per_byte"]["value"] == pytest.approx(float(expected), rel=1e-4)


def test_a_quantised_model_is_not_quantised_again(compressed, project, capsys) -> None:
    folder, _ = compressed
    again = {
        "run": "runs/again",
        "compress": compression(
            model=str(folder / "compress" / "rtn-8"),
            calibration={"text": {"path": "text.txt"}, "length": 32},
        ),
    }
    (project.folder / "again.yaml").write_text(yaml.safe_dump(again))
    capsys.readouterr()
    assert project.run("again.yaml") == 1
    assert "quantised already" in capsys.readouterr().err


def test_too_little_text_is_an_error(project, capsys) -> None:
    (project.folder / "short.txt").write_text("the a dog")
    short = {"text": {"path": "short.txt"}, "length": 64}
    settings = {"run": "runs/b", "compress": compression(model="base", calibration=short)}
    (project.folder / "b.yaml").write_text(yaml.safe_dump(settings))
    assert project.run("b.yaml") == 1
    assert "too little text" in capsys.readouterr().err


def test_an_adapter_is_merged_first(project) -> None:
    file = project.settings("c", max_steps=3, adapter={"kind": "lora", "r": 2})
    few = {**compression(), "methods": METHODS[:1]}
    assert project.run(add(project, file, compress=few)) == 0
    told = json.loads((project.folder / "runs" / "c" / "compression.json").read_text())
    assert told["methods"][1]["kl"]["value"] < 0.01


AWARE = {"bits": 2, "group_size": 16, "symmetric": False}


def test_aware_tuning_ends_with_the_model_that_its_packed_folder_is(project) -> None:
    file = project.settings("d", quantisation_aware=AWARE, max_steps=30)
    assert project.run(file) == 0
    folder = project.folder / "runs" / "d" / "tune"
    assert read_config(folder / "packed")["config_groups"]["group_0"]["weights"]["num_bits"] == 2
    ours, theirs = (
        document_losses(load(str(folder / name)), TEXTS, bf16=False) for name in ("packed", "final")
    )
    assert ours == pytest.approx(theirs, rel=1e-4)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["packed_bytes"] == (folder / "packed" / "model.safetensors").stat().st_size
    losses = [line["loss"] for line in project.metrics("d")]
    assert losses[-1] < 0.8 * losses[0]


def test_aware_tuning_is_verified(project, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["verify", project.settings("v", quantisation_aware=AWARE), "--json"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert stopped.value.code == 0, told


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"adapter": {"kind": "lora"}, "quantisation_aware": {}}, "the base is frozen"),
        (
            {"quantisation_aware": {"activations": {"granularity": "tensor", "dynamic": False}}},
            "no calibration fixes the scales",
        ),
        (
            {"quantisation_aware": {"activations": {"granularity": "token", "dynamic": False}}},
            "a scale for each token",
        ),
        ({"quantisation_aware": {"bits": 9}}, "quantisation_aware.bits"),
    ],
)
def test_what_aware_tuning_cannot_be_is_refused(project, capsys, more, says) -> None:
    assert project.run(project.settings("f", **more)) == 1
    assert says in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"methods": METHODS[:1] * 2}, "the second of the name"),
        ({"methods": [{"kind": "gguf"}]}, "smoothquant"),
        ({"model": "base"}, "no rows of a tuning"),
        ({"methods": [{"kind": "rtn", "name": "a/b"}]}, "no name of a folder"),
    ],
)
def test_what_compress_cannot_be_is_refused(project, capsys, change, says) -> None:
    file = add(project, project.settings("g"), compress={**compression(), **change})
    assert project.run(file) == 1
    assert says in " ".join(capsys.readouterr().err.split())


def test_compress_alone_needs_a_model(project, capsys) -> None:
    (project.folder / "h.yaml").write_text(yaml.safe_dump({"compress": compression()}))
    assert project.run("h.yaml") == 1
    assert "no model to quantise" in capsys.readouterr().err
