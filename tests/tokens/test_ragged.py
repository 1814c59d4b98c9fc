"""pytest tests/tokens/test_ragged.py"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regimen.tokens.ragged import Plan, Segment, ragged_batch, to_padded


def test_a_prompt_with_two_answers_has_one_row_that_predicts_two_first_tokens():
    prompt = Segment([5, 6, 7], [0, 0, 0])
    first = Segment([8, 9], [1, 1], parent=0)
    second = Segment([10], [2.0], parent=0)
    batch = ragged_batch([prompt, first, second])
    assert batch.position_T.tolist() == [0, 1, 2, 3, 4, 3]
    assert batch.target_N.tolist() == [8, 9, 10]
    assert batch.source_row_N.tolist() == [2, 3, 2]
    assert batch.weight_N.tolist() == [1, 1, 2]
    assert batch.target_segment_N.tolist() == [1, 1, 2]


def test_nested_parents_continue_positions_and_paths():
    batch = ragged_batch(
        [
            Segment([1, 2], [0, 0]),
            Segment([3], [1], parent=0),
            Segment([4, 5], [1, 1], parent=1),
        ]
    )
    assert batch.position_T.tolist() == [0, 1, 2, 3, 4]
    assert batch.plan.path(2) == (0, 1, 2)
    assert batch.source_row_N.tolist() == [1, 2, 3]
    assert batch.plan.leaves() == (2,)


@pytest.mark.parametrize(
    "segments",
    [
        [Segment([], [])],
        [Segment([1], [1.0])],
        [Segment([1], [0.0], parent=0)],
    ],
)
def test_impossible_segments_are_refused(segments):
    with pytest.raises(ValueError, match="segment 0"):
        ragged_batch(segments)


@st.composite
def forests(draw):
    count = draw(st.integers(1, 6))
    segments = []
    for index in range(count):
        length = draw(st.integers(1, 5))
        parent = draw(st.integers(-1, index - 1))
        weights = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=length, max_size=length))
        if parent < 0:
            weights[0] = 0.0
        ids = draw(st.lists(st.integers(0, 99), min_size=length, max_size=length))
        segments.append(Segment(ids, weights, parent))
    return segments


@given(forests())
def test_padded_rows_hold_every_flat_token_at_its_position(segments):
    batch = ragged_batch(segments)
    padded = to_padded(batch, pad_id=-1)
    assert torch.equal(padded.ids_BL.flatten()[padded.flat_row_T], batch.ids_T)
    assert torch.equal(padded.position_BL.flatten()[padded.flat_row_T], batch.position_T)
    assert padded.mask_BL.flatten()[padded.flat_row_T].all()
    assert int(padded.mask_BL.sum()) == sum(
        sum(batch.plan.lengths[s] for s in batch.plan.path(leaf)) for leaf in batch.plan.leaves()
    )


@given(forests())
def test_each_target_is_predicted_by_the_row_before_it_on_its_path(segments):
    batch = ragged_batch(segments)
    assert len(batch.target_N) == sum(1 for s in segments for w in s.weights if w)
    position = batch.position_T
    starts = batch.plan.starts
    flat = [starts[i] + j for i, s in enumerate(segments) for j, w in enumerate(s.weights) if w]
    assert batch.ids_T[flat].tolist() == batch.target_N.tolist()
    assert (position[flat] - position[batch.source_row_N]).tolist() == [1] * len(flat)
    for row, source in zip(flat, batch.source_row_N.tolist(), strict=True):
        path = batch.plan.path(int(batch.segment_T[row]))
        assert int(batch.segment_T[source]) in path


def test_a_plan_of_roots_is_flat():
    assert Plan((2, 3), (-1, -1)).is_flat
    assert not Plan((2, 3), (-1, 0)).is_flat
