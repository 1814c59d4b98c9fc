"""Groups of linear layers with LoRA: PEFT's own forward and backward, and what is left to PEFT."""

import copy
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from helpers import pretended
from helpers.small_models import MODELS, SMALL, make
from models.test_blocks import batch, loss_and_gradients, replaced_modules
from regimen.generation.weights import weights_of
from regimen.memory.activations import checkpoint_activations
from regimen.models import blocks, mixers, projections
from regimen.models.forward import prepare
from regimen.models.projections import Part, parts_of, row_lengths


def adapted(name="llama", fields=SMALL, dtype=torch.float32, **options):
    """A small model with LoRA whose matrices B are not zero."""
    config = LoraConfig(**{"r": 3, "lora_alpha": 5, "target_modules": "all-linear"} | options)
    torch.manual_seed(0)
    model = get_peft_model(make(name, fields), config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.05)
            elif "lora_magnitude" in key:
                parameter.mul_(torch.rand_like(parameter) + 0.5)
    return model.to(dtype).train()


def both(monkeypatch, *args, **options):
    """Through the functions, and through PEFT's own modules."""
    model = adapted(*args, **options)
    other = copy.deepcopy(model)
    replaced = prepare(model)
    with monkeypatch.context() as patch:
        patch.setattr("regimen.models.forward.fuse", lambda base: 0)
        patch.setattr("regimen.models.forward._fuse_attention", lambda model: {})
        return replaced, prepare(other)


def counted(monkeypatch):
    calls = []
    for kind in (blocks._SelfAttention, blocks._GatedNetwork):
        honest = kind.apply
        monkeypatch.setattr(kind, "apply", lambda *a, f=honest: (calls.append(1), f(*a))[1])
    return calls


def agree(replaced, own, *, kept=False, near=1e-5):
    loss, gradients = loss_and_gradients(own, batch(), rounds=2)
    ours, got = loss_and_gradients(replaced, batch(), rounds=2, kept=kept)
    torch.testing.assert_close(ours, loss, rtol=1e-6, atol=0)
    assert {k for k, g in got.items() if g is not None} == {
        k for k, g in gradients.items() if g is not None
    }
    for key, gradient in gradients.items():
        if gradient is not None:
            scale = float(gradient.abs().max()) + 1e-12
            assert float((got[key] - gradient).abs().max()) <= near * scale, key


@pytest.mark.matrix
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "granite"])
def test_losses_and_gradients_are_those_of_peft(name, kept, monkeypatch):
    fields = SMALL if name == "llama" else MODELS.get(name, SMALL)
    replaced, own = both(monkeypatch, name, fields)
    calls = counted(monkeypatch)
    agree(replaced, own, kept=kept)
    assert len(calls) == 2 * 2 * fields["num_hidden_layers"]


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": ["o_proj", "down_proj"]},
        {"target_modules": ["k_proj", "up_proj"], "use_rslora": True},
        {"rank_pattern": {"v_proj": 5}, "alpha_pattern": {"q_proj": 1}},
        {"bias": "all"},
        {"use_dora": True, "target_modules": ["q_proj", "v_proj", "up_proj"]},
        {"use_dora": True, "target_modules": ["o_proj", "down_proj"]},
        {"use_dora": True, "bias": "all"},
    ],
    ids=str,
)
def test_some_layers_other_ranks_other_scales(options, monkeypatch):
    name = "qwen2" if "bias" in options else "llama"
    near = 5e-5 if "use_dora" in options else 1e-5  # how near to fp64 both are: below
    agree(*both(monkeypatch, name, SMALL, **options), near=near)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_dora_goes_the_same_way(name, checkpointing, monkeypatch):
    """Learnt magnitudes; without copies of the weights that they belong to."""
    fields = SMALL if name == "llama" else MODELS[name]
    replaced, own = both(monkeypatch, name, fields, use_dora=True)
    if checkpointing:
        checkpoint_activations(replaced.model), checkpoint_activations(own.model)
    calls = counted(monkeypatch)
    agree(replaced, own, near=5e-5)
    assert calls
    assert sum("magnitude" in k and bool(p.grad.any()) for k, p in named(replaced)) == 14


def named(prepared):
    return [(k, p) for k, p in prepared.model.named_parameters() if p.requires_grad]


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*(st.integers(1, 9) for _ in range(3))),
    scale=st.floats(-4.0, 4.0),
    left=st.sampled_from([1.0, 1e-2, 1e-4, 0.0]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
    seed=st.integers(0, 99),
)
def test_lengths_of_rows_are_those_of_the_sum(shape, scale, left, dtype, seed):
    """Of those as well that the adapter nearly undoes, and wherever pieces are cut."""
    outputs, inputs, rank = shape
    draw = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(*s, generator=draw) for s in ((rank, inputs), (outputs, rank)))
    weight = torch.randn(outputs, inputs, generator=draw)
    weight[0] = left * weight[0] - scale * (b @ a)[0]
    weight = weight.to(dtype)
    part = Part(weight, None, a, b, scale, 0.0, torch.ones(outputs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projections, "PIECE", 16)
        found = row_lengths(part)
    exact = weight.double() + scale * (b.double() @ a.double())
    expected = torch.linalg.vector_norm(exact, dim=1)
    summands = torch.linalg.vector_norm(weight.double(), dim=1)
    near = 1e-5 * expected + (1e-12 if dtype == torch.float64 else 3e-7) * summands
    nothing = expected <= near  # then all is rounding, and a row of zeros counts as 1
    assert bool(((found - expected).abs() <= near)[~nothing].all())
    assert bool(torch.isfinite(1.0 / found).all())
    assert found.dtype == torch.promote_types(dtype, torch.float32)


@pytest.mark.parametrize("use_dora", [False, True])
def test_gradients_of_outputs_are_let_go_of(use_dora, monkeypatch):
    """Before those of the input are formed, where the most is needed."""
    replaced, _ = both(monkeypatch, use_dora=use_dora)
    last, gone = [], []
    honest = blocks.input_gradient

    def watched(grads, parts, *args, **kwargs):
        if len(parts) > 1:
            gone.append(last[-1]() is None)
        found = honest(grads, parts, *args, **kwargs)
        if len(parts) == 1:
            last.append(weakref.ref(found[1].products[0]))
        return found

    monkeypatch.setattr(blocks, "input_gradient", watched)
    loss_and_gradients(replaced, batch(), bf16=True)
    assert len(gone) == 2 * SMALL["num_hidden_layers"]
    assert all(gone)


def test_generation_merges_dora(monkeypatch):
    replaced, _ = both(monkeypatch, use_dora=True)
    module = next(m for n, m in replaced.model.named_modules() if n.endswith("up_proj"))
    weight, _ = weights_of(module)
    x = torch.randn(4, weight.shape[1], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(x @ weight.t(), module.eval()(x), rtol=1e-4, atol=1e-5)


def test_frozen_weights_get_no_gradient_and_no_product(monkeypatch):
    replaced, _ = both(monkeypatch)
    products = []
    honest = projections.weight_gradient
    monkeypatch.setattr(
        projections,
        "weight_gradient",
        lambda w, *a: (products.append(w.requires_grad), honest(w, *a))[1],
    )
    loss_and_gradients(replaced, batch())
    for key, parameter in replaced.model.named_parameters():
        assert (parameter.grad is None) == ("lora" not in key), key
    assert products.count(True) == 7 * SMALL["num_hidden_layers"]  # B; A of a group is one product


LEFT = {
    "DoRA with dropout": {"use_dora": True, "lora_dropout": 0.1},
    "bias of B": {"lora_bias": True},
}


@pytest.mark.filterwarnings("ignore:.lora_bias")
@pytest.mark.parametrize("options", LEFT.values(), ids=LEFT)
def test_more_than_lora_is_left_to_peft(options, monkeypatch):
    replaced, _ = both(monkeypatch, **options)
    calls = counted(monkeypatch)
    loss_and_gradients(replaced, batch())
    assert not calls


@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=str)
def test_gradients_are_as_near_to_those_in_fp64_as_those_of_peft(options, monkeypatch):
    """What lies between the two in fp32 is rounding: of losses 1e-6, of gradients a few of them."""
    _, exact = both(monkeypatch, dtype=torch.float64, **options)
    _, truth = loss_and_gradients(exact, batch(), rounds=2)
    replaced, own = both(monkeypatch, **options)
    calls, apart = counted(monkeypatch), {}
    for name, model in (("theirs", own), ("ours", replaced)):
        _, found = loss_and_gradients(model, batch(), rounds=2)
        apart[name] = max(
            float((found[key].double() - gradient).abs().max() / gradient.abs().max())
            for key, gradient in truth.items()
            if gradient is not None
        )
    assert calls
    assert apart["ours"] < 1e-5
    assert apart["ours"] < 2 * apart["theirs"] + 1e-6


@pytest.mark.matrix
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_with_dropout_the_masks_are_those_of_peft(name, share, checkpointing, monkeypatch):
    fields = SMALL if name == "llama" else MODELS[name]
    replaced, own = both(monkeypatch, name, fields, lora_dropout=share)
    if checkpointing:
        checkpoint_activations(replaced.model), checkpoint_activations(own.model)
    calls = counted(monkeypatch)
    found = []
    for model in (own, replaced):
        torch.manual_seed(7)
        found.append(loss_and_gradients(model, batch(), rounds=2))
    assert calls
    (loss, gradients), (ours, got) = found
    torch.testing.assert_close(ours, loss, rtol=1e-6, atol=0)
    for key, gradient in gradients.items():
        if gradient is not None:
            scale = float(gradient.abs().max()) + 1e-12
            assert float((got[key] - gradient).abs().max()) <= 1e-5 * scale, key
    torch.manual_seed(8)
    assert loss_and_gradients(replaced, batch(), rounds=1)[0] != ours / 2  # other masks


def test_dropout_is_no_obstacle_in_evaluation(monkeypatch):
    replaced, own = both(monkeypatch, lora_dropout=0.5)
    replaced.model.eval(), own.model.eval()
    calls = counted(monkeypatch)
    with torch.no_grad():
        torch.testing.assert_close(replaced.hidden(batch()), own.hidden(batch()))
    assert calls


def test_switched_off_merged_second_and_late_adapters(monkeypatch):
    replaced, own = both(monkeypatch)
    models = (replaced, own)

    def same():
        with torch.no_grad():
            out = [m.hidden(batch()) for m in models]
        torch.testing.assert_close(*out, rtol=1e-5, atol=1e-5)
        return out[0]

    with_adapter = same()
    with replaced.model.disable_adapter(), own.model.disable_adapter():
        without = same()
    assert not torch.allclose(with_adapter, without, atol=1e-3)
    for m in models:
        torch.manual_seed(1)
        m.model.add_adapter("other", LoraConfig(r=2, init_lora_weights=False))
    torch.testing.assert_close(same(), with_adapter)
    for m in models:
        m.model.set_adapter("other")
    other = same()
    assert not torch.allclose(other, with_adapter, atol=1e-3)
    for m in models:
        m.model.base_model.set_adapter(["default", "other"])  # two at once: PEFT's business
    assert not torch.allclose(same(), other, atol=1e-3)
    for m in models:
        m.model.set_adapter("default")
        m.model.merge_adapter()
    torch.testing.assert_close(same(), with_adapter, rtol=1e-4, atol=1e-4)


def test_an_adapter_that_comes_after_the_model_was_prepared(monkeypatch):
    model = make("llama", SMALL)
    prepared = prepare(model)
    assert len(replaced_modules(prepared)) == SMALL["num_hidden_layers"]
    torch.manual_seed(0)
    late = prepare(get_peft_model(model, LoraConfig(r=2, init_lora_weights=False)))
    calls = counted(monkeypatch)
    loss_and_gradients(late, batch())
    assert calls
    assert all(p.grad is not None for k, p in late.model.named_parameters() if "lora" in k)


@pytest.fixture
def there(monkeypatch):
    """Inside a test there is an accelerator; its kernels take no tensors of the CPU."""
    monkeypatch.setattr(mixers, "MIXERS", {})
    with pretended.pretended():
        yield


def away(model):
    return prepare(pretended.move(model))


def told_there(model):
    loss, gradients = loss_and_gradients(model, batch().to(model.device), rounds=2)
    return loss.cpu(), {k: g.cpu() for k, g in gradients.items() if g is not None}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama", {}),
        ("qwen2", {"target_modules": ["q_proj", "v_proj"]}),
        ("llama", {"target_modules": ["o_proj"], "bias": "all"}),
        ("qwen3", {}),
        ("olmo2", {}),
        ("mistral", {"rank_pattern": {"v_proj": 5}}),
        ("qwen3", {"use_dora": True}),
    ],
    ids=str,
)
def test_on_an_accelerator_attention_with_lora_is_that_of_peft(name, options, there, monkeypatch):
    fields = {**MODELS.get(name, SMALL), **({"sliding_window": 6} if name == "mistral" else {})}
    model = adapted(name, fields, **options)
    if "bias" in options:
        model.base_model.model.model.layers[0].self_attn.q_proj.weight.requires_grad_(True)
    with monkeypatch.context() as patch:
        patch.setattr("regimen.models.forward._fuse_attention", lambda model: {})
        own = told_there(away(copy.deepcopy(model)))
    replaced = away(model)
    assert len(replaced_modules(replaced)) == fields["num_hidden_layers"]
    calls = []
    honest = blocks._Joint.apply
    monkeypatch.setattr(blocks._Joint, "apply", lambda *a: (calls.append(1), honest(*a))[1])
    loss, gradients = told_there(replaced)
    assert len(calls) == 2 * 2 * fields["num_hidden_layers"]
    torch.testing.assert_close(loss, own[0], rtol=1e-6, atol=0)
    assert gradients.keys() == own[1].keys()
    for key, gradient in own[1].items():
        scale = float(gradient.abs().max()) + 1e-12
        near = 5e-5 if "use_dora" in options else 2e-5
        assert float((gradients[key] - gradient).abs().max()) <= near * scale, key


def test_on_an_accelerator_attention_without_lora_stays_transformers_own(there, monkeypatch):
    monkeypatch.setattr(blocks, "joint", lambda *a: pytest.fail("it was called"))
    told_there(away(make("llama", SMALL).train()))
    told_there(away(adapted(use_dora=True, lora_dropout=0.1)))


def test_on_an_accelerator_shared_beginnings_and_checkpoints_change_nothing(there):
    def told(model):
        checkpoint_activations(model.model)
        data = batch((-1, 0, 0)).to(model.device)
        loss, gradients = loss_and_gradients(model, data)
        return loss.cpu(), {k: g.cpu() for k, g in gradients.items() if g is not None}

    model = adapted()
    here, elsewhere = told(prepare(copy.deepcopy(model))), told(away(model))
    torch.testing.assert_close(elsewhere[0], here[0], rtol=1e-5, atol=0)
    for key, gradient in here[1].items():
        scale = float(gradient.abs().max()) + 1e-12
        assert float((elsewhere[1][key] - gradient).abs().max()) <= 1e-4 * scale, key


def test_hooked_and_foreign_layers_are_no_parts():
    plain, hooked = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    hooked.register_forward_hook(lambda *a: None)

    class Other(torch.nn.Linear):
        pass

    assert parts_of([plain]) == (Part(plain.weight, plain.bias),)
    assert parts_of([plain, hooked]) is None
    assert parts_of([Other(2, 3)]) is None
