"""Loading a model into a quantised one tensor by tensor, so that the whole is never in memory.

transformers maps a file of weights into memory. While it quantises, the pages that were read stay
resident until the file is closed, and weights that are not quantised stay views of them. Here each
tensor is read into memory of its own when its turn comes and let go once it is quantised; names,
converted layouts and tied weights remain transformers' work.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regimen.models.hardware import trim

DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
    "I32": torch.int32, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16,
    "F32": torch.float32, "F64": torch.float64, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
"""Types by their names in safetensors' header."""

PASS = 4 << 20
"""Bytes that are read between two returns of freed memory to the system."""

_PREFIX = 8
"""Bytes before the header, which hold its length."""

ROUTERS = ("gate", "router", "shared_expert_gate")
"""Names of the small layers that choose experts."""


class Stored(NamedTuple):
    """A tensor in a file of safetensors, read when it is asked for."""

    file: Path
    start: int
    end: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    read: list[int]
    """Bytes read since memory was given back: one list for all tensors of a model."""

    def __getitem__(self, index: Any) -> Tensor:  # type: ignore[override]
        """The tensor, or a part of it, in memory of its own."""
        size = self.end - self.start
        if self.read[0] > PASS:
            trim()
            self.read[0] = 0
        self.read[0] += size
        bytes_B = torch.empty(size, dtype=torch.uint8)
        with self.file.open("rb", buffering=0) as file:
            file.seek(self.start)
            view, done = memoryview(bytes_B.numpy().data), 0
            while done < size and (count := file.readinto(view[done:])):
                done += count
            if hasattr(os, "posix_fadvise"):  # nobody reads it again
                os.posix_fadvise(file.fileno(), self.start, size, os.POSIX_FADV_DONTNEED)
        if done < size:
            raise OSError(f"{self.file.name} ends before its tensors do")
        return bytes_B.view(self.dtype).view(self.shape)[index]

    def get_shape(self) -> list[int]:
        """As a slice of safetensors."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """As a slice of safetensors."""
        return next(name for name, dtype in DTYPES.items() if dtype == self.dtype)


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """The tensors of a model's folder by name; none if its weights are in other files.

    Raises:
        ValueError: a file is not one of safetensors.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        files = [folder / name for name in sorted(set(names))]
    else:
        files = [it for it in [folder / "model.safetensors"] if it.is_file()]
    found: dict[str, Stored] = {}
    read = [0]
    for path in files:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_PREFIX), "little")
            if length > path.stat().st_size:
                raise ValueError(f"{path.name} is no file of safetensors")
            header = json.loads(file.read(length))
        for name, about in header.items():
            if name != "__metadata__":
                start, end = (_PREFIX + length + place for place in about["data_offsets"])
                dtype, shape = DTYPES[about["dtype"]], tuple(about["shape"])
                found[name] = Stored(path, start, end, dtype, shape, read)
    return found


def load_streamed(
    path: str, config: Any, dtype: torch.dtype, quantisation: Any
) -> tuple[Any, dict[str, Any]] | None:
    """A quantised model and transformers' account of its weights; None where it cannot stream.

    Streams from a folder with safetensors. The vocabulary's projection, embeddings, norms and the
    small layers that choose experts stay as they are, in ``dtype``.

    Args:
        path: the folder.
        config: of transformers.
        dtype: of what is not quantised.
        quantisation: configuration of transformers; None if ``config`` has it.

    Raises:
        OSError, ValueError, KeyError: as transformers' ``from_pretrained``.
    """
    from transformers import GenerationConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    folder = Path(path)
    tensors = stored_tensors(folder) if folder.is_dir() else {}
    if not tensors or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return None
    network: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    options = {} if quantisation is None else {"quantization_config": quantisation}
    if quantisation is not None:
        leave_alone(quantisation, network, config)
    model, found = network.from_pretrained(
        None,
        config=config,
        state_dict=tensors,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **options,
    )
    model.name_or_path = model.config._name_or_path = path
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(path)
    trim()
    return model, found


def leave_alone(quantisation: Any, network: Any, config: Any) -> None:
    """Write into transformers' configuration which layers are not quantised."""
    with torch.device("meta"):
        model = network._from_config(config)
    output = model.get_output_embeddings()
    names = [
        name
        for name, module in model.named_modules()
        if module is output or name.rpartition(".")[2] in ROUTERS
    ]
    field = "llm_int8_skip_modules"
    setattr(
        quantisation, field if hasattr(quantisation, field) else "modules_to_not_convert", names
    )
