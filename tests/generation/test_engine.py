"""pytest tests/generation/test_engine.py"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import small_models
from helpers.small_models import SMALL
from regimen.generation.engine import Engine, Prompt
from regimen.models.forward import prepare

MODELS = {
    "llama": SMALL,
    "mistral": {**SMALL, "sliding_window": 6},
    "gemma2": {**SMALL, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8},
    "gpt2": {"vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
}


def make(name):
    return small_models.make(name, MODELS[name], seed=2)


def prompts(**changes):
    draw = torch.Generator().manual_seed(0)
    return [
        Prompt(str(i), tuple(torch.randint(61, (n,), generator=draw).tolist()), 10, **changes)
        for i, n in enumerate((9, 2, 14, 5, 1, 7))
    ]


@pytest.mark.parametrize("name", MODELS)
def test_greedy_ids_equal_transformers_generate(name):
    model = make(name)
    stop = 3
    expected = {}
    for prompt in prompts():
        ids = torch.tensor([prompt.ids])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=10,
            eos_token_id=stop,
            pad_token_id=0,
        )[0, len(prompt.ids) :].tolist()
        expected[prompt.id] = out[: out.index(stop)] if stop in out else out
    for rows in (2, 64):
        engine = Engine(prepare(model), [stop], rows=rows)
        got = {key: list(found.ids) for key, found in engine.generate(prompts())}
        assert got == expected


LLAMA = prepare(make("llama"))


@given(st.permutations(range(6)), st.integers(1, 6))
@settings(max_examples=10)
def test_a_sample_does_not_depend_on_its_neighbours(order, rows):
    asked = [Prompt(p.id, p.ids, 6, temperature=1.0, top_p=0.9, seed=int(p.id)) for p in prompts()]
    together = dict(Engine(LLAMA, [], rows=6).generate(asked))
    shuffled = dict(Engine(LLAMA, [], rows=rows).generate([asked[i] for i in order]))
    assert {k: v.ids for k, v in together.items()} == {k: v.ids for k, v in shuffled.items()}
    assert set(together) == {p.id for p in asked}


def test_log_probabilities_are_those_of_the_model():
    prompt = prompts()[2]
    found = dict(Engine(LLAMA, []).generate([prompt]))[prompt.id]
    ids = torch.tensor([[*prompt.ids, *found.ids]])
    with torch.no_grad():
        logprob = LLAMA.model(input_ids=ids).logits[0].log_softmax(-1)
    start = len(prompt.ids) - 1
    expected = sum(float(logprob[start + i, token]) for i, token in enumerate(found.ids))
    assert found.logp == pytest.approx(expected, abs=1e-3)
    assert found.finish == "length"


def test_a_stop_string_ends_a_row():
    prompt = prompts(stop=("x",))[0]
    free = dict(Engine(LLAMA, []).generate([prompts()[0]]))["0"].ids
    target = free[3]
    decode = lambda ids: "".join("x" if i == target else "." for i in ids)  # noqa: E731
    found = dict(Engine(LLAMA, [], decode=decode).generate([prompt]))["0"]
    assert found.finish == "stop"
    assert found.ids[-1] == target
    assert found.ids.count(target) == 1


def test_no_prompts_give_nothing():
    assert list(Engine(LLAMA, []).generate([])) == []
