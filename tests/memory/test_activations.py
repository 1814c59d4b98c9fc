"""What is kept of a forward pass changes neither loss nor gradient: pytest tests/memory."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from helpers.small_models import MODELS, PADDED, make
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.errors import ModelError, TrainingError
from regimen.memory import activations
from regimen.memory.activations import ACTIVATIONS, Activations, arrange, offloaded_bytes
from regimen.models.blocks import gated_network
from regimen.models.buffers import kept_buffers
from regimen.models.forward import base_of, prepare
from regimen.models.head import reduce
from regimen.models.tiles import networks_of
from regimen.tokens.ragged import Segment, ragged_batch

ALL = {**MODELS, **PADDED}
WITHOUT_NETWORKS = ("opt", "mamba")
EXACT = [Activations(kind=kind, tokens=64) for kind in ACTIVATIONS if kind != "keep"]
TILED = [Activations(kind=kind, tokens=64, tile_rows=4) for kind in ACTIVATIONS]
INNER = 48


def batch():
    draw = torch.Generator().manual_seed(5)
    ids = [torch.randint(61, (n,), generator=draw).tolist() for n in (9, 6, 12)]
    parents = (-1, -1, 0)
    return ragged_batch(
        [
            Segment(x, [0.0] * (len(x) - 4) + [1.0] * 4, parent)
            for x, parent in zip(ids, parents, strict=True)
        ]
    )


def lora(model, dropout=0.0):
    adapted = add_adapter(model, Lora(r=4, dropout=dropout), seed=3)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return adapted


def step(prepared, *, seed=11, bf16=False):
    """Loss and gradients of one batch."""
    model, rows = prepared.model.train(), batch()
    model.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden = prepared.hidden(rows, rows.source_row_N)
        out = reduce(
            hidden, prepared.head(), rows.source_row_N, rows.target_N, {"nll_sum"},
            weight_N=rows.weight_N,
        )  # fmt: skip
    out.nll_sum.backward()
    return out.nll_sum.detach(), {n: p.grad for n, p in model.named_parameters()}


def trained(name, options, *, adapter=None, **more):
    """A step of a model that is arranged before it is prepared."""
    model = make(name, ALL[name]).train()
    model = model if adapter is None else adapter(model)
    arrange(model, options)
    return step(prepare(model), **more)


def apart(one, other):
    """The largest differences of losses and gradients, relative to the largest number."""
    (loss, gradients), (ours, got) = one, other
    assert {n for n, g in gradients.items() if g is None} == {
        n for n, g in got.items() if g is None
    }
    there = {n: g for n, g in gradients.items() if g is not None}
    size = max(float(g.abs().max()) for g in there.values())
    assert size > 0
    worst = max(float((got[n] - g).abs().max()) for n, g in there.items())
    return float((ours - loss).abs() / loss.abs()), worst / size


@pytest.fixture(autouse=True)
def everything_moves(monkeypatch):
    monkeypatch.setattr(activations, "SMALL", 0)


def possible(name, options):
    needs_networks = options.kind == "selective" or options.tile_rows is not None
    return not (needs_networks and name in WITHOUT_NETWORKS)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ALL)
def test_every_way_has_the_loss_and_the_gradients_of_keeping_everything(name):
    prepared = prepare(make(name, ALL[name]))
    plain = step(prepared)
    # the networks stay in tiles: offload last, so that it is seen with and without
    for options in (EXACT[1], EXACT[2], EXACT[0], TILED[0], TILED[2]):
        if not possible(name, options):
            with pytest.raises(ModelError, match="activations-refused"):
                arrange(prepared.model, options)
            continue
        arrange(prepared.model, options)
        bound = 3e-6 if options.tile_rows else 0.0
        assert max(apart(plain, step(prepared))) <= bound, (options.kind, options.tile_rows)


@pytest.mark.matrix
@pytest.mark.parametrize("options", [*EXACT, TILED[1], TILED[3]])
@pytest.mark.parametrize("name", ["llama", "qwen2_moe"])
def test_also_where_a_model_is_arranged_before_it_is_prepared(name, options):
    found = apart(trained(name, Activations()), trained(name, options))
    assert max(found) <= (3e-6 if options.tile_rows else 0.0)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2", "gpt2", "mixtral"])
def test_also_under_lora_whose_dropout_is_drawn_again(name):
    prepared = prepare(lora(make(name, ALL[name]).train(), dropout=0.3))
    plain = step(prepared)
    assert max(apart(plain, step(prepared, seed=12))) > 1e-3
    for options in (EXACT[1], EXACT[2], EXACT[0]):
        arrange(prepared.model, options)
        assert apart(plain, step(prepared)) == (0.0, 0.0)


@pytest.mark.matrix
@pytest.mark.parametrize("options", [*EXACT, *TILED])
def test_also_in_bf16_and_where_gradients_are_added_in_place(options):
    plain = trained("llama", Activations(), bf16=True)
    with kept_buffers():
        found = apart(plain, trained("llama", options, bf16=True))
    assert max(found) <= (1e-2 if options.tile_rows else 1e-6)


def test_a_copy_of_a_model_in_tiles_has_its_own_weights():
    model = make("llama", MODELS["llama"]).train()
    arrange(model, Activations(kind="selective", tile_rows=4))
    twin = copy.deepcopy(model)
    x = torch.randn(1, 9, 32)
    before = twin.model.layers[0].mlp(x).detach()
    torch.nn.init.zeros_(model.model.layers[0].mlp.down_proj.weight)
    torch.testing.assert_close(twin.model.layers[0].mlp(x).detach(), before)
    assert list(twin.state_dict()) == list(make("llama", MODELS["llama"]).state_dict())


def kept_shapes(kind, name="llama"):
    """The shapes of what autograd keeps of a forward pass, without the weights."""
    model = make(name, ALL[name]).train()
    arrange(model, Activations(kind=kind, tokens=64))
    prepared, rows = prepare(model), batch()
    model.train()
    weights = {p.data_ptr() for p in model.parameters()}
    found = {}

    def pack(tensor):
        if tensor.data_ptr() not in weights:
            found[tensor.data_ptr()] = tuple(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = prepared.hidden(rows)
    return hidden, sorted(found.values())


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_less_is_kept(name):
    kept = {kind: kept_shapes(kind, name) for kind in ("keep", "selective", "full")}
    rows = batch().num_tokens
    shapes = {kind: found for kind, (_, found) in kept.items()}
    inside = {kind: [s for s in found if INNER in s] for kind, found in shapes.items()}
    assert len(inside["keep"]) >= 4
    assert inside["selective"] == inside["full"] == []
    sizes = {kind: sum(torch.Size(s).numel() for s in found) for kind, found in shapes.items()}
    assert sizes["keep"] > sizes["selective"] > sizes["full"]
    assert [s for s in shapes["full"] if rows in s and 32 in s][:2] == [(1, rows, 32)] * 2


def test_tiles_are_no_larger_than_asked_for():
    model = make("llama", MODELS["llama"]).train()
    arrange(model, Activations(kind="keep", tile_rows=5))
    seen = []
    for module in networks_of(model.model):  # a hook sends them past the fused function
        module.gate_proj.register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[-2]))
    prepared, rows = prepare(model), batch()
    model.train()
    seen.clear()
    prepared.hidden(rows).sum().backward()
    assert rows.num_tokens == 27
    assert seen == [5, 5, 5, 5, 5, 2] * 2 * 2


def test_the_last_layer_computes_only_what_is_read_the_second_time_too(monkeypatch):
    model = make("llama", MODELS["llama"]).train()
    arrange(model, Activations(kind="full"))
    prepared, rows = prepare(model), batch()
    model.train()
    seen = []
    monkeypatch.setattr(
        "regimen.models.fused.gated_network",
        lambda x, *parts: (seen.append(x.shape[-2]), gated_network(x, *parts))[1],
    )
    prepared.hidden(rows, rows.source_row_N).sum().backward()
    assert seen == [27, 12, 12, 27]


def test_networks_are_computed_again_once_where_their_layers_are_too(monkeypatch):
    model = make("llama", MODELS["llama"]).train()
    arrange(model, Activations(kind="full", tile_rows=64))
    seen = []
    for module in networks_of(model.model):
        module.gate_proj.register_forward_hook(lambda _m, args, _o: seen.append(1))
    prepared, rows = prepare(model), batch()
    model.train()
    seen.clear()
    prepared.hidden(rows).sum().backward()
    assert len(seen) == 4


@pytest.mark.parametrize("name", ["llama", "bloom"])
def test_what_goes_into_a_network_is_gone_where_its_layer_is_computed_again(name):
    model = make(name, ALL[name]).train()
    arrange(model, Activations(kind="full", tile_rows=5))
    prepared, rows = prepare(model), batch()
    model.train()
    seen = []
    for module in networks_of(base_of(model).base_model):
        module.register_forward_pre_hook(lambda _m, args: seen.append(weakref.ref(args[0])))
    hidden = prepared.hidden(rows)
    assert [ref() for ref in seen] == [None, None]
    hidden.sum().backward()


def test_what_was_kept_of_a_layer_is_gone_when_the_one_before_is_computed_again():
    model = make("llama", MODELS["llama"]).train()
    arrange(model, Activations(kind="full"))
    prepared, rows = prepare(model), batch()
    model.train()
    first, last = model.model.layers
    kept, seen = [], []
    last.register_forward_pre_hook(
        lambda _m, args: kept.append(StorageWeakRef(args[0].untyped_storage()))
    )
    first.mlp.register_forward_pre_hook(lambda *_: seen.append([ref.expired() for ref in kept]))
    prepared.hidden(rows).sum().backward()
    assert seen == [[], [True]]


@pytest.mark.parametrize("adapter", [None, lora])
def test_the_last_product_of_a_network_is_not_computed_again(adapter, monkeypatch):
    from regimen.models import blocks

    model = make("llama", MODELS["llama"]).train()
    model = model if adapter is None else adapter(model)
    arrange(model, Activations(kind="selective"))
    prepared, rows = prepare(model), batch()
    model.train()
    outputs, project = [], blocks.project

    def counting(low, parts, dtype=None):
        outputs.append(tuple(part.weight_OI.shape for part in parts))
        return project(low, parts, dtype)

    monkeypatch.setattr(blocks, "project", counting)
    prepared.hidden(rows).sum().backward()
    assert outputs.count(((INNER, 32), (INNER, 32))) == 4
    assert outputs.count(((32, INNER),)) == 2


def test_inputs_of_layers_lie_on_disk_and_go_with_the_graph(tmp_path, monkeypatch):
    made = []
    real = activations.Scratch
    monkeypatch.setattr(activations, "Scratch", lambda *a: made.append(real(*a)) or made[-1])
    model = make("llama", MODELS["llama"]).train()
    arrange(model, Activations(kind="offload", directory=tmp_path / "new", tokens=27))
    prepared, rows = prepare(model), batch()
    model.train()
    (scratch,) = made
    for _ in range(3):
        hidden = prepared.hidden(rows)
        assert scratch.size == 2 * (1 << 16)  # a layer's input each, a page at least
        assert scratch._free == {}
        hidden.sum().backward()
        del hidden
        assert sum(map(len, scratch._free.values())) == 2
        scratch_again, scratch._free = scratch._free, {}
        scratch.size = 0
        assert scratch_again
    assert list((tmp_path / "new").iterdir()) == []


def test_a_disk_that_is_too_small_is_told_before_the_first_step(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    model = make("llama", MODELS["llama"])
    with pytest.raises(TrainingError) as raised:
        arrange(model, Activations(kind="offload", directory=tmp_path, tokens=1000))
    error = raised.value
    assert error.slug == "disk-too-small"
    assert "GiB" in error.got
    assert "GiB" in error.expected
    assert "offload_directory" in error.fix
    assert error.where == str(tmp_path)
    assert offloaded_bytes(model, 1000) == 2 * 32 * 1000 * 4


def test_a_disk_that_becomes_full_is_the_same_error(tmp_path, monkeypatch):
    model = make("llama", MODELS["llama"]).train()
    arrange(model, Activations(kind="offload", directory=tmp_path, tokens=27))
    prepared = prepare(model)
    model.train()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(TrainingError, match="disk-too-small"):
        prepared.hidden(batch())


def test_offload_to_the_memory_that_they_are_in_is_refused():
    model = make("llama", MODELS["llama"])
    with pytest.raises(TrainingError, match="offload-nothing"):
        arrange(model, Activations(kind="offload", offload_to="cpu"))


def test_evaluation_neither_keeps_nor_computes_again():
    model = make("llama", MODELS["llama"]).train()
    arrange(model, Activations(kind="full", tile_rows=4))
    prepared, rows = prepare(model), batch()
    model.eval()
    plain = prepare(make("llama", MODELS["llama"]))
    with torch.no_grad():
        ours, expected = prepared.hidden(rows), plain.hidden(rows)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert base_of(model) is model
