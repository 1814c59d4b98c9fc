"""pytest tests/training/test_gpu.py -m gpu: on a CUDA device, against the CPU.

In fp32 losses and gradients are the CPU's to 1e-3 of the largest. In bf16 a loss is within 2% and a
gradient within 5% of its norm, or 15% where a loss looks at differences of summed
log-probabilities, which cancel. What is compared with is always fp32 on the CPU.
"""

import copy

import pytest
import torch

from helpers.objective_cases import NAMES, VOCABULARY, case, network
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.adapters.vectors import TokenRows
from regimen.errors import TrainingError
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.memory.activations import Activations, arrange
from regimen.memory.quantisation.apply import quantise
from regimen.memory.quantisation.spec import Awq, Gptq, Rtn, SmoothQuant
from regimen.memory.streaming import Streaming
from regimen.models import flex, head_kernels, varlen
from regimen.models.blocks import SelfAttention
from regimen.models.forward import prepare
from regimen.models.head import Head, reduce
from regimen.models.mixers import FLEX, SEGMENTS, VARLEN, Asked
from regimen.models.native import ops
from regimen.models.segments import Call
from regimen.objectives.supervised import Supervised
from regimen.objectives.table import METHODS
from regimen.tokens.ragged import Plan, ragged_batch
from regimen.training.checkpoints import load_checkpoint, save_checkpoint
from regimen.training.gradients import step_gradients
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions
from regimen.verifying.subject import wake_adapter

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda", 0)


def there(model):
    return model.to(CUDA)


def step(rows, objective, model, *, bf16=False):
    numbers = range(len(rows))
    batches = [ragged_batch(rows.segments(part)) for part in (numbers[:3], numbers[3:])]
    options = LoopOptions(learning_rate=1e-3, bf16=bf16)
    losses, found = step_gradients(model, objective, batches, options)
    return losses["loss"], {name: gradient.cpu().float() for name, gradient in found.items()}


def apart(found, expected):
    """The distance of gradients as a share of their norm."""
    assert found.keys() == expected.keys()
    ours, theirs = (torch.cat([each[n].flatten() for n in found]) for each in (found, expected))
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bf16", [False, True])
def test_losses_and_gradients_of_every_objective_are_the_cpus(name, bf16):
    expected_loss, expected = step(*case(name))
    loss, found = step(*case(name, there), bf16=bf16)
    assert loss == pytest.approx(expected_loss, rel=2e-2 if bf16 else 1e-3, abs=1e-4)
    assert apart(found, expected) < ((0.15 if name in METHODS else 0.05) if bf16 else 1e-3)


@pytest.mark.parametrize("new_tokens", [(), (7, 3)])
@pytest.mark.parametrize("name", ["supervised", "dpo"])
def test_weights_in_bf16_and_lora_go_through_the_fused_modules(name, new_tokens):
    def adapted(place, dtype):
        rows, objective, _ = case(name)
        model = add_adapter(network().to(dtype), Lora(r=4), seed=0, new_tokens=new_tokens)
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(
                    parameter, std=0.05, generator=torch.Generator().manual_seed(1)
                )
        return rows, objective, prepare(place(model))

    _, expected = step(*adapted(lambda model: model, torch.float32))
    _, found = step(*adapted(there, torch.bfloat16), bf16=True)
    assert apart(found, expected) < 0.15


PLANS = {
    "flat": Plan((300, 5, 130, 1), (-1,) * 4),
    "forest": Plan((150, 40, 33, 70, 9), (-1, 0, 0, 1, -1)),
    "shared": Plan((200, *(3,) * 20), (-1, *(0,) * 20)),
}
CALLS = {
    "plain": {},
    "window": {"window": 50},
    "capped": {"softcap": 2.0},
    "sinks": {"sinks_H": torch.linspace(-1.0, 2.0, 6)},
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("mixer", [VARLEN, FLEX], ids=lambda one: one.name)
@pytest.mark.parametrize("before", [0, 20])
def test_kernels_of_attention_and_their_gradients(mixer, plan, call, before):
    draw = torch.Generator().manual_seed(0)

    def asked(device, dtype):
        draw.manual_seed(0)
        total = sum(PLANS[plan].lengths)
        shapes = [(6, total), (2, total), (2, total)] + [(2, before)] * (2 if before else 0)
        leaves = [
            torch.randn(1, *shape, 64, generator=draw).to(device, dtype).requires_grad_()
            for shape in shapes
        ]
        given = {
            k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in CALLS[call].items()
        }
        prefix = tuple(leaves[3:]) or None
        made = Call(0.2, **given)
        return Asked(*leaves[:3], PLANS[plan], made, prefix=prefix), leaves

    ours, leaves = asked(CUDA, torch.bfloat16)
    if mixer.refuses(ours):
        assert mixer is VARLEN
        assert call in ("capped", "sinks") or plan == "shared"
        return
    theirs, expected = asked("cpu", torch.float32)
    out, reference = mixer.attend(ours), SEGMENTS.attend(theirs)
    torch.testing.assert_close(out.cpu().float(), reference, rtol=3e-2, atol=3e-2)
    weights = torch.randn(reference.shape, generator=draw)
    found = torch.autograd.grad((out.float() * weights.to(CUDA)).sum(), leaves)
    wanted = torch.autograd.grad((reference * weights).sum(), expected)
    for a, b in zip(found, wanted, strict=True):
        assert float((a.cpu().float() - b).norm() / b.norm()) < 2e-2


def test_kernels_are_there():
    assert varlen.kernel() is not None
    assert ops.kernels() is not None
    assert flex.kernel("cuda") is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_in_triton(dtype):
    draw = torch.Generator().manual_seed(0)
    close = (
        {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    )
    logits = (4 * torch.randn(70, 50257, generator=draw)).to(dtype)
    target = torch.randint(50257, (70,), generator=draw)
    weight = torch.rand(70, generator=draw)
    here, away = logits.clone(), logits.to(CUDA)
    expected = ops.nll_rows(here, target, weight, gradient=True)
    found = ops.nll_rows(away, target.to(CUDA), weight.to(CUDA), gradient=True)
    torch.testing.assert_close(found.cpu(), expected, **close)
    torch.testing.assert_close(away.cpu(), here, **close)
    gate, up, grad = (torch.randn(70, 999, generator=draw).to(dtype) for _ in range(3))
    moved = [x.to(CUDA) for x in (gate, up, grad)]
    torch.testing.assert_close(ops.swiglu(*moved[:2]).cpu(), ops.swiglu(gate, up), **close)
    for a, b in zip(ops.swiglu_back(*moved), ops.swiglu_back(gate, up, grad), strict=True):
        torch.testing.assert_close(a.cpu(), b, **close)


FINISHES = [{}, {"softcap": 3.0}, {"scale": 0.25}, {"softcap": 2.0, "scale": 1.5}, {"bias": 1.0}]


def reduced(device, dtype, needs, finish):
    draw = torch.Generator().manual_seed(0)
    leaves = [
        torch.randn(*shape, generator=draw).to(device, dtype).requires_grad_()
        for shape in ((70, 64), (5003, 64), (5003,))
    ]
    more = dict(finish)
    bias = leaves[2] if more.pop("bias", None) else None
    target = torch.randint(5003, (70,), generator=draw).to(device)
    weight = torch.linspace(-1, 2, 70, device=device)
    given = {"weight_N": weight} if "nll_sum" in needs else {}
    rows = torch.arange(70, device=device)
    found = reduce(leaves[0], Head(leaves[1], bias, **more), rows, target, needs, **given)
    if "nll_sum" in needs:
        total = found.nll_sum
    else:
        total = (found.logp_N * weight).sum()
        total = total if found.lse_N is None else total + (found.lse_N**2).sum()
    total.backward()
    return [found.logp_N.detach()] + [leaf.grad for leaf in leaves if leaf.grad is not None]


@pytest.mark.parametrize("finish", FINISHES, ids=str)
@pytest.mark.parametrize("needs", [{"logp"}, {"logp", "lse"}, {"nll_sum"}], ids=sorted)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("alone", [True, False], ids=["own", "all kernels"])
def test_heads_and_their_gradients(finish, needs, dtype, alone, monkeypatch):
    if alone:
        monkeypatch.setattr(head_kernels, "KERNELS", {})
    expected = reduced("cpu", torch.float32, needs, finish)
    share = 2e-2 if dtype == torch.bfloat16 else 1e-4
    for ours, theirs in zip(reduced(CUDA, dtype, needs, finish), expected, strict=True):
        assert float((ours.cpu().float() - theirs).norm() / theirs.norm()) < share


def prompts(count):
    draw = torch.Generator().manual_seed(5)
    for number in range(count):
        ids = tuple(torch.randint(VOCABULARY, (3 + number % 5,), generator=draw).tolist())
        yield Prompt(str(number), ids, 20, temperature=float(number % 2), seed=number)


def with_rows():
    """A model with rows of tokens that differ from its own."""
    model = add_adapter(network(), TokenRows(), seed=0, new_tokens=(7, 3))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for rows in (p for p in model.parameters() if p.requires_grad):
            rows.add_(torch.randn(rows.shape, generator=draw))
    return model


@pytest.mark.parametrize("made", [network, with_rows])
def test_recorded_steps_generate_the_cpus_ids(made):
    def told(model, count):
        found = dict(Engine(prepare(model), (0,), rows=16).generate(list(prompts(count))))
        return {name: one.ids for name, one in found.items()}

    assert told(there(made()), 40) == told(made(), 40)  # recorded
    assert told(there(made()), 3) == told(made(), 3)  # too few to record


@pytest.mark.parametrize("kind", ["selective", "full", "offload"])
def test_what_is_kept_of_a_forward_pass_changes_no_gradient(kind):
    rows, objective, model = case("supervised", there)
    model.model.train()
    _, expected = step(rows, objective, model)
    arrange(model.model, Activations(kind=kind))
    _, found = step(rows, objective, model)
    assert apart(found, expected) < 1e-4


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_learns_with_batches_made_ahead(compiled):
    rows, _, _ = case("supervised")
    model = prepare(there(copy.deepcopy(network())), compiled=compiled)
    losses = []
    options = LoopOptions(
        learning_rate=3e-3, tokens_per_batch=24, num_train_epochs=10.0, log_every=1, bf16=True
    )
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    hooks = Hooks(log=lambda _state, told: losses.append(told["loss"]))
    train(model, rows, Supervised(), optimizer, options, hooks)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8", "int8_torchao", "int4_torchao"])
def test_quantised_bases_are_on_the_device_and_pass_gradients(kind, tmp_path):
    from regimen.memory.bases import BASES, configuration
    from regimen.models.loading import ModelSpec, load_model

    pytest.importorskip(BASES[kind].library)
    network().save_pretrained(tmp_path)
    spec = ModelSpec(path=str(tmp_path), dtype="bfloat16")
    base = load_model(spec, quantisation=configuration(kind, torch.bfloat16))
    assert {p.device.type for p in base.parameters()} == {"cuda"}
    rows, objective, _ = case("supervised")
    loss, found = step(rows, objective, prepare(add_adapter(base, Lora(r=4), seed=0)), bf16=True)
    expected, _ = step(rows, objective, prepare(network()))
    assert loss == pytest.approx(expected, rel=0.1)
    assert any(float(gradient.abs().max()) > 0 for gradient in found.values())


@pytest.mark.parametrize("use_dora", [False, True])
def test_attention_with_lora_is_one_function_and_has_pefts_gradients(use_dora, monkeypatch):
    rows, objective, _ = case("supervised")

    def adapted():
        model = add_adapter(network(), Lora(r=4, use_dora=use_dora), seed=0)
        wake_adapter(model)
        return there(model)

    ours = step(rows, objective, prepare(adapted()))
    assert any(isinstance(m, SelfAttention) for m in prepare(adapted()).model.modules())
    monkeypatch.setattr("regimen.models.forward._fuse_attention", lambda model: {})
    theirs = step(rows, objective, prepare(adapted()))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert apart(ours[1], theirs[1]) < 1e-4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_of_every_optimizer_move_every_weight(name):
    if OPTIMIZERS[name].library:
        pytest.importorskip(OPTIMIZERS[name].library)
    model = there(network())
    options = {"galore": {"rank": 4}, "apollo": {"rank": 4}, "badam": {"block_steps": 1}}
    optimizer = OPTIMIZERS[name](parameter_groups(model, 0.0), **options.get(name, {}))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for _ in range(4):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * group.get("lr_scale", 1.0)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
        optimizer.step()
        optimizer.zero_grad()
    still = [n for n, p in model.named_parameters() if p.detach().equal(before[n])]
    assert not still
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", ["adamw", "muon", "adamw_8bit"])
def test_a_training_goes_on_from_a_checkpoint(kind, tmp_path):
    if OPTIMIZERS[kind].library:
        pytest.importorskip(OPTIMIZERS[kind].library)
    rows, _, _ = case("supervised")

    class Tokenizer:
        def save_pretrained(self, _folder):
            """Nothing of it is needed."""

    def trained(steps, path=None):
        model = prepare(there(network()))
        optimizer = OPTIMIZERS[kind](parameter_groups(model.model, 0.0))
        state = None if path is None else load_checkpoint(path, model.model, optimizer)
        options = LoopOptions(
            learning_rate=1e-3, tokens_per_batch=24, num_train_epochs=None, max_steps=4
        )
        reached = []
        hooks = Hooks(stop=lambda: reached.append(1) or len(reached) == steps)
        state = train(model, rows, Supervised(), optimizer, options, hooks, state)
        return model.model, optimizer, state

    straight, _, _ = trained(4)
    path = save_checkpoint(tmp_path, *_with(Tokenizer(), *trained(2)))
    again, _, state = trained(2, path)
    assert state.step == 4
    for ours, theirs in zip(again.parameters(), straight.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def _with(tokenizer, model, optimizer, state):
    return model, tokenizer, optimizer, state


@pytest.mark.parametrize("spec", [Rtn(), Gptq(), Awq(steps=2), SmoothQuant()], ids=repr)
def test_models_are_quantised_there(spec):
    ids = torch.randint(VOCABULARY, (6, 24), generator=torch.Generator().manual_seed(5))
    here, away = network(), there(network())
    expected, found = quantise(here, ids, spec, batch=4), quantise(away, ids, spec, batch=4)
    assert found.weight_error == pytest.approx(expected.weight_error, rel=1e-2)
    assert {p.device.type for p in away.parameters()} == {"cuda"}


def test_a_base_is_not_streamed(tmp_path):
    with pytest.raises(TrainingError, match="stream-device"):
        Streaming(tmp_path)
