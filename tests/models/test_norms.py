"""Where a norm's output came from: formed again, it is the same; written to, it is forgotten."""

import pytest
import torch
from torch import nn

from helpers.small_models import SMALL, make
from models.native.test_ops import EITHER, way  # noqa: F401
from regimen.models import blocks
from regimen.models.forward import prepare
from regimen.models.norms import RmsNorm, source_of
from regimen.tokens.ragged import Segment, ragged_batch


def norm_of(width=40, shift=0.0):
    weight = torch.randn(width, generator=torch.Generator().manual_seed(1))
    return RmsNorm(nn.Parameter(weight), 1e-5, shift)


@EITHER
@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_formed_again_bit_by_bit(way, shift, dtype):  # noqa: F811
    x = torch.randn(2, 7, 40, requires_grad=True)
    y = norm_of(shift=shift)(x)
    found = source_of(y)
    assert torch.equal(found.again(dtype), y.detach().to(dtype).flatten(0, 1))
    assert found.x.data_ptr() == x.data_ptr()
    assert not found.again(dtype).requires_grad


def test_only_the_very_output_is_known_and_only_as_it_was():
    norm, x = norm_of(), torch.randn(7, 40, requires_grad=True)
    y = norm(x)
    assert source_of(y[:3]) is None
    assert source_of(y * 1.0) is None
    y.add_(1.0)  # as a hook may do
    assert source_of(y) is None
    with torch.no_grad():
        assert source_of(norm(x)) is None  # nobody will ask for a gradient
    with torch.inference_mode():
        assert source_of(norm(x)) is None
    assert source_of(norm(x.detach())) is not None


def test_an_input_that_was_written_to_since_is_refused():
    x = torch.randn(7, 40, requires_grad=True) * 1.0
    source = source_of(norm_of()(x))
    with torch.no_grad():
        x.add_(1.0)
    assert source.x._version == x._version == 1  # autograd compares it with what it saved


@pytest.mark.parametrize("bf16", [False, True])
def test_layers_keep_the_input_of_their_norms_alone(bf16, monkeypatch):
    ids = torch.randint(61, (30,), generator=torch.Generator().manual_seed(0)).tolist()
    batch = ragged_batch([Segment(ids, [0.0, *[1.0] * 29], -1)])
    prepared = prepare(make("llama", SMALL).train())

    def kept_and_gradients():
        prepared.model.zero_grad()
        seen = {}
        keep = torch.autograd.graph.saved_tensors_hooks(
            lambda x: seen.setdefault(x.data_ptr(), x), lambda x: x
        )
        with keep, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = prepared.hidden(batch).float().square().sum()
        loss.backward()
        found = {n: p.grad for n, p in prepared.model.named_parameters() if p.grad is not None}
        return sum(x.nbytes for x in seen.values()), found

    less, found = kept_and_gradients()
    monkeypatch.setattr(blocks, "source_of", lambda y: None)
    more, expected = kept_and_gradients()
    layers, size = SMALL["num_hidden_layers"], 30 * SMALL["hidden_size"] * (2 if bf16 else 4)
    assert more - less >= (2 * layers - 1) * size  # the last network reads some rows, in a copy
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name
