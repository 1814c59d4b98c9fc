"""What settings of memory demand of each other: pytest tests/settings/test_memory.py."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from regimen.settings.memory import MemorySettings
from regimen.settings.tune import TuneSettings

LORA = {"adapter": {"kind": "lora"}}


def tune(**fields):
    return TuneSettings.model_validate({"model": {"path": "m"}, **fields})


def test_nothing_changes_where_nothing_is_said():
    memory = tune().memory
    assert memory == MemorySettings()
    assert (memory.activations, memory.tiled_mlp, memory.stream) == ("keep", None, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "memory": {"activations": "full"}},
        {"memory": {"activations": "offload", "offload_to": "disk", "offload_directory": "d"}},
        {"memory": {"activations": "offload", "offload_directory": "d"}},
        {"memory": {"activations": "offload", "offload_to": "cpu"}},
        {"memory": {"activations": "selective", "tiled_mlp": 256}},
        {**LORA, "memory": {"stream": True, "offload_directory": "d"}},
        {**LORA, "memory": {"stream": True}, "quantise": "nf4"},
        {**LORA, "torch_compile": True, "memory": {"allocator": "keep"}},
    ],
)
def test_what_goes_together(fields):
    settings = tune(**fields)
    assert tune(**{k: v for k, v in settings.model_dump().items() if k != "model"}) == settings


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"gradient_checkpointing": True, "memory": {"activations": "offload"}}, "Remove one"),
        ({"gradient_checkpointing": True, "memory": {"activations": "selective"}}, "Remove one"),
        ({"memory": {"offload_to": "disk"}}, "where activations go"),
        ({"memory": {"activations": "full", "offload_to": "cpu"}}, "where activations go"),
        ({"memory": {"offload_directory": "d"}}, "nothing goes to disk"),
        (
            {"memory": {"activations": "offload", "offload_to": "cpu", "offload_directory": "d"}},
            "nothing goes to disk",
        ),
        ({"memory": {"stream": True}}, "needs an adapter"),
        ({"memory": {"stream": True}, "adapter": {"kind": "bitfit"}}, "bitfit trains weights"),
        ({"memory": {"stream": True}, "adapter": {"kind": "lisa"}}, "lisa trains weights"),
        ({"memory": {"tiled_mlp": 0}}, "greater than or equal to 1"),
        ({"memory": {"activations": "some"}}, "'keep', 'selective', 'full' or 'offload'"),
    ],
)
def test_what_does_not(fields, told):
    with pytest.raises(ValidationError) as raised:
        tune(**fields)
    found = str(raised.value) + repr([e.get("ctx") for e in raised.value.errors()])
    conflicts = [getattr(e.get("ctx", {}).get("error"), "found", ()) for e in raised.value.errors()]
    found += " ".join(f"{c.what} {c.fix}" for some in conflicts for c in some)
    assert told in found


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({**LORA, "quantise": "nf4"}, "quantise: its libraries"),
        ({"quantisation_aware": {}}, "quantisation_aware: its layers"),
        ({"memory": {"budget": "8GiB"}}, "memory.budget: it is planned"),
        ({**LORA, "memory": {"stream": True}}, "memory.stream: the weights"),
        ({"memory": {"tiled_mlp": 64}}, "memory.tiled_mlp: networks"),
        ({"memory": {"activations": "selective"}}, "memory.activations: what is kept"),
        ({"memory": {"activations": "offload"}}, "memory.activations: what is kept"),
        ({"memory": {"activations": "full"}}, "memory.activations: what is kept"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing: a compiled"),
        ({"adapter": {"kind": "ia3"}}, "adapter.kind: ia3 was not tried"),
        ({"optimizer": "badam"}, "optimizer: each turn"),
    ],
)
def test_what_does_not_go_with_compiled_layers(fields, told):
    with pytest.raises(ValidationError) as raised:
        tune(torch_compile=True, **fields)
    conflicts = [getattr(e.get("ctx", {}).get("error"), "found", ()) for e in raised.value.errors()]
    (only,) = [c for some in conflicts for c in some]
    assert only.at == ("torch_compile",)
    assert f"does not go with {told}" in only.what


@pytest.mark.parametrize(
    ("memory", "quantised", "returned"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"activations": "full"}, False, False),
        ({"activations": "offload"}, False, True),
        ({"activations": "offload", "allocator": "keep"}, False, False),
        ({"allocator": "keep"}, True, False),
        ({"allocator": "return"}, False, True),
    ],
)
def test_freed_blocks_are_returned_where_memory_is_short(memory, quantised, returned):
    assert tune(memory=memory).memory.returns_blocks(quantised=quantised) is returned
