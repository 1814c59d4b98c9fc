"""pytest tests/generation/test_engine.py"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import small_models
from helpers.examples import examples
from helpers.small_models import MODELS, PADDED
from regimen.errors import ModelError
from regimen.generation import decoding
from regimen.generation.decoding import Decoder
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.models.forward import prepare

EVERY = {**MODELS, **PADDED}


def make(name):
    return small_models.make(name, EVERY[name], seed=2)


def prompts(**changes):
    draw = torch.Generator().manual_seed(0)
    return [
        Prompt(str(i), tuple(torch.randint(61, (n,), generator=draw).tolist()), 10, **changes)
        for i, n in enumerate((9, 2, 14, 5, 1, 7))
    ]


NEVER = 1 << 40
FEW = ("llama", "llama tied", "qwen3", "gemma2", "gpt2", "mamba")
WAYS = [
    pytest.param(name, worth, marks=[] if name in FEW or not worth else pytest.mark.slow)
    for name in EVERY
    for worth in (0, NEVER)
]


@pytest.mark.matrix
@pytest.mark.parametrize(("name", "worth"), WAYS)
def test_greedy_ids_equal_transformers_generate(name, worth, monkeypatch):
    monkeypatch.setattr(decoding, "WORTH", worth)  # with copied weights, and without
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
@examples(10)
def test_a_sample_does_not_depend_on_its_neighbours(order, rows):
    asked = [Prompt(p.id, p.ids, 6, temperature=1.0, top_p=0.9, seed=int(p.id)) for p in prompts()]
    together = dict(Engine(LLAMA, [], rows=6).generate(asked))
    shuffled = dict(Engine(LLAMA, [], rows=rows).generate([asked[i] for i in order]))
    assert {k: v.ids for k, v in together.items()} == {k: v.ids for k, v in shuffled.items()}
    assert set(together) == {p.id for p in asked}


def test_a_prompt_is_read_once_for_all_its_samples(monkeypatch):
    read = []
    honest = Decoder.hidden
    monkeypatch.setattr(
        Decoder, "hidden", lambda self, *args: read.append(len(args[0])) or honest(self, *args)
    )
    ids = prompts()[0].ids
    asked = [Prompt(str(i), ids, 5, temperature=1.0, seed=i) for i in range(6)]
    alone = {p.id: dict(Engine(LLAMA, []).generate([p]))[p.id].ids for p in asked}
    assert len(set(alone.values())) > 3
    for rows in (6, 2):  # all at once, and as places come free
        read.clear()
        found = dict(Engine(LLAMA, [], rows=rows).generate(asked))
        assert {key: it.ids for key, it in found.items()} == alone
        assert sum(n for n in read if n >= len(ids)) <= len(ids) * (1 if rows == 6 else 3)


@pytest.mark.parametrize("name", ["llama", "mamba"])
def test_samples_and_stop_strings_are_the_same_way_round_in_both_loops(name):
    model = prepare(make(name))
    asked = [
        Prompt(str(i), p.ids, 4 + i, temperature=1.0, top_p=0.9, seed=i, stop=("7",))
        for i, p in enumerate([*prompts(), *prompts()])
    ]
    decode = lambda ids: " ".join(map(str, ids))  # noqa: E731
    ways = [Engine(model, [3], rows=rows, decode=decode) for rows in (1, 12)]
    one, many = (dict(engine.generate(asked)) for engine in ways)
    assert {k: v.ids for k, v in one.items()} == {k: v.ids for k, v in many.items()}
    assert {v.finish for v in many.values()} == {"stop", "length"}
    for found in many.values():
        assert len(found.logps) - len(found.ids) in (0, 1)
        assert found.logp < 0


def test_a_checkpoint_that_brings_its_own_sampling_is_asked_as_told():
    model = make("mamba")
    plain = {k: v.ids for k, v in Engine(prepare(model), []).generate(prompts())}
    model.generation_config.repetition_penalty = 9.0
    model.generation_config.eos_token_id = int(plain["0"][1])
    assert {k: v.ids for k, v in Engine(prepare(model), []).generate(prompts())} == plain
    assert model.generation_config.repetition_penalty == 9.0


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


@pytest.mark.matrix
@pytest.mark.parametrize("worth", [0, NEVER])
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2", "gpt2"])
def test_a_cache_in_8_bits_says_nearly_the_same(name, worth, monkeypatch):
    monkeypatch.setattr(decoding, "WORTH", worth)
    model = prepare(make(name))
    shared = [Prompt(f"s{n}", (*range(1, 50), n), 6) for n in range(3)]  # read over the cache
    asked = [*prompts(), *(Prompt(f"again {p.id}", p.ids, 10) for p in prompts()), *shared]
    monkeypatch.setattr("regimen.generation.reading.LEAST", 16)
    full, small = (
        dict(Engine(model, [3], rows=4, kv_cache=kind).generate(asked)) for kind in ("full", "int8")
    )
    for prompt in prompts():
        assert small[prompt.id].ids == small[f"again {prompt.id}"].ids
        # the prompt is read with keys and values as they are
        if len(prompt.ids) > 1:
            assert small[prompt.id].ids[0] == full[prompt.id].ids[0]
    same = [key for key in full if full[key].ids == small[key].ids]
    assert len(same) >= 0.6 * len(full)
    off = [abs(full[key].logp - small[key].logp) for key in same]
    assert 0 < max(off) < 0.5


def test_a_model_with_a_cache_of_its_own_does_not_take_ours():
    with pytest.raises(ModelError) as caught:
        list(Engine(prepare(make("mamba")), [3], kv_cache="int8").generate(prompts()))
    assert caught.value.slug == "kv-cache-own"
