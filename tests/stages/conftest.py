"""A small project that tunes a tiny model on plain text, for tests of the training stages."""

import hashlib
import json

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from regimen.cli import main
from regimen.tokens.bpe import train_tokenizer

TEXTS = [
    f"the {a} dog sees {b} cats and the {a} cat sees {b} dogs" for a in "abcdef" for b in "xyz"
]


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


@pytest.fixture
def text_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory):
    """One project for all tests of a file, whose working directory it is as well."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("project")
        patched.chdir(folder)
        yield make_project(folder)
