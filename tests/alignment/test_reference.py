"""pytest tests/alignment/test_reference.py"""

from dataclasses import asdict, replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.alignment.reference import (
    check_identity,
    check_reference,
    first_answers,
    kept_reference,
    reference_identity,
    reference_logps,
)
from regimen.errors import TrainingError
from regimen.models.forward import prepare
from regimen.objectives.answers import AnswerObjective, AnswerTable
from regimen.objectives.preference import Dpo
from regimen.tokens.rendering import RenderedAnswers, RenderedPair
from regimen.tokens.store import token_rows
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions
from regimen.training.schedules import Schedule


def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        attention_dropout=0.3,
    )
    return prepare(LlamaForCausalLM(config))


ROWS = token_rows([RenderedPair((i, 2, 3), (4, 5 + i), (6, 7, 8)) for i in range(9)])


def test_the_reference_is_the_model_alone_without_dropout():
    model = tiny()
    model.model.train()
    found = reference_logps(model, ROWS, tokens_per_batch=20, bf16=False)
    assert model.model.training
    model.model.eval()
    ids = torch.tensor([[2, 2, 3, 6, 7, 8]])
    logprob = model.model(input_ids=ids).logits[0].log_softmax(-1)
    expected = sum(float(logprob[2 + i, t].detach()) for i, t in enumerate((6, 7, 8)))
    assert float(found[5]) == pytest.approx(expected, abs=1e-4)
    again = reference_logps(model, ROWS, tokens_per_batch=10_000, bf16=False)
    torch.testing.assert_close(found, again, atol=1e-5, rtol=1e-5)


def test_a_policy_elsewhere_than_its_reference_is_an_error():
    model = tiny()
    reference = reference_logps(model, ROWS, tokens_per_batch=64, bf16=False)
    assert check_reference(model, ROWS, reference, bf16=False) < 1e-4
    with pytest.raises(TrainingError, match="does not start at its reference"):
        check_reference(model, ROWS, reference + 1.0, bf16=False)


def test_dpo_raises_the_margin():
    model = tiny()
    reference = reference_logps(model, ROWS, tokens_per_batch=64, bf16=False)
    seen = []
    options = LoopOptions(
        learning_rate=3e-3,
        num_train_epochs=20.0,
        tokens_per_batch=40,
        log_every=1,
        schedule=Schedule("constant", 0.0),
    )
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    hooks = Hooks(log=lambda state, values: seen.append(values["rewards/margins"]))
    table = AnswerTable.of_pairs(reference.view(-1, 2))
    objective = AnswerObjective(table, [(1.0, Dpo())])
    train(model, ROWS, objective, optimizer, options, hooks)
    assert seen[-1] > 0.5 > abs(seen[0])


def test_lists_of_any_length_have_a_number_for_each_answer():
    model = tiny()
    rows = token_rows(
        [
            RenderedAnswers((1, 2), ((3,), (4, 5), (6,))),
            RenderedAnswers((7,), ((8, 9),)),
            RenderedAnswers((1, 2), ((4, 5),)),
        ]
    )
    found = reference_logps(model, rows, tokens_per_batch=6, bf16=False)
    assert len(found) == 5
    torch.testing.assert_close(found[1], found[4], atol=1e-5, rtol=1e-5)
    assert first_answers(rows).tolist() == [0, 3, 4]
    assert check_reference(model, rows, found, bf16=False) < 1e-4


def test_what_the_reference_says_is_kept_and_taken_again(tmp_path):
    model = tiny()
    identity = reference_identity(model.model, bf16=False)

    def kept(rows=ROWS, identity=identity):
        return kept_reference(model, rows, tmp_path, identity, tokens_per_batch=64)

    first, reused = kept()
    assert not reused
    again, reused = kept()
    assert reused
    assert torch.equal(first, again)
    fewer, reused = kept(ROWS.take([0, 1]))
    assert not reused
    assert len(fewer) == 4
    assert not kept(identity=replace(identity, base="another"))[1]
    assert not kept(identity=replace(identity, adapter="another"))[1]


def test_a_file_that_is_not_what_its_name_says_is_computed_again(tmp_path):
    model = tiny()
    identity = reference_identity(model.model, bf16=False)
    first, _ = kept_reference(model, ROWS, tmp_path, identity, tokens_per_batch=64)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    moved = bytearray(whole)
    moved[-3] ^= 1
    cut = ROWS.take([0, 1, 2])
    for damaged in (whole[: len(whole) // 2], bytes(moved), b""):
        path.write_bytes(damaged)
        found, reused = kept_reference(model, ROWS, tmp_path, identity, tokens_per_batch=64)
        assert not reused
        assert torch.equal(found, first)
        assert path.read_bytes() == whole
    kept_reference(model, cut, tmp_path, identity, tokens_per_batch=64)
    (other,) = set(tmp_path.iterdir()) - {path}
    path.write_bytes(other.read_bytes())  # whole, but of other rows
    assert not kept_reference(model, ROWS, tmp_path, identity, tokens_per_batch=64)[1]


def test_a_single_weight_that_moved_is_seen_and_refused():
    network = tiny().model
    identity = reference_identity(network, bf16=False)
    assert reference_identity(network, bf16=False) == identity
    assert identity.adapter == ""
    check_identity(asdict(identity), identity)
    with torch.no_grad():
        network.model.layers[1].mlp.up_proj.weight[3, 5] += 1e-7
    moved = reference_identity(network, bf16=False)
    with pytest.raises(TrainingError, match="has moved") as raised:
        check_identity(asdict(identity), moved)
    assert raised.value.slug == "reference-moved"
    assert "another base than" in raised.value.got
    with pytest.raises(TrainingError) as raised:
        check_identity(asdict(moved), replace(moved, precision="bf16"))
    assert "precision" in raised.value.got


def test_base_and_adapter_have_a_hash_each():
    network = tiny().model
    plain = reference_identity(network, bf16=False)
    network = add_adapter(network, Lora(r=2), seed=0)
    with_adapter = reference_identity(network, bf16=False)
    assert with_adapter.adapter
    with torch.no_grad():
        next(p for n, p in network.named_parameters() if "lora_B" in n).add_(1.0)
    moved = reference_identity(network, bf16=False)
    assert (moved.base, moved.dtype) == (with_adapter.base, plain.dtype)
    assert moved.adapter != with_adapter.adapter


def test_codes_and_scales_of_a_quantised_base_are_in_its_hash():
    from bitsandbytes.nn import Linear4bit

    def layer(factor):
        torch.manual_seed(0)
        made = Linear4bit(64, 64, bias=False, quant_type="nf4")
        made.load_state_dict({"weight": factor * torch.randn(64, 64)})
        return made.to("cpu")

    one, twice = (reference_identity(layer(factor), bf16=False) for factor in (1.0, 2.0))
    # twice the weights have the same codes and other scales
    assert torch.equal(layer(1.0).weight.data, layer(2.0).weight.data)
    assert one.base != twice.base
    assert one == reference_identity(layer(1.0), bf16=False)
