"""pytest tests/models/test_forward.py"""

import pytest
import torch

from helpers.small_models import MODELS, PADDED, SMALL, make
from regimen.memory.activations import checkpoint_activations
from regimen.models.forward import LanguageModel, base_of, prepare
from regimen.models.head import full_logits, reduce
from regimen.tokens.ragged import Segment, ragged_batch


def segments():
    draw = torch.Generator().manual_seed(0)
    sizes, parents = (13, 7, 3, 9, 2), (-1, -1, 0, 0, 3)
    ids = [torch.randint(61, (n,), generator=draw).tolist() for n in sizes]
    return [
        Segment(x, [float(p >= 0 or i > 0) for i in range(len(x))], p)
        for x, p in zip(ids, parents, strict=True)
    ]


def alone(model, batch, parts):
    """Sum of log-probabilities of all targets, each path run by itself."""
    total = 0.0
    for index, part in enumerate(parts):
        path = batch.plan.path(index)
        ids = [i for s in path for i in parts[s].ids]
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
        start = len(ids) - len(part.ids)
        for offset, (token, weight) in enumerate(zip(part.ids, part.weights, strict=True)):
            if weight:
                total = total + logits[start + offset - 1].log_softmax(-1)[token]
    return total


def grad_vector(model):
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return torch.cat(grads)


@pytest.mark.matrix
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", [*MODELS, *PADDED])
def test_a_batch_equals_its_segments_alone_in_loss_and_gradient(name, checkpointing):
    if checkpointing and name == "mamba":
        pytest.skip("transformers has no checkpointing for this layer")
    model = make(name, {**MODELS, **PADDED}[name])
    parts = segments()
    batch = ragged_batch(parts)
    expected = alone(model, batch, parts)
    expected.backward()
    want = grad_vector(model)
    model.zero_grad()

    prepared = prepare(model)
    assert prepared.ragged == (name in MODELS), prepared.reason
    assert bool(prepared.reason) == (name in PADDED)
    if checkpointing:
        checkpoint_activations(model)
        model.train()
    got = reduce(
        prepared.hidden(batch), prepared.head(), batch.source_row_N, batch.target_N, {"logp"}
    ).logp_N.sum()
    got.backward()
    torch.testing.assert_close(got, expected, atol=2e-3, rtol=1e-5)
    assert float((grad_vector(model) - want).norm() / want.norm()) < 1e-4


@pytest.mark.matrix
@pytest.mark.parametrize("name", [*MODELS, *PADDED])
def test_logits_of_every_token_are_those_of_its_path_alone(name):
    model = make(name, {**MODELS, **PADDED}[name])
    parts = segments()
    batch = ragged_batch(parts)
    expected = []
    with torch.no_grad():
        for index, part in enumerate(parts):
            ids = [i for s in batch.plan.path(index) for i in parts[s].ids]
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
            expected.append(logits[len(ids) - len(part.ids) :])
        prepared = prepare(model)
        got = full_logits(prepared.hidden(batch), prepared.head(), torch.float32)
    largest = float(torch.cat(expected).abs().max())
    assert float((got - torch.cat(expected)).abs().max()) < 2e-5 * largest


def test_a_plan_does_not_leak_into_ordinary_calls():
    model = make("llama", SMALL)
    ids = torch.randint(61, (1, 9))
    before = model(input_ids=ids).logits
    prepared = prepare(model)
    prepared.hidden(ragged_batch(segments()))
    torch.testing.assert_close(model(input_ids=ids).logits, before, atol=1e-5, rtol=1e-5)


def test_two_models_in_two_threads_do_not_share_a_plan():
    from concurrent.futures import ThreadPoolExecutor

    models = [prepare(make("llama", SMALL)), prepare(make("gpt2", MODELS["gpt2"]))]
    batches = [ragged_batch(segments()), ragged_batch(segments()[:2])]
    expected = [m.hidden(b).detach() for m, b in zip(models, batches, strict=True)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            got = list(
                pool.map(
                    lambda pair: pair[0].hidden(pair[1]).detach(), zip(models, batches, strict=True)
                )
            )
            for a, b in zip(got, expected, strict=True):
                torch.testing.assert_close(a, b)


def test_two_models_in_two_threads_have_their_own_gradients_with_checkpointing():
    from concurrent.futures import ThreadPoolExecutor

    def prepared(name):
        model = make(name, MODELS[name]).train()
        checkpoint_activations(model)
        return prepare(model)

    def gradients(pair):
        model, batch = pair
        for _ in range(4):
            model.model.zero_grad()
            hidden = model.hidden(batch)
            loss = reduce(hidden, model.head(), batch.source_row_N, batch.target_N, {"logp"})
            loss.logp_N.sum().backward()
        return grad_vector(model.model)

    names = ("mistral", "gpt2")
    batches = [ragged_batch(segments()), ragged_batch(segments()[:2])]
    alone = [gradients(pair) for pair in zip(map(prepared, names), batches, strict=True)]
    pairs = list(zip(map(prepared, names), batches, strict=True))
    with ThreadPoolExecutor(2) as pool:
        for mine, expected in zip(pool.map(gradients, pairs), alone, strict=True):
            assert float((mine - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_an_attention_argument_that_nobody_knows_means_padded_batches(name, monkeypatch):
    model = make(name, MODELS[name])
    expected = model(input_ids=torch.tensor([[1, 2, 3]])).logits
    kind = next(m for m in model.modules() if type(m).__name__.endswith("Attention"))
    forward = type(kind).forward
    monkeypatch.setattr(
        type(kind), "forward", lambda self, *a, **k: forward(self, *a, **k, position_bias=1.0)
    )
    prepared = prepare(model)
    assert not prepared.ragged
    assert "arguments that ragged attention does not know" in prepared.reason
    torch.testing.assert_close(model(input_ids=torch.tensor([[1, 2, 3]])).logits, expected)


def test_a_wrong_ragged_answer_is_caught_by_the_probe(monkeypatch):
    from regimen.models import mixers

    model = make("llama", SMALL)
    honest = mixers.segment_attention
    monkeypatch.setattr(
        mixers,
        "segment_attention",
        lambda q, k, *more: honest(q, k.flip(2), *more),
    )
    prepared = prepare(model)
    assert not prepared.ragged
    assert "differ" in prepared.reason
    assert base_of(model).config._attn_implementation == "eager"
    assert isinstance(prepared, LanguageModel)


@pytest.mark.parametrize("name", ["gemma2", "gpt_oss", "mistral"])
def test_transformers_own_calls_stay_exact_under_the_ragged_implementation(name):
    model = make(name, MODELS[name])
    ids = torch.randint(61, (2, 11))
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    before = model(input_ids=ids, attention_mask=mask).logits
    assert prepare(model).ragged
    after = model(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(after[0], before[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after[1, :8], before[1, :8], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_weights_in_bf16_take_flat_batches_without_autocast(name):
    model = prepare(make(name, MODELS[name]).to(torch.bfloat16))
    assert model.ragged, model.reason
