"""pytest tests/benchmarks/test_adapters.py"""

import json

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


def test_some_kinds_are_put_into_what_is_kept(bench, tmp_path):
    file, speed = tmp_path / "adapter_speed.json", bench.adapter_speed
    result = {"rows": [{"kind": speed.FULL, "x": 2}, {"kind": "boft", "x": 2}], "ratios": {"b": 2}}
    assert speed.added(result, file) is result
    kept = [{"kind": speed.FULL, "x": 1}, {"kind": "lora", "x": 1}, {"kind": "lisa, 2 layers"}]
    file.write_text(json.dumps({"machine": 5, "rows": kept, "ratios": {"a": 1, "b": 1}}))
    found = speed.added(result, file)
    assert [row["kind"] for row in found["rows"]] == [
        "full tuning",
        "lora",
        "boft",
        "lisa, 2 layers",
    ]
    assert found["rows"][0]["x"] == 1
    assert found["ratios"] == {"a": 1, "b": 2}
    assert found["machine"] == 5


def test_a_kind_that_is_not_there_is_an_error(bench, capsys):
    with pytest.raises(SystemExit):
        bench.adapter_speed.main(["--kinds", "lora; lorra"])
    assert "no kind is called lorra" in capsys.readouterr().err
