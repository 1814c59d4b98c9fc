"""A small project that tunes a tiny model on plain text, for tests of the training stages."""

import gc
import hashlib
import json
import shutil
from functools import cache

import pytest
import torch
import typer.main
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from regimen import runs
from regimen.cli import main
from regimen.tokens.bpe import train_tokenizer

TEXTS = [
    f"the {a} dog sees {b} cats and the {a} cat sees {b} dogs" for a in "abcdef" for b in "xyz"
]


RESULTS = {}
"""What runs to the end of equal settings on equal files ended with, of this process."""


class TextProject:
    """A folder with ``base`` and ``text.txt``, and how to run settings in it."""

    def __init__(self, folder):
        self.folder = folder

    def settings(self, name, **more):
        """Write ``name.yaml``, which tunes into ``runs/name``; returns the file's name."""
        tune = {
            "objective": "language_modelling",
            "model": {"path": "base"},
            "text": {"path": "text.txt"},
            "max_steps": 9,
            "learning_rate": 0.01,
            "tokens_per_batch": 64,
            "max_length": 64,
            "logging_steps": 1,
            "save_steps": 2,
            "precision": "fp32",
            **more,
        }
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"run": f"runs/{name}", "tune": tune}))
        return file.name

    def run(self, file):
        """Run it; the exit status."""
        with pytest.raises(SystemExit) as stopped:
            main(["run", str(file)])
        return stopped.value.code

    def metrics(self, name):
        """What was logged, without what differs between equal runs."""
        path = self.folder / "runs" / name / "tune" / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            del line["tokens_per_second"], line["peak_memory_gib"]
        return lines

    def weights(self, name):
        """A hash of the final weights."""
        (file,) = (self.folder / "runs" / name / "tune" / "final").glob("*.safetensors")
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def result(self, name):
        """Weights and metrics."""
        return self.weights(name), self.metrics(name)

    def straight(self, **more):
        """The result of a run that nothing interrupts; settings that ran before run no more.

        A run is its settings and what it reads, so another test's result is as good.
        """
        read = [self.folder / "text.txt", *sorted((self.folder / "base").iterdir())]
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in read]
        key = json.dumps([more, hashes], sort_keys=True)
        if key not in RESULTS:
            assert self.run(self.settings("straight", **more)) == 0
            RESULTS[key] = self.result("straight")
        return RESULTS[key]


def make_project(folder):
    """Write ``text.txt`` and ``base`` into a folder."""
    (folder / "text.txt").write_text("\n\n".join(TEXTS))
    tokenizer = train_tokenizer(TEXTS * 5, 300)
    tokenizer.save_pretrained(folder / "base")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    return TextProject(folder)


COMMAND, SOURCES = cache(typer.main.get_command), cache(runs.source_key)
COLLECT = gc.collect


@pytest.fixture(scope="module", autouse=True)
def what_a_process_does_once():
    """Hundreds of runs in one process: its commands and its source code stay what they are.

    Nor does it look for cycles among the libraries' objects each time that a stage drops a model:
    what is young is enough.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(typer.main, "get_command", COMMAND)
        patched.setattr(runs, "source_key", lambda modules: SOURCES(tuple(modules)))
        patched.setattr(gc, "collect", lambda generation=2: COLLECT(min(generation, 1)))
        yield


@pytest.fixture(scope="session")
def made_project(tmp_path_factory):
    """The files of a project, made once. Shared: copy them."""
    folder = tmp_path_factory.mktemp("made")
    make_project(folder)
    return folder


@pytest.fixture
def text_project(tmp_path, monkeypatch, made_project):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made_project, tmp_path, dirs_exist_ok=True)
    return TextProject(tmp_path)


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory, made_project):
    """One project for all tests of a file, whose working directory it is as well."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("project")
        patched.chdir(folder)
        shutil.copytree(made_project, folder, dirs_exist_ok=True)
        yield TextProject(folder)
