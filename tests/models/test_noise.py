"""NEFTune: sizes by sequence, transformers' own noise for a single one, nothing for alpha 0."""

import pytest
import torch

from regimen.models.noise import embedding_noise
from regimen.tokens.ragged import Segment, ragged_batch, to_padded


def batch(*sizes, parents=None):
    parents = parents or (-1,) * len(sizes)
    return ragged_batch(
        [Segment([1] * n, [0.0] * n, p) for n, p in zip(sizes, parents, strict=True)]
    )


def test_one_sequence_gets_the_noise_of_transformers():
    from transformers.integrations import neftune

    embedding = torch.nn.Embedding(4, 6)
    ids = torch.tensor([[1, 2, 3, 1, 0]])
    embedding.neftune_noise_alpha = 5.0
    torch.manual_seed(3)
    expected = neftune.neftune_post_forward_hook(embedding.train(), (ids,), embedding(ids).clone())
    torch.manual_seed(3)
    with embedding_noise(embedding, batch(5), 5.0):
        got = embedding(ids)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    assert not embedding._forward_hooks


@pytest.mark.parametrize("padded", [False, True])
def test_noise_shrinks_with_the_length_of_the_sequence(padded):
    data = batch(400, 100, 300, parents=(-1, -1, 1))
    embedding = torch.nn.Embedding(2, 16)
    ids = to_padded(data).ids_BL if padded else data.ids_T[None]
    with embedding_noise(embedding, data, 2.0):
        noise = (embedding(ids) - embedding.weight[ids]).detach()
    if padded:
        noise = noise.flatten(0, 1)[to_padded(data).flat_row_T][None]
    tokens = noise[0].split([400, 100, 300])
    # a shared prefix that is padded out stands in its longest path
    for part, length in zip(tokens, (400, 400 if padded else 100, 400), strict=True):
        bound = 2.0 / (length * 16) ** 0.5
        assert 0.97 * bound < float(part.abs().max()) <= bound * (1 + 1e-6)


def test_alpha_0_changes_nothing():
    embedding = torch.nn.Embedding(2, 4)
    with embedding_noise(embedding, batch(3), 0.0):
        assert torch.equal(embedding(torch.tensor([1])), embedding.weight[1:])
