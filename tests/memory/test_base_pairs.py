"""Every kind of adapter on every kind of base: pytest tests/memory/test_base_pairs.py"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers.quantised_models import KINDS, gradients, nll, quantised, same, twin, wake, write
from regimen.adapters.lora import Lora
from regimen.adapters.methods import METHODS, add_adapter
from regimen.adapters.own_weights import Freeze
from regimen.adapters.spec import Spec
from regimen.adapters.vectors import TokenRows
from regimen.errors import AdapterError
from regimen.settings.quantised import REFUSED, of_a_base

pytest.importorskip("bitsandbytes")

MAKE: Mapping[str, Callable[[], Spec]] = {
    **METHODS,
    "freeze": lambda: Freeze(layers=1),
    "tokens": lambda: TokenRows(tokens=(4, 5)),
    "dora": lambda: Lora(use_dora=True),
    "rslora": lambda: Lora(use_rslora=True),
}
ALLOWED = [(b, a) for b in KINDS for a in MAKE if b not in REFUSED.get(a, ((),))[0]]
NOT = [(b, a) for b in KINDS for a in MAKE if b in REFUSED.get(a, ((),))[0]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("base"))


def _marked(pairs: list[tuple[str, str]]) -> list[Any]:
    """Bases that differ from another in their codes alone are for the slow run."""
    slow = pytest.mark.slow
    return [
        pytest.param(*it, marks=slow if it[0] in ("fp4", "int4_torchao") else ()) for it in pairs
    ]


@pytest.mark.matrix
@pytest.mark.parametrize(("base", "adapter"), _marked(ALLOWED))
def test_an_allowed_pair_learns_with_the_gradient_of_the_plain_base(base, adapter, folder) -> None:
    model = quantised(folder, base)
    models = [add_adapter(it, MAKE[adapter](), seed=3) for it in (model, twin(folder, model))]
    for it in models:
        wake(it.train())
    same(*map(gradients, models), 1e-4)
    learning = models[0]
    optimizer = torch.optim.Adam([p for p in learning.parameters() if p.requires_grad], 1e-2)
    first = nll(learning).item()
    for _ in range(5):
        optimizer.zero_grad()
        nll(learning).backward()
        optimizer.step()
    assert nll(learning).item() < first - 0.05


@pytest.mark.matrix
@pytest.mark.parametrize(("base", "adapter"), NOT)
def test_a_refused_pair_is_told_by_settings_and_by_the_method(base, adapter, folder) -> None:
    (conflict,) = of_a_base(SimpleNamespace(kind=adapter), base)
    assert conflict.at == ("adapter", "kind")
    assert conflict.fix
    with pytest.raises(AdapterError, match="cannot be trained on this quantised base") as caught:
        add_adapter(quantised(folder, base), MAKE[adapter](), seed=3)
    assert base in caught.value.got


@pytest.mark.parametrize(("base", "adapter"), ALLOWED)
def test_the_settings_do_not_refuse_an_allowed_pair(base, adapter) -> None:
    assert not list(of_a_base(SimpleNamespace(kind=adapter), base))


@pytest.mark.matrix
@pytest.mark.parametrize("base", KINDS)
@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_no_part_is_taken_out_of_a_quantised_base(base, init, folder) -> None:
    (conflict,) = of_a_base(SimpleNamespace(kind="lora", init=init), base)
    assert conflict.at == ("adapter", "init")
    with pytest.raises(AdapterError, match="cannot be trained on this quantised base"):
        add_adapter(quantised(folder, base), Lora(r=4, init=init), seed=3)


@pytest.mark.matrix
@pytest.mark.parametrize("base", KINDS)
def test_loftq_brings_the_model_nearer_to_the_full_one(base, folder) -> None:
    from transformers import AutoModelForCausalLM

    plain = add_adapter(quantised(folder, base), Lora(r=16), seed=0)
    better = add_adapter(quantised(folder, base), Lora(r=16, init="loftq"), seed=0)
    rows = torch.tensor([[4, 5, 6, 7, 8]])
    with torch.no_grad():
        exact = AutoModelForCausalLM.from_pretrained(folder)(input_ids=rows).logits
        far, near = (torch.dist(it(input_ids=rows).logits, exact) for it in (plain, better))
    assert near < 0.9 * far
