"""pytest tests/benchmarks/test_adapters.py"""

import pytest

from regimen.adapters.methods import METHODS
from regimen.errors import RunError


def done(bench, speed, trainable=10):
    steps = [{"ended": float(i), "tokens": speed, "supervised": 1, "loss": 2.0} for i in range(9)]
    raw = {"steps": steps, "peak": 5 << 20, "imported": 1 << 20, "trainable": trainable}
    return bench.processes.Run({**raw, "versions": {"regimen": "0"}, "threads": 2}, warm=2)


def test_each_kind_takes_the_faster_micro_batches_and_is_told_over_full_tuning(bench, monkeypatch):
    asked = []

    def run(command, files, settings, environment, **_):
        assert len(bench.work.read(files)) == 32 * bench.adapter_speed.STEPS
        asked.append((settings["adapter"].get("kind", "full"), settings["batches_per_step"]))
        faster = settings["batches_per_step"] == (4 if settings["adapter"] else 2)
        return done(bench, (100 if settings["adapter"] else 80) + faster)

    monkeypatch.setattr(bench.adapter_speed, "run", run)
    result = bench.adapter_speed.bench((bench.adapter_speed.FULL, "lora", "ia3"), quick=False)
    assert asked[:4] == [("full", 2), ("full", 4), ("lora", 2), ("lora", 4)]
    assert asked[6:] == [("full", 2), ("lora", 4), ("ia3", 4)] * bench.adapter_speed.TURNS
    assert result["ratios"] == {"lora_vs_full": 101 / 81, "ia3_vs_full": 101 / 81}
    assert [row["runs"] for row in result["rows"]] == [bench.adapter_speed.TURNS] * 3
    text = bench.render.section(result)
    assert "| lora" in text
    assert "1.25" in text


def test_a_kind_that_fails_is_told(bench, monkeypatch):
    monkeypatch.setattr(
        bench.adapter_speed,
        "run",
        lambda *_, **__: bench.processes.Failure("exit status 1: no memory"),
    )
    with pytest.raises(RunError, match="lora failed"):
        bench.adapter_speed.bench(("lora",), quick=True)


def test_every_entry_names_a_method_and_its_options(bench):
    for adapter in bench.adapter_speed.KINDS.values():
        if adapter:
            METHODS[adapter["kind"]](**{k: v for k, v in adapter.items() if k != "kind"})
