"""Answers on disk, keyed by the request alone: a paid answer is never asked for again.

One JSON file per answer, ``<directory>/<first two digits>/<key>.json``, with the request beside
the answer, so that a person can read it and two processes can share it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from regimen.files import atomic_write
from regimen.protocols import Completion
from regimen.records import stable_hash

KEY_LENGTH = 40


def request_key(kind: str, payload: Mapping[str, Any]) -> str:
    """Hash of everything that decides the answer: kind of endpoint, model, messages, sampling.

    Neither the server's address nor the request's id nor any code is part of it.
    """
    return stable_hash([kind, payload], length=KEY_LENGTH)


class ResponseCache:
    """The answers in a directory. Only answers are stored, errors never."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)

    def path(self, key: str) -> Path:
        """Where the answer to a request lies."""
        return self.directory / key[:2] / f"{key}.json"

    def get(self, key: str) -> Completion | None:
        """The stored answer; None when there is none, or when the file was damaged."""
        try:
            stored = json.loads(self.path(key).read_text(encoding="utf-8"))
            return Completion(**stored["completion"])
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            return None

    def put(self, key: str, payload: Mapping[str, Any], completion: Completion) -> None:
        """Store an answer, whole or not at all."""
        entry = {"request": payload, "completion": asdict(completion)}
        atomic_write(self.path(key), json.dumps(entry, ensure_ascii=False, indent=1) + "\n")
