"""pytest tests/models/test_token_rows.py"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer

from helpers.pooled import taken_from_pool
from helpers.small_models import MODELS, PADDED, make
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.adapters.vectors import TokenRows
from regimen.models.forward import prepare
from regimen.models.head import Head, full_logits, reduce
from regimen.models.looked_up import LookedUp, Replaced
from regimen.models.teaching import Taught
from regimen.models.token_rows import Rows, matrix_of, rows_of
from regimen.tokens.ragged import Segment, ragged_batch

NEW = (9, 5)
SEGMENTS = [Segment([4, 5, 6, 9, 5], [0, 1, 1, 1, 1]), Segment([9, 8], [0, 1])]
BATCH = ragged_batch(SEGMENTS)


def head_case(rows, draw, dtype, **finish):
    hidden = torch.randn(12, 8, generator=draw).to(dtype).requires_grad_()
    weight = torch.randn(37, 8, generator=draw).to(dtype)
    values = torch.randn(len(rows), 8, generator=draw).to(dtype).requires_grad_()
    bias = torch.randn(37, generator=draw) if finish.pop("bias") else None
    ours = Head(weight, bias, rows=Rows(torch.tensor(rows), values), **finish)
    theirs = Head(weight.index_copy(0, torch.tensor(rows), values), bias, **finish)
    return hidden, values, ours, theirs


def finish_of(head):
    return {"softcap": head.softcap, "scale": head.scale}


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.integers(0, 36), min_size=1, max_size=6, unique=True),
    need=st.sampled_from(["nll_sum", "known", "logp", "all", "teacher_kl"]),
    finish=st.fixed_dictionaries(
        {
            "bias": st.booleans(),
            "softcap": st.sampled_from([None, 2.0]),
            "scale": st.sampled_from([1.0, 0.5]),
        }
    ),
    chunk=st.sampled_from([2, 5, 100]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 99),
)
def test_a_head_with_rows_equals_one_of_the_merged_matrix(rows, need, finish, chunk, dtype, seed):
    draw = torch.Generator().manual_seed(seed)
    hidden, values, ours, theirs = head_case(rows, draw, dtype, **finish)
    target = torch.randint(37, (12,), generator=draw)
    weight = torch.rand(12, generator=draw)
    mix = torch.rand(12, generator=draw)
    seen = torch.randn(12, 8, generator=draw).to(dtype)
    values_too = Rows(torch.tensor(rows), values.detach().flip(1))  # the teacher's own
    merged = Head(values_too.merged(ours.weight_VD), ours.bias_V, **finish_of(ours))
    teachers = {id(ours): Head(ours.weight_VD, ours.bias_V, rows=values_too, **finish_of(ours)),
                id(theirs): merged}  # fmt: skip
    needs = {"known": {"nll_sum"}, "all": {"logp", "lse", "entropy", "mean_logit"}}
    found = []
    for head in (ours, theirs):
        got = reduce(
            hidden, head, torch.arange(12), target, needs.get(need, {need}), chunk=chunk,
            weight_N=weight, factor=0.5 if need == "known" else None,
            taught=Taught(seen, teachers[id(head)]),
        )  # fmt: skip
        if need in ("nll_sum", "known"):
            total = got.nll_sum * 0.5
        elif need == "teacher_kl":
            total = got.teacher_sum
        else:
            parts = (got.logp_N, got.lse_N, got.entropy_N, got.mean_logit_N)
            total = sum((part * mix).sum() for part in parts if part is not None)
        found.append([total, *torch.autograd.grad(total, (hidden, values))])
        found[-1].append(full_logits(hidden, head, torch.float32))
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 4e-2, "atol": 8e-2}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **close)


def adapted(kind, adapter, **config):
    """An adapter whose rows differ from the base's."""
    model = add_adapter(make(kind, MODELS[kind] | config), adapter, seed=0, new_tokens=NEW)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                more = torch.randn(parameter.shape, generator=draw)
                parameter.add_(more.to(parameter), alpha=0.3 if "delta" in name else 0.02)
    return model


def of_rows(model):
    return {n: p for n, p in model.named_parameters() if "trainable_tokens_delta" in n}


CASES = [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True}),
    ("llama", {"pad_token_id": 5}),
    ("gemma3_text", {}),  # scales its embeddings
    ("gemma2", {}),  # caps its logits
]


@pytest.mark.parametrize("adapter", [Lora(r=4), TokenRows()])
@pytest.mark.parametrize(("kind", "config"), CASES)
def test_losses_and_gradients_are_those_of_peft(kind, config, adapter, monkeypatch):
    """PEFT's own module merges the whole matrix; ours may not be asked to while it trains."""
    model = adapted(kind, adapter, **config)
    model.eval()
    total = 0.0
    for segment in SEGMENTS:
        logits = model(input_ids=torch.tensor([segment.ids])).logits[0].float()
        total = total + torch.nn.functional.cross_entropy(
            logits[:-1], torch.tensor(segment.ids[1:]), reduction="sum"
        )
    total.backward()
    expected = {name: p.grad.clone() for name, p in of_rows(model).items()}
    model.zero_grad()

    monkeypatch.setattr(TrainableTokensLayer, "get_merged_weights", None)
    prepared = prepare(model)
    assert prepared.ragged, prepared.reason
    model.eval()
    found = reduce(
        prepared.hidden(BATCH), prepared.head(), BATCH.source_row_N, BATCH.target_N, {"nll_sum"},
        weight_N=torch.ones(len(BATCH.target_N)),
    )  # fmt: skip
    torch.testing.assert_close(found.nll_sum, total, rtol=1e-5, atol=1e-4)
    found.nll_sum.backward()
    assert expected
    for name, parameter in of_rows(model).items():
        assert bool(expected[name].any())
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5)
    # the model's own forward pass makes none either
    own = model(input_ids=torch.tensor([SEGMENTS[0].ids])).logits[0]
    at = full_logits(prepared.hidden(BATCH)[:5], prepared.head(), torch.float32)
    torch.testing.assert_close(own.float(), at, rtol=1e-4, atol=1e-4)


def test_nothing_as_large_as_the_matrix_is_made():
    model = adapted("llama", Lora(r=4), vocab_size=20_000)
    prepared = prepare(model)
    size = matrix_of(model.get_base_model().get_input_embeddings()).nbytes
    with (
        taken_from_pool() as taken,
        torch.profiler.profile(profile_memory=True, record_shapes=True) as seen,
    ):
        hidden = prepared.hidden(BATCH)
        got = reduce(
            hidden, prepared.head(), BATCH.source_row_N, BATCH.target_N, {"nll_sum"},
            weight_N=torch.ones(len(BATCH.target_N)),
        )  # fmt: skip
        got.nll_sum.backward()
        assert prepared.device.type == "cpu"
    allocated = [event.nbytes() for event in memory_events(seen)]
    assert allocated
    assert max([*allocated, *taken]) < size / 4


def memory_events(profile):
    return [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]


@pytest.mark.parametrize("waits", [False, True])
def test_both_ways_of_looking_rows_up_are_one(waits):
    draw = torch.Generator().manual_seed(0)
    table = torch.randn(20, 4, generator=draw)
    values = torch.randn(3, 4, generator=draw).requires_grad_()
    rows, ids = torch.tensor([7, 2, 19]), torch.tensor([[7, 0, 2], [2, 18, 1]])
    found = Replaced.apply(table[ids], ids, rows, values, waits)
    expected = table.index_copy(0, rows, values)[ids]
    assert torch.equal(found, expected)
    mix = torch.randn(found.shape, generator=draw)
    one, other = (torch.autograd.grad((x * mix).sum(), values)[0] for x in (found, expected))
    torch.testing.assert_close(one, other)


def test_rows_are_those_of_active_adapters():
    model = adapted("llama", TokenRows())
    embedding = model.get_base_model().get_input_embeddings()
    rows = rows_of(embedding)
    assert rows is not None
    assert sorted(rows.ids_R.tolist()) == sorted(NEW)
    with model.disable_adapter():
        assert rows_of(embedding) is None
    model.add_adapter("other", model.peft_config["default"])
    model.base_model.set_adapter(["default", "other"])
    with pytest.raises(ValueError, match="already defined"):
        rows_of(embedding)
    model.base_model.set_adapter("default")
    model.merge_adapter()
    assert rows_of(embedding) is None
    torch.testing.assert_close(matrix_of(embedding)[rows.ids_R], rows.values_RD)


def test_generation_knows_the_rows():
    from regimen.generation.vocabulary import Vocabulary

    head = prepare(adapted("llama", Lora(r=4))).head()
    hidden = torch.randn(3, head.weight_VD.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = Vocabulary(head, 3, torch.float32).scores(hidden).logits_RV
        plain = full_logits(hidden, Head(head.weight_VD), torch.float32)
        torch.testing.assert_close(found, full_logits(hidden, head, torch.float32))
    changed = (found != plain).any(0).nonzero()[:, 0].tolist()
    assert set(NEW) <= set(changed)


@pytest.mark.parametrize("kind", ["lfm2", "jamba"])
def test_models_in_padded_batches_make_no_copies_either(kind, monkeypatch):
    model = add_adapter(make(kind, PADDED[kind]), TokenRows(), seed=0, new_tokens=NEW)
    monkeypatch.setattr(TrainableTokensLayer, "get_merged_weights", None)
    prepared = prepare(model)
    assert not prepared.ragged
    prepared.hidden(BATCH).float().pow(2).sum().backward()
    assert all(
        p.grad is not None and p.grad.any() for n, p in of_rows(model).items() if "embed" in n
    )


@pytest.mark.parametrize("adapter", [Lora(r=4), TokenRows()])
def test_a_head_keeps_its_bias(adapter):
    """PEFT's modules of trained rows leave it out."""
    base = make("phi", MODELS["phi"])
    torch.nn.init.normal_(base.lm_head.bias)
    expected = full_logits(prepare(base).hidden(BATCH), prepare(base).head(), torch.float32)
    prepared = prepare(add_adapter(base, adapter, seed=0, new_tokens=NEW))
    assert prepared.ragged, prepared.reason
    found = full_logits(prepared.hidden(BATCH), prepared.head(), torch.float32)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_embeddings_that_need_a_gradient_themselves_get_it():
    """As with ``enable_input_require_grads``; and nobody else sees them change."""
    model = adapted("llama", TokenRows())
    prepared = prepare(model)
    base = model.get_base_model().get_input_embeddings().get_base_layer()
    kept = []

    def wanted(_module, _args, output):
        kept.append(output.requires_grad_())

    base.register_forward_hook(wanted)
    prepared.hidden(BATCH).float().pow(2).sum().backward()
    (embedded,) = kept
    assert torch.equal(embedded.detach()[0], base.weight[BATCH.ids_T])
    trained = torch.isin(BATCH.ids_T, torch.tensor(NEW))
    assert (embedded.grad[0].abs().sum(-1) == 0).tolist() == trained.tolist()


def test_adapters_can_be_asked_apart_in_one_batch():
    model = adapted("llama", Lora(r=4))
    model.add_adapter("other", model.peft_config["default"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "delta.other" in name:
                parameter.add_(1.0)
    ids = torch.tensor([SEGMENTS[0].ids] * 2)
    names = {"adapter_names": ["default", "other"]}
    model.eval()
    expected = model(input_ids=ids, **names).logits
    prepare(model)
    assert any(isinstance(module, LookedUp) for module in model.modules())
    torch.testing.assert_close(model(input_ids=ids, **names).logits, expected, rtol=1e-4, atol=1e-4)


def test_a_prepared_model_is_pickled(tmp_path):
    model = adapted("llama", Lora(r=4))
    prepared = prepare(model)
    expected = prepared.hidden(BATCH)
    torch.save(model, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    torch.testing.assert_close(prepare(again).hidden(BATCH), expected)
