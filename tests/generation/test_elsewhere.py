"""pytest tests/generation/test_elsewhere.py

Generation and measuring on an accelerator that computes as the CPU does.
"""

from dataclasses import replace

import pytest
import torch

from helpers import pretended
from helpers.objective_cases import VOCABULARY, network
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.adapters.prompts import PrefixTuning, Prompt
from regimen.generation import decoding, static
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt as Asked
from regimen.models import mixers
from regimen.models.divergence import divergence
from regimen.models.forward import prepare
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import Rendered
from regimen.tokens.sharing import RenderedShared
from regimen.tokens.store import token_rows
from regimen.training.measure import continuation_logps, mean_nll, measured_batches


@pytest.fixture(autouse=True)
def there(monkeypatch):
    """Inside a test there is an accelerator; its kernels take no tensors of the CPU."""
    monkeypatch.setattr(mixers, "MIXERS", {})
    with pretended.pretended():
        yield


def adapted(kind):
    model = network()
    if kind == "plain":
        return model
    spec = {"lora": Lora(r=2), "prompt": Prompt(), "prefix": PrefixTuning()}[kind]
    return add_adapter(model, spec, seed=0)


def prompts():
    draw = torch.Generator().manual_seed(5)
    for number in range(6):
        length = 3 + 2 * (number % 3)
        ids = tuple(torch.randint(VOCABULARY, (length,), generator=draw).tolist())
        yield Asked(str(number), ids, 5, temperature=float(number % 2), top_p=0.9, seed=number)
    yield Asked("again", ids, 5)


@pytest.mark.parametrize(
    ("kind", "kv_cache"),
    [
        ("plain", "full"),
        ("plain", "int8"),
        ("lora", "full"),
        ("prompt", "full"),
        ("prefix", "full"),
    ],
)
def test_generated_ids_are_the_cpus(kind, kv_cache):
    def told(model):
        engine = Engine(prepare(model), (0,), rows=4, kv_cache=kv_cache)
        return {name: found.ids for name, found in engine.generate(list(prompts()))}

    assert told(pretended.move(adapted(kind))) == told(adapted(kind))


def replayed(run):
    """As a CUDA graph: what runs once goes on with the tensors that it had then."""
    with torch.inference_mode():
        out = run()
    return lambda: out.copy_(run()), out


@pytest.mark.parametrize("record", [replayed, None])
@pytest.mark.parametrize("fields", [{}, {"sliding_window": 4}])
def test_recorded_steps_give_the_cpus_ids(monkeypatch, record, fields):
    steps = []

    class Step(static.StaticStep):
        def __init__(self, cache, run, _record, *more):
            super().__init__(cache, run, record, *more)
            steps.append(self)

    monkeypatch.setattr(decoding, "StaticStep", Step)
    many = [replace(one, id=f"{one.id} {n}") for n in range(3) for one in prompts()]
    config = {"model": "mistral" if fields else "llama", **fields}

    def told(place):
        engine = Engine(prepare(place(network(**config))), (0,), rows=11)
        return {name: found.ids for name, found in engine.generate(many)}

    assert told(pretended.move) == told(lambda model: model)
    (step,) = steps
    assert step.why_not == ""
    assert set(step._kept) <= {8, 11}
    assert all((kept.replay is None) == (record is None) for kept in step._kept.values())


def test_a_model_that_cannot_be_recorded_goes_on_kernel_by_kernel():
    def fails(_run):
        raise RuntimeError("operation not permitted when stream is capturing")

    cache = static.StaticCache(8, 4)
    step = static.StaticStep(
        cache, lambda ids, at: torch.stack([ids, at], 1), fails, torch.device("cpu"), 0
    )
    for _ in range(2):
        found = step.hidden([2, 5], [7, 8], [1, 3])
        assert found.tolist() == [[7, 1], [8, 3]]
    assert "not permitted" in step.why_not
    assert step.record is None


def test_likelihoods_are_the_cpus():
    rows = token_rows(
        Rendered(tuple(range(2, 2 + n)), (0.0, *[1.0] * (n - 1))) for n in (5, 9, 4, 12)
    )
    rests = tuple(Rendered((7, *range(n)), (1.0,) * (n + 1)) for n in range(3))
    shared = [RenderedShared((1, 2, 3), rests), RenderedShared((4,), rests[:2])]
    options = {"tokens_per_batch": 16, "bf16": False}

    def told(model):
        logps = [logp.cpu() for _, _, logp in measured_batches(model, rows, **options)]
        found = continuation_logps(model, shared, bf16=False)
        return mean_nll(model, rows, **options), torch.cat(logps), [one.logp for one in found[0]]

    here, away = prepare(network()), prepare(pretended.move(network()))
    for ours, theirs in zip(told(away), told(here), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    other = prepare(pretended.move(network(seed=3)))
    batches = [ragged_batch(rows.segments([0, 1])), ragged_batch(rows.segments([2, 3]))]
    found = divergence(away, other, batches)
    assert found.kl == pytest.approx(divergence(here, prepare(network(seed=3)), batches).kl)
