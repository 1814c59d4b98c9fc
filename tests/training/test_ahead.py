"""pytest tests/training/test_ahead.py: micro-batches made in a thread."""

import threading

import pytest
import torch

from helpers.pretended import Elsewhere, pretended
from regimen.tokens.ragged import RaggedBatch, Segment, ragged_batch
from regimen.training.ahead import Ahead, micro_batches
from regimen.training.data import Data
from regimen.training.teacher import OwnAnswers
from training.test_loop import options, rows


def batch_of(number):
    return ragged_batch([Segment([number, 1], [0.0, 1.0])])


def test_micro_batches_come_in_order_and_are_made_before_their_turn():
    made, threads = [], set()

    def at(cursor):
        made.append(cursor)
        threads.add(threading.current_thread())
        return batch_of(cursor), cursor / 10

    ahead = Ahead(at, lambda batch: batch, depth=2)
    try:
        for cursor in (0, 1, 2, 3, 7, 8):  # a resumed run may begin anywhere
            batch, epoch = ahead(cursor)
            assert batch.ids_T.tolist() == [cursor, 1]
            assert epoch == cursor / 10
    finally:
        ahead.close()
    assert made == sorted(set(made))
    assert set(range(9)) - {6} <= set(made) | {6}
    assert threads.isdisjoint({threading.current_thread()})
    assert len(threads) == 1


def test_what_goes_wrong_is_raised_at_its_turn():
    def at(cursor):
        if cursor == 2:
            raise ValueError("row 2 is broken")
        return batch_of(cursor), 0.0

    ahead = Ahead(at, lambda batch: batch)
    assert ahead(0)[0].ids_T.tolist() == [0, 1]
    assert ahead(1)[0].ids_T.tolist() == [1, 1]
    with pytest.raises(ValueError, match="row 2 is broken"):
        ahead(2)
    ahead.close()


def test_after_the_end_no_thread_is_left():
    before = threading.active_count()
    data = Data(rows(), options())
    with pretended(), micro_batches(data, torch.device("cuda")) as at:
        assert isinstance(at, Ahead)
        found, expected = at(0)[0], data.at(0)[0]
        assert torch.equal(found.ids_T, expected.ids_T)
        there = found.to("cuda")
        assert isinstance(there.ids_T, Elsewhere)
        assert there.plan == expected.plan
        interrupted = micro_batches(data, torch.device("cuda"))
        with interrupted as more:
            more(0)
    assert threading.active_count() == before


def test_a_cpu_and_own_answers_get_theirs_when_their_turn_comes():
    data = Data(rows(), options())
    with micro_batches(data, torch.device("cpu")) as at:
        assert at == data.at
    own = OwnAnswers.__new__(OwnAnswers)
    with micro_batches(own, torch.device("cuda")) as at:
        assert at == own.at


def test_every_tensor_of_a_batch_moves():
    batch = batch_of(3)
    names = [n for n in RaggedBatch.__slots__ if isinstance(getattr(batch, n), torch.Tensor)]
    assert len(names) == 7
    with pretended():
        there = batch.to("cuda")
        assert all(isinstance(getattr(there, name), Elsewhere) for name in names)
