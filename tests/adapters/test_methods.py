"""Every method of adaptation: pytest tests/adapters/test_methods.py."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.small_models import MODELS, make
from regimen.adapters.adalora import AdaLora
from regimen.adapters.files import load_adapter, merge, save_adapter
from regimen.adapters.lora import Lora, Vera
from regimen.adapters.methods import METHODS, add_adapter, trainable
from regimen.adapters.networks import Bottleneck
from regimen.adapters.products import Loha, Lokr
from regimen.adapters.prompts import PrefixTuning, Prompt, PTuning
from regimen.adapters.rotations import Boft, Oft
from regimen.adapters.spec import Spec, upkeep_of
from regimen.adapters.vectors import Ia3, LayerNorms, TokenRows
from regimen.errors import AdapterError
from regimen.memory.activations import checkpoint_activations
from regimen.models.forward import prepare
from regimen.models.head import full_logits, reduce
from regimen.objectives.supervised import Supervised
from regimen.settings import adapters as sections
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.ragged import Segment, ragged_batch
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.checkpoints import load_checkpoint, save_checkpoint
from regimen.training.loop import Hooks, train
from regimen.training.measure import mean_nll
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions, State
from regimen.verifying.exports import move_weights

SPECS: dict[str, Spec] = {
    "lora": Lora(r=4, dropout=0.1),
    "rslora, attention": Lora(r=4, use_rslora=True, target_modules="attention"),
    "dora, mlp": Lora(r=4, use_dora=True, target_modules="mlp"),
    "pissa": Lora(r=4, init="pissa", use_rslora=True),
    "olora": Lora(r=4, init="olora"),
    "orthogonal": Lora(r=4, init="orthogonal"),
    "lora+": Lora(r=4, learning_rate_ratio=16.0),
    "adalora": AdaLora(r=2, initial_r=4),
    "vera": Vera(r=8),
    "loha": Loha(r=2),
    "lokr": Lokr(r=2),
    "oft": Oft(block_size=4),
    "boft": Boft(block_size=4),
    "ia3": Ia3(),
    "prompt": Prompt(num_virtual_tokens=3),
    "prompt, random": Prompt(num_virtual_tokens=3, init="random"),
    "p_tuning": PTuning(num_virtual_tokens=3, hidden_size=8),
    "p_tuning, lstm": PTuning(num_virtual_tokens=3, hidden_size=8, encoder="lstm"),
    "prefix": PrefixTuning(num_virtual_tokens=3),
    "prefix, projection": PrefixTuning(num_virtual_tokens=3, projection=True, hidden_size=8),
    "houlsby": Bottleneck(placement="houlsby", inner=4),
    "pfeiffer": Bottleneck(inner=4, activation="gelu"),
    "parallel": Bottleneck(placement="parallel", inner=4, scale=4.0),
    "layernorm": LayerNorms(),
    "tokens": TokenRows(tokens=(5, 6, 9)),
}
ROWS = token_rows([Rendered((4, 5, 6, 7 + n % 3, 9), (0.0, 1.0, 1.0, 1.0, 1.0)) for n in range(12)])
OPTIONS = LoopOptions(
    learning_rate=1e-2, tokens_per_batch=20, num_train_epochs=None, max_steps=8, save_every=3
)
TOKENIZER = train_tokenizer(["some text to learn from"] * 5, 270)
BATCH = ragged_batch([Segment([4, 5, 6, 7], [0, 1, 1, 1]), Segment([8, 9], [0, 1])])


def base(arch: str = "llama") -> Any:
    return make(arch, MODELS[arch]).eval()


def adapted(spec: Spec, arch: str = "llama", seed: int = 0) -> Any:
    return add_adapter(base(arch), spec, seed=seed)


@torch.no_grad()
def ours(network: Any) -> Tensor:
    """Logits of the batch by the forward of training, (T, V)."""
    model = prepare(copy.deepcopy(network).eval())
    assert model.ragged, model.reason
    return full_logits(model.hidden(BATCH), model.head(), torch.float32)


@torch.no_grad()
def theirs(network: Any) -> Tensor:
    """The same by the library's own forward, one sequence at a time."""
    network.eval()
    rows = ([4, 5, 6, 7], [8, 9])
    # where embeddings stand before a row, their logits come first
    logits = [network(input_ids=torch.tensor([ids])).logits[0, -len(ids) :] for ids in rows]
    return torch.cat(logits)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=2e-5, rtol=2e-5)


def trained(network: Any) -> Any:
    optimizer = OPTIMIZERS["adamw"](parameter_groups(network, 0.0))
    upkeep = upkeep_of(network, OPTIONS.max_steps)
    train(prepare(network), ROWS, Supervised(), optimizer, OPTIONS, upkeep=upkeep)
    return network


def loss(network: Any) -> float:
    return mean_nll(prepare(network), ROWS, tokens_per_batch=100, bf16=False)


@pytest.mark.matrix
@pytest.mark.parametrize("name", SPECS)
def test_every_method_trains_and_leaves_the_base_alone(name: str) -> None:
    network = adapted(SPECS[name])
    before = {n: p.detach().clone() for n, p in network.named_parameters() if not p.requires_grad}
    first = loss(network)
    trained(network)
    assert loss(network) < first
    after = dict(network.named_parameters())
    assert all(torch.equal(value, after[n]) for n, value in before.items())


@pytest.mark.matrix
@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not spec.virtual])
def test_a_fresh_adapter_changes_nothing(name: str) -> None:
    close(ours(adapted(SPECS[name])), theirs(base()))


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("name", "arch"),
    [*((name, arch) for name in SPECS for arch in ("llama", "gpt2")), ("tokens", "llama tied")],
)
def test_saved_loaded_merged_and_disabled(name: str, arch: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    if arch == "gpt2" and isinstance(spec, Loha | Lokr | Oft | Boft):
        pytest.skip("these take no layers of GPT-2's kind, as another test shows")
    if arch == "gpt2" and name == "olora":
        pytest.skip("as another test shows")
    network = adapted(spec, arch)
    plain = theirs(base(arch))
    if isinstance(spec, AdaLora):
        upkeep_of(network, 8)
    move_weights(network)
    expected = theirs(network)
    assert float((expected - plain).abs().max()) > 1e-3
    close(ours(network), expected)
    save_adapter(network, tmp_path)
    loaded = load_adapter(base(arch), str(tmp_path))
    close(theirs(loaded), expected)
    close(ours(loaded), expected)
    with loaded.disable_adapter():
        close(theirs(loaded), plain)
        close(ours(loaded), plain)
    if spec.merges:
        close(theirs(merge(loaded)), expected)
    else:
        with pytest.raises(AdapterError, match="cannot become part"):
            merge(loaded)


@pytest.mark.matrix
@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2", "mistral", "qwen3"])
@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.virtual])
def test_gradients_of_virtual_positions_are_those_of_padded_rows(name: str, arch: str) -> None:
    rows = ([4, 5, 6, 7, 3, 2], [8, 9, 10])
    segments = [Segment(ids, [0.0, *([1.0] * (len(ids) - 1))]) for ids in rows]
    batch, network = ragged_batch(segments), adapted(SPECS[name], arch)
    move_weights(network)

    def gradients(total: Tensor) -> dict[str, Tensor]:
        network.zero_grad()
        total.backward()
        return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}

    padded = torch.tensor([ids + [0] * (6 - len(ids)) for ids in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (6 - len(ids)) for ids in rows])
    logits = network(input_ids=padded, attention_mask=mask).logits[:, -6:].log_softmax(-1)
    total = sum(-logits[i, t - 1, ids[t]] for i, ids in enumerate(rows) for t in range(1, len(ids)))
    assert isinstance(total, Tensor)
    expected = gradients(total)
    model = prepare(network)
    assert model.ragged, model.reason
    for checkpointing in (False, True):
        if checkpointing:
            checkpoint_activations(network)
        hidden = model.hidden(batch, batch.source_row_N)
        reduced = reduce(hidden, model.head(), batch.source_row_N, batch.target_N, {"logp"})
        assert reduced.logp_N is not None
        found = gradients(-reduced.logp_N.sum())
        assert found.keys() == expected.keys()
        for part, value in expected.items():
            largest = float(value.abs().max())
            torch.testing.assert_close(found[part], value, atol=1e-4 * largest + 1e-7, rtol=1e-4)


@pytest.mark.matrix
@pytest.mark.parametrize("name", SPECS)
def test_going_on_from_disk_equals_an_uninterrupted_run(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]

    def start(seed: int) -> tuple[Any, torch.optim.Optimizer, Any]:
        network = adapted(spec, seed=0)
        if seed:  # what the checkpoint has to bring back
            move_weights(network, seed=seed)
        optimizer = OPTIMIZERS["adamw"](parameter_groups(network, 0.0))
        return network, optimizer, upkeep_of(network, OPTIONS.max_steps)

    straight, optimizer, upkeep = start(0)

    def save(state: State) -> None:
        save_checkpoint(tmp_path, straight, TOKENIZER, optimizer, state, upkeep=upkeep)

    train(
        prepare(straight), ROWS, Supervised(), optimizer, OPTIONS, Hooks(save=save), upkeep=upkeep
    )
    again, fresh, other = start(5)
    state = load_checkpoint(tmp_path / "checkpoint-6", again, fresh, upkeep=other)
    train(prepare(again), ROWS, Supervised(), fresh, OPTIONS, state=state, upkeep=other)
    for (n, a), (_, b) in zip(straight.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(a, b), n


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_has_a_section_of_the_same_fields(kind: str) -> None:
    assert tuple(METHODS) == sections.KINDS
    section = next(
        model
        for model in vars(sections).values()
        if isinstance(model, type)
        and issubclass(model, sections.Section)
        and model is not sections.UnknownAdapter
        and "kind" in model.model_fields
        and kind in str(model.model_fields["kind"].annotation)
        and str(model.model_fields["kind"].annotation).endswith(f"['{kind}']")
    )
    spec = {field.name: field.default for field in fields(METHODS[kind])}
    assert set(section.model_fields) - {"kind"} == set(spec)
    for name, default in spec.items():
        assert section.model_fields[name].default == default, name


def test_the_methods_differ_in_what_they_train() -> None:
    counts = {name: trainable(adapted(spec)).parameters for name, spec in SPECS.items()}
    assert counts["ia3"] < counts["vera"] < counts["lora"]
    assert counts["rslora, attention"] < counts["lora"]
