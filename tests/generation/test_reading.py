"""pytest tests/generation/test_reading.py"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import small_models
from helpers.small_models import MODELS
from regimen.generation import decoding, reading
from regimen.generation.engine import Engine
from regimen.generation.reading import LEAST, rest_groups, split_reading
from regimen.generation.rows import Prompt
from regimen.models.forward import prepare

# Few ids and long shared beginnings.
beginnings = st.sampled_from(["", "a" * LEAST, "a" * (LEAST - 1), "ab" * LEAST, "b" * 2 * LEAST])
asked = st.tuples(beginnings, st.text("abc", min_size=1, max_size=5)).map(
    lambda pair: tuple(map(ord, "".join(pair)))
)


@given(st.sets(asked, max_size=12), st.sets(asked, max_size=6))
def test_every_prompt_is_read_once_and_goes_on_from_what_a_row_holds(fresh, running):
    fresh = {ids: place for place, ids in enumerate(sorted(fresh - running, key=hash))}
    running = {ids: 100 + place for place, ids in enumerate(sorted(running))}
    whole, rests = split_reading(fresh, running)
    held = {place: ids for ids, place in (*whole.items(), *running.items())}
    assert sorted([*whole.values(), *(rest.place for rest in rests)]) == sorted(fresh.values())
    for rest in rests:
        assert LEAST <= rest.start < len(rest.ids)
        assert held[rest.source][: rest.start] == rest.ids[: rest.start]
    groups = list(rest_groups(rests))
    assert [rest for group in groups for rest in group] == rests
    assert all(sum(len(r.ids) - r.start for r in g) <= reading.TOKENS for g in groups)


def test_two_of_a_kind_share_and_strangers_do_not():
    shown = (1,) * LEAST
    whole, rests = split_reading({(*shown, 2): 0, (*shown, 3): 1, (4,) * 99: 2}, {})
    assert set(whole.values()) == {0, 2}
    assert [(rest.place, rest.source, rest.start) for rest in rests] == [(1, 0, LEAST)]


@pytest.mark.parametrize("rows", [3, 64])
@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral"])
def test_greedy_ids_equal_those_of_prompts_read_whole(name, rows, monkeypatch):
    monkeypatch.setattr(decoding, "WORTH", 0)
    draw = torch.Generator().manual_seed(0)
    ids = lambda n: tuple(torch.randint(61, (n,), generator=draw).tolist())  # noqa: E731
    shown = (ids(12), ids(9))
    prompts = [Prompt(str(i), (*shown[i % 2], *ids(1 + i % 4)), 6) for i in range(10)]
    model = prepare(small_models.make(name, MODELS[name], seed=2))
    expected = {key: it.ids for key, it in Engine(model, [], rows=rows).generate(prompts)}
    counted = []
    split = reading.split_reading
    monkeypatch.setattr(reading, "LEAST", 8)

    def counting(*given):
        counted.append(split(*given))
        return counted[-1]

    monkeypatch.setattr("regimen.generation.engine.split_reading", counting)
    found = {key: it.ids for key, it in Engine(model, [], rows=rows).generate(prompts)}
    assert found == expected
    shared = sum(len(rests) for _, rests in counted)
    assert shared >= (3 if rows == 3 else 8)
