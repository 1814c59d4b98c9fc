"""Several adapters on one base: pytest tests/adapters/test_several.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.small_models import MODELS, make
from regimen.adapters.files import load_adapter, save_adapter
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.adapters.prompts import Prompt
from regimen.adapters.several import (
    HOW,
    Routes,
    combine,
    is_routed,
    load_several,
    read_routes,
    switch,
    using,
)
from regimen.adapters.spec import Spec
from regimen.adapters.vectors import Ia3
from regimen.errors import AdapterError
from regimen.models.forward import prepare
from regimen.models.head import full_logits
from regimen.tokens.ragged import Segment, ragged_batch
from regimen.verifying.exports import move_weights

BATCH = ragged_batch([Segment([4, 5, 6, 7], [0, 1, 1, 1]), Segment([8, 9], [0, 1])])


def base(seed: int = 1) -> Any:
    return make("llama", MODELS["llama"], seed)


def saved(folder: Path, spec: Spec, seed: int, base_seed: int = 1) -> str:
    network = add_adapter(base(base_seed), spec, seed=seed)
    move_weights(network, seed=seed)
    save_adapter(network, folder)
    return str(folder)


@torch.no_grad()
def logits(network: Any) -> Tensor:
    model = prepare(network.eval())
    return full_logits(model.hidden(BATCH), model.head(), torch.float32)


@pytest.fixture(scope="module", params=[Lora(r=3), Prompt(num_virtual_tokens=2), Ia3()], ids=repr)
def both(request: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("several")
    return {name: saved(folder / name, request.param, n) for n, name in enumerate("ab")}


def test_each_does_what_it_does_alone(both: dict[str, str]) -> None:
    alone = {name: logits(load_adapter(base(), path)) for name, path in both.items()}
    network = load_several(base(), both)
    plain = logits(base())
    for name in "aba":
        switch(network, name)
        torch.testing.assert_close(logits(network), alone[name])
        with using(network, ""):
            torch.testing.assert_close(logits(network), plain)
        with using(network, "b"):
            torch.testing.assert_close(logits(network), alone["b"])
        torch.testing.assert_close(logits(network), alone[name])
    switch(network, "")
    torch.testing.assert_close(logits(network), plain)
    with using(network, "a"):
        torch.testing.assert_close(logits(network), alone["a"])
    torch.testing.assert_close(logits(network), plain)


def deltas(network: Any, name: str) -> dict[str, Tensor]:
    return {
        part: module.get_delta_weight(name)
        for part, module in network.named_modules()
        if hasattr(module, "get_delta_weight")
    }


@pytest.mark.matrix
@pytest.mark.parametrize("how", HOW)
def test_combined_adapters_are_adapters(how: str, tmp_path: Path) -> None:
    paths = {name: saved(tmp_path / name, Lora(r=3), n) for n, name in enumerate("ab")}
    network = load_several(base(), paths)
    combine(network, {"a": 0.7, "b": 0.4}, tmp_path / "both", how=how, density=0.5, seed=1)
    loaded = load_adapter(base(), str(tmp_path / "both"))
    found = deltas(loaded, "default")
    wanted = {
        part: 0.7 * a + 0.4 * b
        for (part, a), b in zip(
            deltas(network, "a").items(), deltas(network, "b").values(), strict=True
        )
    }
    if how == "cat":  # exact
        for part, value in wanted.items():
            torch.testing.assert_close(found[part], value, atol=1e-5, rtol=1e-4)
    if how == "svd":  # the nearest of rank 3
        for part, value in wanted.items():
            sizes = torch.linalg.svdvals(value)
            lost = torch.linalg.matrix_norm(found[part] - value)
            torch.testing.assert_close(lost, sizes[3:].square().sum().sqrt(), atol=1e-4, rtol=1e-3)
    assert torch.isfinite(logits(loaded)).all()
    assert not torch.allclose(logits(loaded), logits(base()))
    # the same seed draws the same entries
    again = load_several(base(), paths)
    combine(again, {"a": 0.7, "b": 0.4}, tmp_path / "again", how=how, density=0.5, seed=1)
    torch.testing.assert_close(
        logits(load_adapter(base(), str(tmp_path / "again"))), logits(loaded)
    )
    with pytest.raises(AdapterError, match="another base"):
        load_adapter(base(2), str(tmp_path / "both"))


def test_what_cannot_be_combined_is_told(tmp_path: Path) -> None:
    lora = saved(tmp_path / "lora", Lora(r=3), 0)
    wide = saved(tmp_path / "wide", Lora(r=5), 1)
    prompt = saved(tmp_path / "prompt", Prompt(num_virtual_tokens=2), 1)
    other = saved(tmp_path / "other", Lora(r=3), 1, base_seed=2)
    with pytest.raises(AdapterError, match="another base"):
        load_several(base(), {"a": lora, "b": other})
    with pytest.raises(AdapterError, match="beside the others"):
        load_several(base(), {"a": lora, "b": prompt})
    network = load_several(base(), {"a": lora, "b": wide})
    weights = {"a": 1.0, "b": 1.0}
    with pytest.raises(AdapterError, match="cannot be combined"):
        combine(network, weights, tmp_path / "x", how="linear", density=0.5, seed=0)
    with pytest.raises(AdapterError, match="in this way") as caught:
        combine(network, weights, tmp_path / "x", how="tie", density=0.5, seed=0)
    assert caught.value.fix == "Did you mean 'ties'?"
    combine(network, weights, tmp_path / "y", how="cat", density=0.5, seed=0)
    prompts = load_several(base(), {"a": prompt})
    with pytest.raises(AdapterError, match="cannot be combined"):
        combine(prompts, {"a": 1.0}, tmp_path / "z", how="cat", density=0.5, seed=0)


def test_routes_name_the_adapter_of_a_row(tmp_path: Path) -> None:
    made = Routes(base="b", adapters={"x": "p", "y": "q"}, by="family", use={"pick": "x"})
    made.write(tmp_path)
    assert is_routed(str(tmp_path))
    found = read_routes(str(tmp_path))
    assert found == made
    assert found.of({"family": "pick", "language": "en"}) == "x"
    assert found.of({"family": "sort"}) == found.of({}) == ""
    Routes(base="b", adapters={"x": "p"}, by="famly", use={}).write(tmp_path)
    with pytest.raises(AdapterError, match="told apart") as caught:
        read_routes(str(tmp_path))
    assert caught.value.fix == "Did you mean 'family'?"
    Routes(base="b", adapters={"x": "p"}, by="task", use={"t": "y"}).write(tmp_path)
    with pytest.raises(AdapterError, match="no adapter of this name"):
        read_routes(str(tmp_path))
    (tmp_path / "routes.json").write_text("{")
    with pytest.raises(AdapterError, match="cannot be read"):
        read_routes(str(tmp_path))
