"""The explicit frozen reference: its log-probabilities, computed once before training.

The reference is the model that a training starts from, with the adapters that it starts with. Its
weights are known by their hash, and what it says of the rows is kept under that hash, so that a
second training on the same rows does not compute it again and a training that goes on is held to
the reference that it began with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from regimen.errors import TrainingError
from regimen.files import atomic_write
from regimen.models.forward import LanguageModel
from regimen.objectives.answers import places_of, sequence_logp
from regimen.records import stable_hash
from regimen.tokens.store import TokenRows
from regimen.training.measure import measured_batches
from regimen.training.profiling.memory import tensors_in

OF = "reference"
"""The entry of a file's metadata that says what its numbers are of."""

_ROWS = ("ids", "weights", "offsets", "parents", "row_offsets")


@dataclass(frozen=True, slots=True)
class ReferenceIdentity:
    """What a reference is: hashes of its base and of its adapter, and how it is computed.

    ``adapter`` is empty for a model without one. Both hashes are over every byte of every tensor,
    so that a weight that moved is seen.
    """

    base: str
    adapter: str
    dtype: str
    precision: str


def reference_identity(network: Any, *, bf16: bool) -> ReferenceIdentity:
    """The identity of a model as it is."""
    names = set(getattr(network, "peft_config", {}))
    tensors = [*network.named_parameters(), *network.named_buffers()]
    parts: dict[bool, list[tuple[str, Tensor]]] = {False: [], True: []}
    for name, tensor in tensors:
        parts[bool(names & set(name.split(".")))].append((name, tensor))
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for _, tensor in tensors})
    return ReferenceIdentity(
        base=_hash_of(parts[False]),
        adapter=_hash_of(parts[True]) if parts[True] else "",
        dtype=", ".join(dtypes),
        precision="bf16" if bf16 else "fp32",
    )


def _hash_of(tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        scales = (getattr(tensor, kept, None) for kept in ("quant_state", "SCB"))
        for part in tensors_in([tensor, *scales]):  # a quantised weight is codes and scales
            flat = part.detach().to("cpu").contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)  # no copy of a mapped one
    return digest.hexdigest()


def rows_hash(rows: TokenRows) -> str:
    """Hash of all that a model reads of rows, and of which tokens count."""
    digest = hashlib.sha256()
    for name in _ROWS:
        digest.update(np.ascontiguousarray(getattr(rows, name)).tobytes())
    return digest.hexdigest()


def answer_count(rows: TokenRows) -> int:
    """The answers of rows: the segments that continue another one."""
    return int((rows.parents >= 0).sum())


def first_answers(rows: TokenRows) -> Tensor:
    """The number of each row's first answer among all answers: (R,)."""
    counts = np.concatenate([[0], np.cumsum(rows.parents >= 0)])
    return torch.as_tensor(counts[rows.row_offsets[:-1]])


def reference_logps(
    model: LanguageModel, rows: TokenRows, *, tokens_per_batch: int, bf16: bool
) -> Tensor:
    """Summed log-probability (nats) of each answer under the model as it is: (A,)."""
    out_A = torch.zeros(answer_count(rows))
    first_R = first_answers(rows)
    measured = measured_batches(model, rows, tokens_per_batch=tokens_per_batch, bf16=bf16)
    for _, batch, logp_N in measured:
        places = places_of(first_R, batch)
        logp_S = sequence_logp(batch, logp_N).cpu()
        out_A[list(places.numbers)] = logp_S[list(places.segments)]
    return out_A


def kept_reference(
    model: LanguageModel,
    rows: TokenRows,
    directory: Path,
    identity: ReferenceIdentity,
    *,
    tokens_per_batch: int,
) -> tuple[Tensor, bool]:
    """``reference_logps`` from a folder, where it is kept; and whether it was there.

    The file's name is the hash of the rows and of the identity. A file that does not hold what its
    name says, or as many numbers as there are answers, is computed and written again.
    """
    belongs = {"rows": rows_hash(rows), **asdict(identity)}
    path = directory / f"{stable_hash(belongs)}.safetensors"
    found = _read(path, belongs, answer_count(rows))
    if found is not None:
        return found, True
    bf16 = identity.precision == "bf16"
    logps_A = reference_logps(model, rows, tokens_per_batch=tokens_per_batch, bf16=bf16)
    directory.mkdir(parents=True, exist_ok=True)
    atomic_write(path, save({"logps": logps_A}, {OF: _told(belongs, logps_A)}))
    return logps_A, False


def _told(belongs: dict[str, str], values: Tensor) -> str:
    """What a file is of, with the hash of its values; one text, whose bytes are always the same."""
    digest = hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()
    return json.dumps({**belongs, "values": digest}, sort_keys=True)


def _read(path: Path, belongs: dict[str, str], count: int) -> Tensor | None:
    """The values of a file; None where there is none or it is not what it should be."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), "pt") as file:
            told = (file.metadata() or {}).get(OF)
        values = load(path.read_bytes()).get("logps")
    except (SafetensorError, OSError):
        return None
    if values is None or tuple(values.shape) != (count,):
        return None
    return values if told == _told(belongs, values) else None


def check_identity(known: dict[str, str], identity: ReferenceIdentity) -> None:
    """A training that goes on must have the reference that it began with.

    Raises:
        TrainingError: the reference moved; says which part of it.
    """
    now = asdict(identity)
    moved = [part for part, value in now.items() if known.get(part) != value]
    if moved:
        raise TrainingError(
            "The reference of this training has moved.",
            slug="reference-moved",
            got=f"another {' and another '.join(moved)} than when it began",
            expected="the weights and the arithmetic that its first step was held to",
            fix="Put the model that it began with back, or remove the stage's folder to begin "
            "again with this one.",
        )


def check_reference(
    model: LanguageModel,
    rows: TokenRows,
    reference_A: Tensor,
    *,
    bf16: bool,
    tolerance: float = 1e-3,
) -> float:
    """The largest |policy - reference| log-ratio per token at step 0; it must be 0.

    Different micro-batches round differently, so the comparison allows ``tolerance`` nats per
    token in fp32 and 20 times that in bf16.

    Raises:
        TrainingError: the policy does not start at its reference.
    """
    some = rows.take(range(min(4, len(rows))))
    now_A = reference_logps(model, some, tokens_per_batch=1 << 20, bf16=bf16)
    tokens_A = torch.as_tensor(np.diff(some.offsets)[some.parents >= 0]).clamp_min(1)
    worst = float(((now_A - reference_A[: len(now_A)]).abs() / tokens_A).max())
    if not worst <= (20 if bf16 else 1) * tolerance:
        raise TrainingError(
            "The policy does not start at its reference.",
            slug="reference-differs",
            got=f"a log-ratio of {worst:.3g} nats per token at step 0",
            expected="0",
            fix="Start the policy from the model that the reference was computed with.",
        )
    return worst
