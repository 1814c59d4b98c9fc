"""pytest tests/verifying/test_elsewhere.py

Contracts on an accelerator that computes as the CPU does.
"""

from dataclasses import replace

import pytest
import torch

from helpers import pretended
from regimen.models import mixers
from regimen.verifying import exports
from regimen.verifying.contracts import ALONE, CONTRACTS
from regimen.verifying.plain import measure_alone


@pytest.fixture
def there(monkeypatch):
    """Inside a test there is an accelerator; its kernels take no tensors of the CPU."""
    monkeypatch.setattr(mixers, "MIXERS", {})
    with pretended.pretended():
        yield


def moved(subject):
    """The same subject, whose models are on the accelerator."""

    def opened():
        small = subject.open()
        return replace(small, network=pretended.move(small.network))

    return replace(subject, open=opened)


@pytest.mark.parametrize("preferences", [False, True], ids=["rows", "pairs"])
def test_contracts_of_a_step_hold(subject_of, lora, preferences, there, monkeypatch):
    loaded = exports.load_plainly
    monkeypatch.setattr(exports, "load_plainly", lambda *a: pretended.move(loaded(*a)))
    adapter = lora if preferences else None
    subject = moved(subject_of(adapter=adapter, preferences=preferences))
    with torch.random.fork_rng(devices=[]):
        alone = measure_alone(subject.plain(), subject.rows, subject.twin.formula)
        found = {name: contract(subject, alone) for name, contract in ALONE.items()}
        for name in ("loop = transformers", "shared prefix = separate", "reduced = full logits"):
            found[name] = CONTRACTS[name](subject)
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, "holds")


def test_the_reference_and_moved_weights_are_found_there(subject_of, lora, there):
    subject = moved(subject_of(adapter=lora, preferences=True))
    assert CONTRACTS["reference = policy"](subject).verdict == "holds"
    network = subject.open().network
    before = [p.detach().cpu() for p in network.parameters() if p.requires_grad]
    exports.move_weights(network)
    after = [p.detach().cpu() for p in network.parameters() if p.requires_grad]
    assert not any(a.equal(b) for a, b in zip(before, after, strict=True))
