"""What both sides read: rows, models, and what regimen's side makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

TINY = {
    "vocab_size": 128,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def test_rows_have_the_lengths_of_instructions(bench: SimpleNamespace) -> None:
    prompts, completions = bench.work.row_lengths(20_000)
    total = prompts + completions
    assert 120 < total.mean() < 140
    assert total.max() <= bench.work.MAX_LENGTH
    assert prompts.min() >= 16
    assert completions.min() >= 2
    assert np.log(completions).std() == pytest.approx(1.1, abs=0.1)


def test_fewer_rows_are_the_first_of_more(bench: SimpleNamespace) -> None:
    few, many = bench.work.draw_rows(40), bench.work.draw_rows(80)
    assert few.lengths.tolist() == many.lengths[:40].tolist()
    assert few.ids.tolist() == many.ids[: few.lengths.sum()].tolist()


def test_ids_are_within_the_vocabulary(bench: SimpleNamespace) -> None:
    for work in bench.works.WORKS.values():
        vocabulary = int(work.model["vocab_size"])
        ids = bench.work.draw_rows(400, vocabulary=vocabulary).ids
        assert ids.min() >= 1
        assert 0.5 * vocabulary < ids.max() < vocabulary


@pytest.mark.parametrize(
    ("batches_per_step", "rows_per_step"), [(1, 32), (4, 32), (8, 32), (4, 16)]
)
def test_the_loop_sees_the_steps_of_the_file(
    bench: SimpleNamespace, batches_per_step: int, rows_per_step: int
) -> None:
    from regimen.training.data import Data
    from regimen.training.options import LoopOptions

    rows = bench.work.draw_rows(64)
    tokens = bench.regimen_sft.token_rows(rows, batches_per_step, rows_per_step)
    options = LoopOptions(learning_rate=1.0, tokens_per_batch=1, seed=bench.regimen_sft.SEED)
    data = Data(tokens, options)
    batches = [data.batch(numbers) for numbers in data.plan(0)]
    steps = 64 // rows_per_step
    assert len(batches) == steps * batches_per_step
    starts = rows.starts
    for step in range(steps):
        of_step = range(rows_per_step * step, rows_per_step * (step + 1))
        want = [rows.ids[starts[r] : starts[r + 1]].tolist() for r in of_step]
        largest = max(sum(map(len, want)) * 1.25 / batches_per_step, *map(len, want))
        got = []
        for batch in batches[step * batches_per_step : (step + 1) * batches_per_step]:
            got += [part.tolist() for part in batch.ids_T.split(batch.plan.lengths)]
            assert batch.num_tokens <= largest
        assert sorted(got) == sorted(want)
    assert sum(len(b.target_N) for b in batches) == rows.supervised.sum()


def test_evaluation_reads_the_rows_of_the_file(bench: SimpleNamespace) -> None:
    rows = bench.work.draw_rows(20)
    tokens = bench.regimen_eval.token_rows(rows)
    assert tokens.lengths.tolist() == rows.lengths.tolist()
    assert tokens.supervised.tolist() == rows.supervised.tolist()
    for number, segment in enumerate(tokens.segments(range(20))):
        assert len(segment.ids) == rows.lengths[number]
        assert list(segment.weights[: rows.prompts[number]]) == [0.0] * rows.prompts[number]
        assert all(segment.weights[rows.prompts[number] :])


def test_the_adapter_on_disk_is_the_one_that_regimen_adds(
    bench: SimpleNamespace, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from regimen.adapters.methods import add_adapter
    from regimen.models.loading import ModelSpec, load_model

    lora = bench.works.WORKS["sft_lora"].lora | {"r": 2}
    model = bench.work.MODEL | TINY
    bench.work.write(tmp_path, bench.work.draw_rows(2, vocabulary=128), model, {"lora": lora})
    assert bench.work.facts_of(tmp_path)["lora"] == json.loads(json.dumps(lora))
    written = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    base = load_model(ModelSpec(path=str(tmp_path / "model")))
    added = add_adapter(base, bench.work.lora_spec(lora), seed=bench.work.SEED)
    trained = {
        name.replace(".default", ""): p for name, p in added.named_parameters() if p.requires_grad
    }
    assert trained.keys() == written.keys()
    assert all(torch.equal(written[name], p) for name, p in trained.items())
    assert all("lora_B" not in name or not p.any() for name, p in trained.items())


def test_arithmetic_of_an_evaluation_is_the_forward_pass(
    bench: SimpleNamespace, tmp_path: Path
) -> None:
    from regimen.models.forward import prepare
    from regimen.models.loading import ModelSpec, load_model
    from regimen.tokens.ragged import Segment, ragged_batch

    bench.work.write(tmp_path, bench.work.draw_rows(1, vocabulary=128), bench.work.MODEL | TINY)
    model = prepare(load_model(ModelSpec(path=str(tmp_path / "model"))))
    batch = ragged_batch([Segment([1] * 8, [0.0] * 4 + [1.0] * 4)])
    measured = bench.regimen_sft.arithmetic_of
    both = measured(model, [[batch], [batch, batch]], torch.float32)
    alone = measured(model, [[batch]], torch.float32, backward=False)
    assert both["flop"][1] == 2 * both["flop"][0]
    assert alone["flop"][0] < both["flop"][0] < 3.01 * alone["flop"][0]
    head = 2 * 4 * 16 * 128
    layers = 2 * 2 * 8 * (16 * 16 * 2 + 16 * 8 * 2 + 3 * 16 * 32)
    assert head + 0.5 * layers < alone["flop"][0] <= head + layers + 2 * 4 * 16 * 36
    assert alone["flop_per_second"] > 0
