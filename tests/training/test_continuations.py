"""Log-probabilities of continuations. Run: pytest tests/training/test_continuations.py"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.small_models import MODELS, PADDED, make
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.models.forward import LanguageModel, prepare
from regimen.tokens.rendering import Rendered
from regimen.tokens.sharing import RenderedShared
from regimen.training.measure import continuation_logps

EVERY = {**MODELS, **PADDED}


def shared(prefix, *rests):
    return RenderedShared(tuple(prefix), tuple(Rendered(tuple(r), (1.0,) * len(r)) for r in rests))


def drawn(seed, *lengths):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(61, (n,), generator=draw).tolist() for n in lengths]


ROWS = [
    shared(*drawn(0, 9, 3, 1, 5)),
    shared(*drawn(1, 1, 2)),
    shared(*drawn(2, 6)),
    shared(*drawn(3, 4, 1, 1)),
]


def full_logits(model, row):
    """Sum of log-probabilities and whether all are the largest, by transformers, one row each."""
    found = []
    for rest in row.rests:
        with torch.no_grad():
            ids = torch.tensor([[*row.prefix, *rest.ids]])
            logp = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
        places = range(len(row.prefix) - 1, ids.shape[1] - 1)
        picked = [float(logp[p, i]) for p, i in zip(places, rest.ids, strict=True)]
        found.append((sum(picked), [int(logp[p].argmax()) for p in places] == list(rest.ids)))
    return found


def check(model, network, rows=ROWS, tokens=8192):
    got = continuation_logps(model, rows, bf16=False, tokens_per_batch=tokens)
    for row, ours in zip(rows, got, strict=True):
        wanted = full_logits(network, row)
        assert [one.logp for one in ours] == pytest.approx([w for w, _ in wanted], abs=1e-4)
        assert [one.greedy for one in ours] == [g for _, g in wanted]
        assert [one.tokens for one in ours] == [len(rest.ids) for rest in row.rests]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "cohere2", "bloom", "mamba"])
def test_they_are_those_of_full_logits(name):
    network = make(name, EVERY[name])
    reference = make(name, EVERY[name])
    model = prepare(network)
    assert model.ragged is (name not in PADDED)
    check(model, reference)


def test_with_an_adapter_too():
    network = add_adapter(make("llama", EVERY["llama"]), Lora(r=4), seed=0)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    wanted = [full_logits(network.eval(), row) for row in ROWS]
    got = continuation_logps(prepare(network), ROWS, bf16=False)
    for ours, expected in zip(got, wanted, strict=True):
        assert [one.logp for one in ours] == pytest.approx([w for w, _ in expected], abs=1e-4)
    with network.disable_adapter():
        plain = continuation_logps(prepare(network), ROWS, bf16=False)
    assert abs(plain[0][0].logp - got[0][0].logp) > 1e-2


LLAMA, REFERENCE = prepare(make("llama", EVERY["llama"])), make("llama", EVERY["llama"])


@given(
    st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=4),
    st.integers(0, 99),
    st.sampled_from([4, 16, 8192]),
)
@examples(15)
def test_whatever_the_lengths_and_the_batches(shapes, seed, tokens):
    rows = [shared(*drawn(seed + n, *lengths)) for n, lengths in enumerate(shapes)]
    check(LLAMA, REFERENCE, rows, tokens)


def test_what_the_model_would_say_itself_is_greedy():
    prompt = drawn(7, 8)[0]
    own = REFERENCE.generate(
        torch.tensor([prompt]), max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0
    )[0, 8:].tolist()
    other = [*own[:3], (own[3] + 1) % 61]
    row = shared(prompt, own, other)
    assert [one.greedy for one in continuation_logps(LLAMA, [row], bf16=False)[0]] == [True, False]


def test_a_prompt_is_read_once_and_last_tokens_not_at_all(monkeypatch):
    read = []
    honest = LanguageModel.hidden
    monkeypatch.setattr(
        LanguageModel,
        "hidden",
        lambda self, batch, *rest: read.append(batch.num_tokens) or honest(self, batch, *rest),
    )
    prefix, *letters = drawn(4, 40, 1, 1, 1, 1)
    continuation_logps(LLAMA, [shared(prefix, *letters)], bf16=False)
    assert read == [40]
    continuation_logps(LLAMA, [shared(prefix, *drawn(5, 3, 3))], bf16=False)
    assert read == [40, 44]


@pytest.mark.parametrize("row", [shared([], [1]), shared([1], [])])
def test_nothing_to_go_on_from_is_refused(row):
    with pytest.raises(ValueError, match="one token or more"):
        continuation_logps(LLAMA, [row], bf16=False)


def test_the_model_is_left_as_it_was():
    LLAMA.model.train()
    continuation_logps(LLAMA, ROWS[:1], bf16=False)
    assert LLAMA.model.training
    LLAMA.model.eval()
