"""Tensors in files without names: pytest tests/memory/test_scratch.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import TrainingError
from regimen.memory.scratch import PAGE, SPARE, Kept, Scratch, check_space

TYPES = (torch.float32, torch.bfloat16, torch.uint8, torch.int64)


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 9), st.sampled_from(TYPES), st.booleans()),
        max_size=12,
    )
)
def test_what_is_read_is_what_was_written_and_space_is_used_again(tmp_path_factory, wanted):
    scratch = Scratch(tmp_path_factory.getbasetemp(), 0, "numbers")
    kept, most = [], 0
    for rows, columns, dtype, drop in wanted:
        tensor = torch.randint(0, 100, (columns, rows)).to(dtype).t()  # not contiguous
        kept.append((tensor, Kept(scratch, tensor)))
        most = max(most, sum(-(-t.numel() * t.element_size() // PAGE) * PAGE for t, _ in kept))
        if drop:
            kept.pop(0)
    for tensor, one in kept:
        found = one.tensor()
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor)
    assert scratch.size == most


def test_nothing_has_a_name(tmp_path):
    scratch = Scratch(tmp_path, 0, "numbers")
    one = Kept(scratch, torch.arange(1000))
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(one.tensor(), torch.arange(1000))


def test_a_part_that_was_never_written_is_an_error(tmp_path):
    scratch = Scratch(tmp_path, 0, "numbers")
    with pytest.raises(OSError, match="shorter"):
        scratch.read(0, torch.Size([4]), torch.float32)


@pytest.mark.parametrize(("needed", "fits"), [(100, True), (101, False)])
def test_the_space_that_is_needed_is_compared_with_what_is_free(
    needed, fits, tmp_path, monkeypatch
):
    usage = type("Usage", (), {"free": SPARE + 100})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    if fits:
        check_space(tmp_path, needed, "numbers")
    else:
        with pytest.raises(TrainingError, match="disk-too-small"):
            check_space(tmp_path, needed, "numbers")
