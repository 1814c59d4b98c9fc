"""What a checkpoint belongs to, so that a training never goes on from another one's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regimen.errors import RunError
from regimen.models.quantised import is_plain
from regimen.tokens.store import TokenRows
from regimen.training.options import LoopOptions

Identity = Mapping[str, str]
"""One hash for each thing that a checkpoint belongs to; see ``BELONGS``."""

BELONGS = {
    "model": "weights to start from",
    "rows": "training rows",
    "options": "options of the training",
}
"""The parts of a checkpoint's identity, in words."""


def identity_of(model: Any, rows: TokenRows, options: LoopOptions) -> Identity:
    """What a checkpoint belongs to: the model that training began with, its rows, its options.

    Of the weights, 16 values of each tensor stand for all of them; quantised ones are left out,
    because their bytes differ between devices.
    """
    return {
        "model": _weights_hash(model),
        "rows": _hash(
            np.ascontiguousarray(array).tobytes()
            for array in (rows.ids, rows.weights, rows.offsets, rows.parents, rows.row_offsets)
        ),
        # How often something is written or shown does not change the run.
        "options": _hash([repr(replace(options, log_every=1, save_every=None)).encode()]),
    }


def _weights_hash(model: Any) -> str:
    def parts() -> Iterator[bytes]:
        for name, parameter in model.named_parameters():
            yield f"{name} {tuple(parameter.shape)} {parameter.requires_grad};".encode()
            if parameter.is_floating_point() and parameter.numel() and is_plain(parameter):
                flat = parameter.detach().reshape(-1)
                some = flat[:: max(1, len(flat) // 16)][:16]
                yield some.to("cpu", torch.float32).numpy().tobytes()

    return _hash(parts())


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def check_identity(path: Path, known: Any, expected: Identity) -> None:
    """A checkpoint must be of the training that is to go on.

    Raises:
        RunError: it is of another one; says in what they differ.
    """
    found = known if isinstance(known, dict) else {}
    other = [words for part, words in BELONGS.items() if found.get(part) != expected[part]]
    if other:
        raise RunError(
            "This checkpoint is of another training.",
            slug="checkpoint-other",
            got=f"a checkpoint of other {' and other '.join(other)}",
            expected="the model, the rows and the options that it was made with",
            fix="Go on with the settings and files that it was made with, or remove the folder.",
            where=str(path),
        )
