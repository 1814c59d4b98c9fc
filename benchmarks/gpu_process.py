"""What every process of gpu.py does alike: drawn models, the clock, memory, the machine's rate.

torch and transformers alone, so that the peers' processes import nothing of regimen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from measure import Recorder, peak_bytes
from work import SEED

SIDE = 8192
"""Of the square matrices whose product is the measure of the machine."""
TINY_SIDE = 256


def device() -> torch.device:
    """The accelerator, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait() -> None:
    """Until the device has done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def config_of(facts: Mapping[str, Any]) -> Any:
    """transformers' configuration of the cell's model."""
    from transformers import AutoConfig

    fields = dict(facts["model"])
    return AutoConfig.for_model(fields.pop("model_type"), **fields)


def drawn_model(facts: Mapping[str, Any]) -> Any:
    """The cell's model with drawn weights on the device: the same on every side.

    A model in few bits is made layer by layer, so that it is never whole in 16.
    """
    from transformers import AutoModelForCausalLM

    config, dtype = config_of(facts), getattr(torch, facts["dtype"])
    layers = config.num_hidden_layers
    torch.manual_seed(SEED)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device():
            config.num_hidden_layers = 1
            model = AutoModelForCausalLM.from_config(
                config, dtype=dtype, attn_implementation=facts["attention"]
            )
            model.config.num_hidden_layers = layers
            stack = model.model.layers
            first = stack[0]
            _draw(model)
            _in_few_bits(first, facts["quantise"])
            for number in range(1, layers):
                layer = type(first)(model.config, number)
                _draw(layer)
                _in_few_bits(layer, facts["quantise"])
                stack.append(layer)
    finally:
        torch.set_default_dtype(before)
    model.is_loaded_in_4bit = bool(facts["quantise"])  # PEFT asks for it
    return model.train()


@torch.no_grad()
def _draw(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.normal_(0, 0.02)
            if getattr(part, "bias", None) is not None:
                part.bias.zero_()


def _in_few_bits(layer: nn.Module, kind: str) -> None:
    """Replace the linear layers by bitsandbytes' in ``kind`` with quantised scales."""
    if not kind:
        return
    import bitsandbytes as bnb

    for name, linear in [(n, m) for n, m in layer.named_modules() if isinstance(m, nn.Linear)]:
        made = bnb.nn.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type=kind,
            device="meta",
        )
        whole = linear.weight.detach()
        place = whole.device
        made.weight = bnb.nn.Params4bit(
            whole, requires_grad=False, quant_type=kind, compress_statistics=True
        )
        if linear.bias is not None:
            made.bias = linear.bias
        layer.set_submodule(name, made.to(place))  # it is quantised on the way


def compile_layers(model: Any) -> None:
    """Compile each decoder layer, whatever the number of tokens; adapters stay in their places."""
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    for layer in base.model.layers:
        layer.compile(dynamic=True)


def matmul_rate() -> float:
    """FLOP a second of one large product of drawn numbers in bf16 (fp32 on a CPU), now."""
    place = device()
    on_gpu = place.type == "cuda"
    side, dtype = (SIDE, torch.bfloat16) if on_gpu else (TINY_SIDE, torch.float32)
    first, second = (torch.randn(side, side, device=place, dtype=dtype) for _ in range(2))
    return 2.0 * side**3 / timed(lambda: torch.mm(first, second), warm=3, times=10)


def timed(what: Any, *, warm: int, times: int) -> float:
    """Median seconds of a call, each waited for."""
    took = []
    for number in range(warm + times):
        wait()
        began = time.perf_counter()
        what()
        wait()
        if number >= warm:
            took.append(time.perf_counter() - began)
    return median(took)


def held(model: nn.Module, optimizer: Any = None) -> dict[str, int]:
    """Bytes of weights, of the gradients of what is trained, and of an optimizer's state."""
    parameters = list(model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    state = [] if inner is None else list(_tensors(list(inner.state.values())))
    return {
        "weights": sum(_bytes(p) + _scales(p) for p in parameters),
        "gradients": sum(_bytes(p) for p in trained),
        "optimizer": sum(_bytes(t) for t in state),
        "trained": sum(p.numel() for p in trained),
    }


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _scales(parameter: Tensor) -> int:
    """Bytes of the scales of a weight in few bits."""
    state = getattr(parameter, "quant_state", None)
    parts = [] if state is None else [state, getattr(state, "state2", None)]
    found = [getattr(part, name, None) for part in parts for name in ("absmax", "code", "offset")]
    return sum(_bytes(t) for t in found if isinstance(t, Tensor))


def _tensors(what: Any) -> Iterator[Tensor]:
    if isinstance(what, Tensor):
        yield what
    elif isinstance(what, Mapping):
        yield from _tensors(list(what.values()))
    elif isinstance(what, list | tuple):
        for each in what:
            yield from _tensors(each)


@dataclass(slots=True)
class Meter(Recorder):
    """A recorder that waits for the device, and counts its memory from the first step on."""

    allocated: int = 0
    reserved: int = 0

    def begin(self) -> None:
        """Training starts now."""
        wait()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        Recorder.begin(self)

    def step(self, tokens: int, supervised: int, loss: float) -> None:
        """A step has ended; see ``Recorder``."""
        wait()
        Recorder.step(self, tokens, supervised, loss)

    def stop(self) -> None:
        """What comes after is no part of the work."""
        wait()
        Recorder.stop(self)
        if torch.cuda.is_available():
            self.allocated = torch.cuda.max_memory_allocated()
            self.reserved = torch.cuda.max_memory_reserved()
        else:
            self.allocated = self.reserved = peak_bytes() - self.imported

    def tell(self, path: Path, libraries: tuple[str, ...], **extra: Any) -> None:
        """Write what was measured, with the machine and its rate now."""
        self.write(
            path,
            versions=versions(*libraries),
            device=told_device(),
            matmul=matmul_rate(),
            memory={"allocated": self.allocated, "reserved": self.reserved},
            threads=torch.get_num_threads(),
            **extra,
        )


def versions(*names: str) -> dict[str, str]:
    """Of libraries that are there."""
    found = {"torch": torch.__version__}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def told_device() -> dict[str, Any]:
    """The accelerator: its name, memory and CUDA version; the CPU by its type alone."""
    if not torch.cuda.is_available():
        return {"name": "cpu"}
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
    }
