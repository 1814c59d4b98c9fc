"""Layer streaming: a frozen base that stays on disk while adapters are trained.

Weights lie in mapped files: those of the model where it can be mapped as it is, a file without a
name for what is quantised, changed by an adapter or of another type. A layer's pages are read when
it runs (forward, again, and backward) and let go when another one does, so that one layer is in
memory at a time (Rajbhandari et al. 2021, *ZeRO-Infinity*, section 5, arXiv 2104.07857, with copies
into buffers; here none are made). The embedding's pages go after each look up, and the head is read
piece by piece. What is computed is computed from the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regimen.errors import TrainingError
from regimen.memory.scratch import Scratch
from regimen.models.forward import backbone_of, base_of
from regimen.models.hardware import trim
from regimen.models.mapped import Mapping, mapping_of

LEAST = 1 << 12
"""Bytes of a tensor below which it stays in memory."""

BLOCK = 1 << 22
"""Bytes of a file that are compared with memory at a time."""

TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Numbers of a weight, as safetensors calls them, and as torch does."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies in a file."""

    file: Path
    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype | None


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """The tensors of a model's folder by name; none where there are no safetensors.

    A file is the length of its header (8 bytes, little-endian), the header as JSON, the numbers.
    """
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    found: dict[str, Stored] = {}
    for file in (folder / name for name in names):
        if not file.is_file():
            return {}
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
        for name, about in header.items():
            if name != "__metadata__":
                dtype = TYPES.get(about["dtype"])
                start = 8 + length + about["data_offsets"][0]
                kind = None if dtype is None else getattr(torch, dtype)
                found[name] = Stored(file, start, tuple(about["shape"]), kind)
    return found


class Streaming:
    """The files that the weights of one model lie in, and who is using them.

    Args:
        directory: of the file without a name, where one is needed.

    Raises:
        TrainingError: the model would be computed with on a CUDA device.
    """

    def __init__(self, directory: Path) -> None:
        if torch.cuda.is_available():
            raise TrainingError(
                "A base that stays on disk is computed with on the CPU, and there is a CUDA device "
                "here.",
                slug="stream-device",
                got="memory.stream on a machine with a CUDA device",
                fix="Remove memory.stream; 'quantise: nf4' and 'activations: offload' save the "
                "device's memory. CUDA_VISIBLE_DEVICES= hides the device.",
            )
        self.directory = directory
        self.mappings: list[Mapping] = []
        self.units: list[_Unit] = []
        self.current: _Unit | None = None

    def load(self, path: str, dtype: torch.dtype) -> Any:
        """A model whose weights are its files; None where they cannot be taken as they are.

        Only what has another type than ``dtype`` is written again, tensor by tensor.

        Raises:
            TrainingError: the disk is too small for that.
        """
        stored = stored_tensors(Path(path))
        model = _empty(path, dtype) if stored else None
        if model is None:
            return None
        tied = _tied(model)
        wanted = {n: p for n, p in model.named_parameters() if n not in tied}
        if not _fits(wanted, stored, _kept_buffers(model)):
            return None
        weights = self._mapped(stored, wanted, dtype)
        for name, tensor in weights.items():
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, nn.Parameter(tensor, requires_grad=True))
        model.tie_weights()
        return model.eval()

    def _mapped(
        self, stored: dict[str, Stored], wanted: Iterable[str], dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """The tensors by name, in ``dtype``, all in mapped files."""
        files: dict[Path, Mapping] = {}
        found, other = {}, {}
        for name in wanted:
            at = stored[name]
            assert at.dtype is not None
            if at.file not in files:
                with at.file.open("rb") as opened:
                    files[at.file] = Mapping(opened.fileno())
            if at.start % at.dtype.itemsize:
                source = files[at.file].unaligned(at.start, at.shape, at.dtype)
            else:
                source = files[at.file].tensor(at.start, at.shape, at.dtype)
            if at.dtype == dtype and not at.start % at.dtype.itemsize:
                found[name] = source
            else:
                other[name] = source
        self.mappings += files.values()
        return found | self._written(other, dtype)

    def _written(
        self, tensors: dict[str, Tensor], dtype: torch.dtype | None = None
    ) -> dict[str, Tensor]:
        """The same tensors in a file without a name, in ``dtype`` or in their own types."""
        if not tensors:
            return {}
        kinds = {name: dtype or tensor.dtype for name, tensor in tensors.items()}
        needed = sum(t.numel() * kinds[name].itemsize for name, t in tensors.items())
        scratch = Scratch(self.directory, needed, "the base that is to be streamed")
        places = {}
        for name, tensor in tensors.items():
            kind = kinds[name]
            places[name] = scratch.take(tensor.numel() * kind.itemsize)
            scratch.write(places[name], tensor.to(kind))
            _let_go(tensor)
        scratch.pad()
        mapping = Mapping(scratch.file.fileno())
        self.mappings.append(mapping)
        return {
            name: mapping.tensor(places[name], tensor.shape, kinds[name])
            for name, tensor in tensors.items()
        }

    def start(self, model: Any) -> str:
        """Leave the frozen weights of a model on disk from now on; says how many bytes that are.

        Raises:
            TrainingError: nothing is frozen, or the disk is too small.
        """
        frozen = {
            name: parameter
            for name, parameter in model.named_parameters()
            if not parameter.requires_grad and _streams(parameter)
        }
        if not frozen:
            raise TrainingError(
                "Nothing of the base can be left on disk.",
                slug="stream-refused",
                got="no frozen weights on the CPU in plain numbers or in 4 bits",
                fix="Add an adapter that leaves the base as it is, for example adapter.kind: lora; "
                "or remove memory.stream.",
            )
        resident = {n: p.data for n, p in frozen.items() if not _as_in_file(p)}
        for name, tensor in self._written(resident).items():
            frozen[name].data = tensor
        resident.clear()
        trim()
        self._watch(model)
        size = sum(p.numel() * p.element_size() for p in frozen.values())
        for mapping in self.mappings:
            mapping.release(0, mapping.size)
        return f"{size / 2**20:.0f} MiB of the base stay on disk"

    def _watch(self, model: Any) -> None:
        """Let pages go where the model no longer needs them."""
        backbone = backbone_of(model)
        layers = _layers(backbone)
        self.units = [_Unit(layer, number) for number, layer in enumerate(layers)]
        for unit in self.units:
            unit.layer.register_forward_pre_hook(self._before(unit))
            unit.layer.register_forward_hook(self._after(unit))
        inside = {id(m) for layer in layers for m in layer.modules()}
        for module in base_of(model).modules():
            own = [p for p in module.parameters(recurse=False) if mapping_of(p) is not None]
            if own and id(module) not in inside:
                module.register_forward_hook(_releasing(own))
        backbone.register_forward_hook(lambda *_: self.enter(None))

    def enter(self, unit: _Unit | None, step: int = 1) -> None:
        """The model is in this layer now, and will be in the one ``step`` further next."""
        before, self.current = self.current, unit
        if before is unit:
            return
        if before is not None:
            before.release()
        if unit is not None and 0 <= unit.number + step < len(self.units):
            self.units[unit.number + step].fetch()

    def _before(self, unit: _Unit) -> Any:
        return lambda *_: self.enter(unit)

    def _after(self, unit: _Unit) -> Any:
        def back(_gradient: Tensor) -> None:
            self.enter(unit, -1)

        def after(_layer: Any, _args: Any, out: Any) -> None:
            first = out[0] if isinstance(out, tuple) else out
            if first.requires_grad:
                first.register_hook(back)

        return after


class _Unit:
    """A layer and where its weights lie."""

    def __init__(self, layer: nn.Module, number: int) -> None:
        self.layer, self.number = layer, number
        self.places = list(_places(layer.parameters()))

    def release(self) -> None:
        for mapping, start, end in self.places:
            mapping.release(start, end)

    def fetch(self) -> None:
        for mapping, start, end in self.places:
            mapping.fetch(start, end)


def _places(parameters: Iterable[Tensor]) -> Iterator[tuple[Mapping, int, int]]:
    for parameter in parameters:
        mapping = mapping_of(parameter.data)
        place = mapping.place(parameter.data) if mapping is not None else None
        if mapping is not None and place is not None:
            yield mapping, *place


def _releasing(parameters: list[nn.Parameter]) -> Any:
    def after(*_: Any) -> None:
        for parameter in parameters:
            _let_go(parameter.data)

    return after


def _let_go(tensor: Tensor) -> None:
    for mapping, start, end in _places([tensor]):
        mapping.release(start, end)


def _streams(parameter: nn.Parameter) -> bool:
    """Whether a weight can lie in a file: plain numbers, or codes of 4 bits."""
    plain = type(parameter.data) is Tensor and type(parameter).__name__ != "Int8Params"
    large = parameter.numel() * parameter.element_size() >= LEAST
    return plain and large and parameter.device.type == "cpu"


def _as_in_file(parameter: nn.Parameter) -> bool:
    """Whether a weight lies in a mapped file and is what the file has: adapters may change some."""
    mapping = mapping_of(parameter.data)
    place = mapping.place(parameter.data) if mapping is not None else None
    if mapping is None or place is None or not parameter.data.is_contiguous():
        return False
    same = all(
        mapping.is_as_in_file(start, min(start + BLOCK, place[1]))
        for start in range(place[0], place[1], BLOCK)
    )
    if same:
        mapping.release(*place)
    return same


def _layers(backbone: Any) -> list[nn.Module]:
    """The layers of a model: the longest list of modules that is in no other."""
    found = [m for m in backbone.children() if isinstance(m, nn.ModuleList)]
    return max((list(one) for one in found), key=len, default=[])


def _empty(path: str, dtype: torch.dtype) -> Any:
    """The model of a folder without weights; buffers are there. None for what is no such model."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    try:
        config = AutoConfig.from_pretrained(path)
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config, dtype=dtype
            )
    except (OSError, ValueError, KeyError):
        return None
    model.name_or_path = config._name_or_path = path
    if (Path(path) / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(path)
    return model


def _tied(model: Any) -> set[str]:
    """Names of weights that are others of the same model."""
    config = model.config.get_text_config()
    if not getattr(config, "tie_word_embeddings", False):
        return set()
    return set(getattr(model, "_tied_weights_keys", None) or {})


def _kept_buffers(model: Any) -> set[str]:
    """Names of buffers that files have."""
    return set(model.state_dict()) - {name for name, _ in model.named_parameters()}


def _fits(wanted: dict[str, nn.Parameter], stored: dict[str, Stored], buffers: set[str]) -> bool:
    """Whether each weight is in the files, under its name and in its shape."""
    return not (buffers & stored.keys()) and all(
        name in stored
        and stored[name].shape == tuple(parameter.shape)
        and stored[name].dtype is not None
        for name, parameter in wanted.items()
    )
