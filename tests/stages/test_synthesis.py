"""Synthesis with a model of one's own: the engine is asked, every candidate is accounted for."""

import json

import yaml

from regimen.generation.engine import Engine


def test_a_local_model_is_asked_through_the_engine(text_project, monkeypatch):
    asked = []
    honest = Engine.generate

    def counted(self, prompts):
        asked.extend(prompts)
        return honest(self, prompts)

    monkeypatch.setattr(Engine, "generate", counted)
    config = text_project.folder / "base/config.json"
    longer = config.read_text().replace('embeddings": 128', 'embeddings": 4096')
    config.write_text(longer)
    settings = {
        "run": "runs/s",
        "build": {
            "sources": [{"starter": "seeds"}],
            "synthetic": {"generator": {"model": "base", "max_new_tokens": 24}, "instructions": 2},
        },
    }
    (text_project.folder / "s.yaml").write_text(yaml.safe_dump(settings))
    assert text_project.run("s.yaml") == 0
    assert asked
    assert {prompt.max_new_tokens for prompt in asked} == {24}
    assert {prompt.temperature for prompt in asked} == {0.7}
    ledger = json.loads((text_project.folder / "runs/s/build/ledger/summary.json").read_text())
    assert ledger["synthetic-1-instructions"]["in"] >= 1
    for step in ledger.values():
        lost = sum(step["removed"].values()) + sum(step["failed"].values())
        assert step["in"] == step["kept"] + lost
