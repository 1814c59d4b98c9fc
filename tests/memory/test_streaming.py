"""A frozen base that stays on disk: pytest tests/memory/test_streaming.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.small_models import MODELS, PADDED, make
from regimen.adapters.lora import Lora
from regimen.adapters.methods import METHODS, add_adapter
from regimen.errors import TrainingError
from regimen.memory import streaming
from regimen.memory.activations import Activations, arrange
from regimen.memory.streaming import Streaming, stored_tensors
from regimen.models import chunks
from regimen.models.forward import base_of, prepare
from regimen.models.head import reduce
from regimen.models.loading import ModelSpec, check_finite, load_model
from regimen.models.mapped import Mapping, mapping_of, release
from regimen.tokens.ragged import Segment, ragged_batch
from regimen.training.state_memory import state_memory

NO_LORA = ("falcon", "mamba", "deepseek_v3")
"""Models that the preset of LoRA does not fit."""
NAMES = [name for name in {**MODELS, **PADDED} if name not in NO_LORA]
OTHER_NAMES = ("gpt_neox", "mixtral", "qwen2_moe", "jamba")
"""Models whose files call some weights otherwise than the modules."""


@pytest.fixture(autouse=True)
def everything_streams(monkeypatch):
    monkeypatch.setattr(streaming, "LEAST", 1)


def test_a_base_stays_on_disk_for_the_cpu_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(TrainingError, match="stream-device"):
        Streaming(tmp_path)


def saved(name, folder, dtype=torch.float32):
    model = make(name, {**MODELS, **PADDED}[name]).to(dtype)
    model.config._attn_implementation = "sdpa"
    model.save_pretrained(folder)
    return str(folder)


def adapted(model, spec=None):
    model = add_adapter(model, spec or Lora(r=4), seed=3)
    draw = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=draw)
    return model


def batch():
    draw = torch.Generator().manual_seed(5)
    ids = [torch.randint(61, (n,), generator=draw).tolist() for n in (9, 6, 12)]
    return ragged_batch([Segment(x, [0.0] * (len(x) - 4) + [1.0] * 4, -1) for x in ids])


def step(model, activations="keep"):
    """Loss and gradients of one batch."""
    arrange(model, Activations(kind=activations, tokens=64))
    prepared, rows = prepare(model), batch()
    model.train().zero_grad(set_to_none=True)
    out = reduce(
        prepared.hidden(rows, rows.source_row_N), prepared.head(), rows.source_row_N,
        rows.target_N, {"nll_sum"}, weight_N=rows.weight_N, chunk=5,
    )  # fmt: skip
    out.nll_sum.backward()
    return out.nll_sum.detach(), {n: p.grad for n, p in model.named_parameters()}


def assert_equal(one, other, bound=0.0):
    (loss, gradients), (ours, got) = one, other
    assert list(got) == list(gradients)
    torch.testing.assert_close(ours, loss, rtol=bound, atol=0)
    there = {n: g for n, g in gradients.items() if g is not None}
    size = max(float(g.abs().max()) for g in there.values())
    for name, gradient in there.items():
        assert float((got[name] - gradient).abs().max()) <= bound * size, name


@pytest.mark.matrix
@pytest.mark.parametrize("name", NAMES)
def test_a_streamed_base_has_the_loss_and_the_gradients_of_a_resident_one(name, tmp_path):
    path = saved(name, tmp_path / "model")
    plain = step(adapted(load_model(ModelSpec(path=path))))
    source = Streaming(tmp_path / "scratch")
    model = source.load(path, torch.float32)
    assert (model is None) == (name in OTHER_NAMES)
    model = adapted(load_model(ModelSpec(path=path)) if model is None else model)
    source.start(model)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert all(mapping_of(p) is not None for p in frozen)
    assert_equal(plain, step(model))
    assert_equal(plain, step(model, "full"))
    trained = [p for p in model.parameters() if p.requires_grad]
    counted = state_memory(model, torch.optim.SGD(trained, lr=0.1))
    assert counted.weights == sum(b.numel() * b.element_size() for b in model.buffers())


@pytest.mark.parametrize("needs", [{"nll_sum"}, {"logp", "lse", "entropy"}])
def test_a_head_that_is_read_in_pieces(needs, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "PIECE", 300)  # about nine rows of the head
    path = saved("gemma2", tmp_path / "model")
    source, rows = Streaming(tmp_path / "scratch"), batch()
    hidden = torch.randn(rows.num_tokens, 32, generator=torch.Generator().manual_seed(2))
    results = []
    for streams in (False, True):
        model = source.load(path, torch.float32) if streams else load_model(ModelSpec(path=path))
        model = adapted(model)
        if streams:
            source.start(model)
        given = hidden.clone().requires_grad_()
        head = prepare(model).head()
        assert (mapping_of(head.weight_VD) is not None) == streams
        weight = rows.weight_N if "nll_sum" in needs else None
        out = reduce(given, head, rows.source_row_N, rows.target_N, needs, weight_N=weight, chunk=5)
        names = ("nll_sum", "logp_N", "lse_N", "entropy_N")
        total = sum(getattr(out, n).sum() for n in names if getattr(out, n) is not None)
        total.backward()
        results.append((total.detach(), {"hidden": given.grad}))
    assert_equal(*results, bound=1e-5)


def resident_bytes(mapping):
    """Bytes of a mapping that are memory of this process now."""
    places = Path("/proc/self/smaps").read_text().split("VmFlags:")
    start = f"{mapping.address:x}-"
    (mine,) = [text for text in places if f"\n{start}" in text or text.startswith(start)]
    return int(next(line.split()[1] for line in mine.splitlines() if line.startswith("Rss")))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux alone tells")
def test_one_layer_is_in_memory_at_a_time(tmp_path):
    wide = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6}
    model = make("llama", {**MODELS["llama"], **wide})
    source = Streaming(tmp_path)
    model = adapted(model)
    source.start(model)
    (mapping,) = source.mappings
    layer = sum(p.numel() * 4 for p in source.units[0].layer.parameters() if not p.requires_grad)
    assert mapping.size > 6 * layer
    arrange(model, Activations(kind="full"))
    prepared, rows = prepare(model), batch()
    model.train()
    seen = []
    for unit in source.units:  # at each end of a layer, forward and backward
        unit.layer.register_forward_hook(
            lambda _m, _a, out: (
                seen.append(resident_bytes(mapping)),
                out.register_hook(lambda _: seen.append(resident_bytes(mapping))),
            )[0]
        )
    prepared.hidden(rows).sum().backward()
    assert len(seen) == 12
    assert 0 < max(seen) < 2.5 * layer / 1024  # kernels map some pages around those that are read
    source.enter(None)
    assert resident_bytes(mapping) < layer / 1024


def test_a_base_in_another_type_is_written_again(tmp_path):
    path = saved("llama", tmp_path / "model", torch.bfloat16)
    plain = step(adapted(load_model(ModelSpec(path=path))))
    source = Streaming(tmp_path / "scratch")
    model = adapted(source.load(path, torch.float32))
    source.start(model)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_equal(plain, step(model))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_an_adapter_changes_in_the_base_is_not_lost(tmp_path):
    path = saved("llama", tmp_path / "model")
    spec = Lora(r=4, init="pissa")
    plain = load_model(ModelSpec(path=path))
    before = {n: p.detach().clone() for n, p in plain.named_parameters()}
    plain = add_adapter(plain, spec, seed=3)
    source = Streaming(tmp_path / "scratch")
    model = source.load(path, torch.float32)
    check_finite(model)
    model = add_adapter(model, spec, seed=3)
    source.start(model)
    changed = 0
    for (name, theirs), ours in zip(plain.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
        known = before.get(name.removeprefix("base_model.model.").replace(".base_layer", ""))
        changed += known is not None and not torch.equal(known, theirs)
    assert changed == 14
    assert_equal(step(plain), step(model))


def test_a_base_in_4_bits_streams(tmp_path):
    pytest.importorskip("bitsandbytes")
    from regimen.memory.bases import configuration

    wide = {"hidden_size": 64, "intermediate_size": 128}
    make("llama", {**MODELS["llama"], **wide}).save_pretrained(tmp_path / "model")
    results = []
    for streams in (False, True):
        config = configuration("nf4", torch.float32)
        model = load_model(ModelSpec(path=str(tmp_path / "model")), quantisation=config)
        model = adapted(model)
        if streams:
            source = Streaming(tmp_path)
            source.start(model)
            codes = [p for p in model.parameters() if p.dtype == torch.uint8]
            assert len(codes) == 14
            assert all(mapping_of(p) is not None for p in codes)
        results.append(step(model, "full"))
    assert_equal(*results)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["ia3", "prompt", "prefix", "bottleneck", "vera", "layernorm"])
def test_with_other_adapters(kind, tmp_path):
    path = saved("llama", tmp_path / "model")
    plain = step(adapted(load_model(ModelSpec(path=path)), METHODS[kind]()))
    source = Streaming(tmp_path / "scratch")
    model = adapted(source.load(path, torch.float32), METHODS[kind]())
    source.start(model)
    assert_equal(plain, step(model))


def test_a_base_that_is_trained_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="stream-refused") as raised:
        Streaming(tmp_path).start(make("llama", MODELS["llama"]))
    assert "adapter" in raised.value.fix


def test_a_disk_without_room_is_told(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(TrainingError, match="disk-too-small"):
        Streaming(tmp_path).start(adapted(make("llama", MODELS["llama"])))


def test_folders_that_cannot_be_mapped_are_loaded(tmp_path):
    source = Streaming(tmp_path)
    assert source.load(str(tmp_path / "nothing"), torch.float32) is None
    path = Path(saved("llama", tmp_path / "model"))
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    assert source.load(str(path), torch.float32) is None


def test_sharded_files_and_their_offsets(tmp_path):
    from safetensors.torch import load_file

    model = make("llama", MODELS["llama"])
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    found = stored_tensors(tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    assert set(found) == set(model.state_dict())
    for file in files:
        for name, expected in load_file(file).items():
            at = found[name]
            assert at.file == file
            with file.open("rb") as opened:
                mapping = Mapping(opened.fileno())
            assert torch.equal(mapping.tensor(at.start, at.shape, at.dtype), expected)
            assert torch.equal(mapping.unaligned(at.start, at.shape, at.dtype), expected)
    assert base_of(Streaming(tmp_path).load(str(tmp_path), torch.float32)) is not None


def test_what_was_written_to_a_mapping_is_seen_and_goes_with_a_release(tmp_path):
    file = tmp_path / "numbers"
    file.write_bytes(torch.arange(1 << 15, dtype=torch.int32).numpy().tobytes())
    with file.open("rb") as opened:
        mapping = Mapping(opened.fileno())
    tensor = mapping.tensor(0, (1 << 15,), torch.int32)
    assert mapping_of(tensor[5:]) is mapping
    assert mapping_of(torch.ones(3)) is None
    assert mapping.is_as_in_file(0, mapping.size)
    tensor[3] = 7
    assert not mapping.is_as_in_file(0, mapping.size)
    release(tensor)
    release(torch.ones(3))
    assert tensor[3] == 3


SCRIPT = """
import json, sys, torch
from pathlib import Path
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.memory.activations import Activations, arrange
from regimen.memory.streaming import Streaming
from regimen.models.forward import prepare
from regimen.models.head import reduce
from regimen.models.loading import ModelSpec, check_finite, load_model
from regimen.tokens.ragged import Segment, ragged_batch

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

path, streams = sys.argv[1], sys.argv[2] == "True"
load_model(ModelSpec(path=path + "/small"))  # what libraries load late
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
source = Streaming(Path(path))
model = source.load(path, torch.float32) if streams else load_model(ModelSpec(path=path))
check_finite(model)
model = add_adapter(model, Lora(r=2), seed=0)
if streams:
    source.start(model)
arrange(model, Activations(kind="full"))
prepared = prepare(model)
model.train()
rows = ragged_batch([Segment(list(range(40)), [0.0] + [1.0] * 39)])
out = reduce(prepared.hidden(rows), prepared.head(), rows.source_row_N, rows.target_N, {"logp"})
out.logp_N.sum().backward()
print(json.dumps({"grown": memory("VmHWM") - before, "loss": float(out.logp_N.sum())}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells")
def test_a_fresh_process_grows_by_less_than_the_base(tmp_path):
    shape = {
        "vocab_size": 8000,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 8,
    }
    model = make("llama", {**MODELS["llama"], **shape})
    model.save_pretrained(tmp_path)
    make("llama", MODELS["llama"]).save_pretrained(tmp_path / "small")
    base = sum(p.numel() * 4 for p in model.parameters())
    del model
    found = {}
    for streams in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path), str(streams)],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[streams] = json.loads(done.stdout.splitlines()[-1])
    assert found[True]["loss"] == pytest.approx(found[False]["loss"], rel=1e-6)
    assert found[False]["grown"] > base
    assert found[True]["grown"] < base / 2
