"""Learning from pairs: rows, forms that compute the same, grids, and what is made of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

Raw = Callable[..., dict[str, Any]]
TINY = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
MACHINE = {"cpu": "c" * 40, "cores": 2, "memory_gib": 8.0, "load_before": 0.1}


@pytest.mark.parametrize("share", [None, 0.6, 0.8])
def test_both_rows_of_a_pair_begin_with_its_prompt(
    bench: SimpleNamespace, share: float | None
) -> None:
    rows = bench.pairs.draw_pairs(200, share=share)
    assert len(rows) == 400
    assert rows.lengths.max() <= bench.work.MAX_LENGTH
    starts = rows.starts
    for pair, (prompt, first, second) in enumerate(bench.pairs.pairs_of(rows)):
        assert first != second
        assert rows.ids[starts[2 * pair] : starts[2 * pair + 1]].tolist() == prompt + first
        assert rows.ids[starts[2 * pair + 1] : starts[2 * pair + 2]].tolist() == prompt + second
    if share is not None:
        assert rows.prompts.sum() / rows.lengths.sum() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("form", ["shared", "separate"])
def test_the_loop_sees_the_pairs_of_each_step(bench: SimpleNamespace, form: str) -> None:
    from regimen.training.data import Data
    from regimen.training.options import LoopOptions

    rows, pairs, per_step = bench.pairs.draw_pairs(16, share=0.6), 8, 2
    forms, sft = bench.align_forms.FORMS, bench.regimen_sft
    batches = sft.micro_batches(forms["shared"].rows(rows).lengths, per_step, pairs)
    tokens = sft.in_order(forms[form].rows(rows), batches)
    data = Data(tokens, LoopOptions(learning_rate=1.0, tokens_per_batch=1, seed=sft.SEED))
    planned = [data.batch(data.row_numbers(i)[0]) for i in range(len(batches))]
    for batch, wanted in zip(planned, batches, strict=True):
        assert sorted(set(batch.instance_S)) == wanted.tolist()
    for step in range(2):
        seen = planned[per_step * step : per_step * (step + 1)]
        assert sum(len(b.target_N) for b in seen) == rows.supervised[16 * step :][:16].sum()
    read = sum(b.num_tokens for b in planned)
    copies = rows.prompts[::2].sum() if form == "shared" else 0
    assert read == rows.lengths.sum() - copies


def test_shared_and_separate_prompts_have_equal_losses_and_gradients(
    bench: SimpleNamespace, tmp_path: Path
) -> None:
    model = bench.work.MODEL | TINY
    rows = bench.pairs.draw_pairs(3, share=0.6, vocabulary=64)
    bench.work.write(tmp_path, rows, model, {"aligns": "dpo"})
    found = bench.regimen_align.check(bench.regimen_align.loaded(tmp_path, "dpo"), rows)
    assert found["pairs"] == 3
    assert found["loss"][0] != pytest.approx(np.log(2), rel=1e-3)
    for key, most in bench.align_prefix.EQUAL.items():
        assert found[key] <= most


@pytest.mark.parametrize("bf16", [True, False])
def test_every_entry_has_the_pairs_of_a_step(bench: SimpleNamespace, bf16: bool) -> None:
    for work in bench.align_works.WORKS.values():
        entries = bench.grid.grid(work, bf16)
        labels = [entry.label for entry in (bench.grid.defaults(work), *entries)]
        assert len(labels) == len(set(labels))
        assert {entry.script for entry in entries} == {bench.grid.defaults(work).script}
        assert sum(entry.settings["bf16"] != bf16 for entry in entries) == 1
        for entry in entries:
            micro = entry.settings["per_device_train_batch_size"]
            assert micro * entry.settings["gradient_accumulation_steps"] == work.rows_per_step
            assert entry.compared == 0 or entry.settings["train_sampling_strategy"] == "sequential"
        before = [e for e in entries if e.settings.get("precompute_ref_log_probs")]
        assert bool(before) == (work.name == "dpo")


def test_the_reference_before_the_steps_counts(bench: SimpleNamespace, raw: Raw) -> None:
    told = raw(0.5, 1) | {"reference": {"seconds": 2.0, "tokens": 100, "flop": 1.0}}
    run = bench.processes.Run(told, 1)
    assert run.step_tokens_per_second == pytest.approx(200)
    assert run.reference_tokens_per_second == pytest.approx(50)
    assert run.tokens_per_second == pytest.approx(40)
    assert bench.processes.Run(raw(0.5, 1), 1).reference_tokens_per_second is None


def compared(bench: SimpleNamespace, raw: Raw, seconds: tuple[float, float]) -> Any:
    """Shared prompts with half the arithmetic of separate ones."""

    def run(each: float, flop: float) -> Any:
        told = {"reference": {"seconds": each, "tokens": 100, "flop": flop}, "read": [80] * 4}
        return bench.processes.Run(raw(each, 1) | told | {"flop": [3 * flop] * 4}, 1)

    shared, separate = (run(each, flop) for each, flop in zip(seconds, (1e9, 2e9), strict=True))
    check = dict.fromkeys(bench.align_prefix.EQUAL, 1e-7) | {"pairs": 4, "tensors": 9}
    runs = {"shared": [shared], "separate": [separate]}
    return bench.align_prefix.Compared(bench.pairs.draw_pairs(8), runs, check)


def test_of_bound_is_the_speed_up_over_that_of_the_arithmetic(
    bench: SimpleNamespace, raw: Raw
) -> None:
    found = {
        "HH": compared(bench, raw, (1.0, 1.8)),
        "80%": compared(bench, raw, (1.0, 1.6)),
    }
    assert found["HH"].bound == pytest.approx(2.0)
    assert found["HH"].speed_up == pytest.approx(1.8)
    prefix = bench.align_works.PREFIX
    part = bench.align_prefix.part(prefix, found, MACHINE, quick=False)
    assert part["ratios"]["dpo_shared_prefix_of_bound"] == pytest.approx(0.8)
    assert part["ratios"]["dpo_shared_prefix_of_bound (HH)"] == pytest.approx(0.9)
    assert [row["configuration"] for row in part["rows"]] == [
        "HH, shared", "HH, separate", "80%, shared", "80%, separate"
    ]  # fmt: skip
    result = json.loads(json.dumps(bench.result.merged(None, prefix.name, part, "align")))
    page = bench.render.page([result])
    assert max(map(len, page.splitlines())) <= 100
    assert "| regimen: 80%, separate " in page
    assert "linear layers" in page


def test_a_process_whose_forms_differ_is_an_error(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raw: Raw
) -> None:
    from regimen.errors import RunError

    def run(*_: Any, **how: Any) -> Any:
        check = dict.fromkeys(bench.align_prefix.EQUAL, 0.5)
        return bench.processes.Run(raw(1.0, 1) | check, how["warm"])

    monkeypatch.setattr(bench.align_prefix, "run", run)
    monkeypatch.setattr(bench.align_prefix, "write", lambda *_: None)
    with pytest.raises(RunError, match="do not compute the same"):
        bench.align_prefix.bench(bench.align_works.PREFIX, tmp_path, turns=1, quick=True)


@pytest.mark.parametrize("name", ["dpo", "reward"])
def test_a_work_becomes_a_section_of_the_page(bench: SimpleNamespace, raw: Raw, name: str) -> None:
    work = bench.align_works.WORKS[name]
    told = {"reference": {"seconds": 1.0, "tokens": 100, "flop": 1.0}} if name == "dpo" else {}
    run, entries = bench.processes.Run(raw(1.0, 1 << 28) | told, 1), bench.grid.grid(work, True)
    found = bench.turns.Measured(
        ours=[run],
        finals={entries[0]: [run], bench.grid.defaults(work): [run]},
        screened={entry: [run] for entry in entries},
    )
    part = bench.result.part(work, work.draw(work.quick), found, MACHINE, quick=False)
    assert part["ratios"][f"{name}_vs_trl_best"] == 1.0
    assert part["ratios"][f"{name}_vs_trl_defaults"] == 1.0
    assert ("reference_tokens_per_second" in part["rows"][0]) == (name == "dpo")
    page = bench.render.page([bench.result.merged(None, name, part, "align")])
    assert max(map(len, page.splitlines())) <= 100
    assert "60% of them the prompt's" in page
