"""The order of arrangements: pytest tests/planning/test_options.py."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.planning.options import SLOWER, Asked, Option, changes, options

askeds = st.builds(
    Asked,
    activations=st.sampled_from(list(SLOWER["activations"])),
    allocator=st.sampled_from([None, "keep", "return"]),
    stream=st.booleans(),
    quantise=st.sampled_from([None, "int8", "nf4"]),
    optimizer=st.sampled_from(["adamw", "adamw_8bit", "sgd", "lomo"]),
    dtype=st.sampled_from(list(SLOWER["dtype"])),
    tokens_per_batch=st.integers(64, 1 << 16),
    max_length=st.integers(8, 64),
    accumulation=st.integers(1, 2),
    streams=st.booleans(),
    quantises=st.booleans(),
    allow=st.lists(st.sampled_from(["quantise", "optimizer", "dtype"]), unique=True),
).filter(lambda asked: asked.optimizer != "lomo" or asked.accumulation == 1)


@given(askeds)
def test_the_first_is_what_the_settings_say_and_the_others_are_no_faster(asked: Asked) -> None:
    found = options(asked)
    accumulation = 3
    first = changes(found[0], asked, accumulation)
    assert {name: value for name, value in first.items() if value} == {
        name: value
        for name, value in {
            "memory.activations": asked.activations,
            "memory.stream": asked.stream,
            "quantise": asked.quantise if "quantise" in asked.allow and asked.quantises else None,
            "optimizer": asked.optimizer
            if "optimizer" in asked.allow and asked.optimizer in SLOWER["optimizer"]
            else None,
            "model.dtype": asked.dtype if "dtype" in asked.allow else None,
        }.items()
        if value
    }
    assert all(a.slower <= b.slower for a, b in pairwise(found))
    assert len({(tuple(one.values.items()), one.halvings) for one in found}) == len(found)


@given(askeds)
def test_a_micro_batch_holds_the_longest_row_and_steps_keep_their_tokens(asked: Asked) -> None:
    for option in options(asked):
        changed = changes(option, asked, 1)
        tokens = changed.get("tokens_per_batch", asked.tokens_per_batch)
        assert tokens >= asked.max_length
        times = changed.get("gradient_accumulation_steps", 1)
        assert asked.tokens_per_batch - times < tokens * times <= asked.tokens_per_batch


@given(askeds)
def test_what_changes_what_is_learnt_is_left_alone_unless_it_is_allowed(asked: Asked) -> None:
    for option in options(asked):
        for name in {"quantise", "optimizer", "dtype"} - set(asked.allow):
            assert name not in option.values
        if not asked.quantises:
            assert "quantise" not in option.values
        if asked.stream:
            assert option.values["stream"] is True
        elif not asked.streams:
            assert "stream" not in option.values


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (Option(), "as the settings say"),
        (Option(values={"activations": "full", "stream": True}), "activations: full, stream: true"),
        (Option(values={"quantise": None}, halvings=2), "micro-batches / 4"),
    ],
)
def test_an_arrangement_says_what_it_is(option: Option, words: str) -> None:
    assert option.words == words


@given(askeds)
def test_freed_blocks_are_returned_by_choice_where_they_are_kept_otherwise(asked: Asked) -> None:
    for option in options(asked):
        if asked.allocator is not None:
            assert "allocator" not in option.values
        elif option.values["allocator"] is not None:
            assert option.values["activations"] != "offload"
            assert option.values.get("stream") is not True
            assert option.values.get("quantise", asked.quantise) is None


def test_returning_blocks_is_tried_before_what_is_slower() -> None:
    found = [one.values for one in options(Asked(max_length=4096))]
    tried = [(one["activations"], one["allocator"]) for one in found]
    assert tried[:4] == [
        ("keep", None),
        ("selective", None),
        ("keep", "return"),
        ("selective", "return"),
    ]


@given(askeds)
def test_nothing_is_added_up_for_an_optimizer_that_steps_at_once(asked: Asked) -> None:
    for option in options(asked):
        changed = changes(option, asked, asked.accumulation)
        if changed.get("optimizer", asked.optimizer) == "lomo":
            assert changed.get("gradient_accumulation_steps", asked.accumulation) == 1
