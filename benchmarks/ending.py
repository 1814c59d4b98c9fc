"""How every benchmark begins and ends: the peers are there, the result is kept and told."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from processes import HERE
from regimen import console
from regimen.errors import MissingExtraError
from regimen.files import atomic_write, jsonable


def require_peers(python: Path) -> None:
    """Raise ``MissingExtraError`` unless the interpreter of the peers' environment is there."""
    if not python.is_file():
        raise MissingExtraError(
            "The peers' environment is not there.",
            slug="missing-bench-env",
            got=str(python),
            fix="make bench-env, or name its interpreter with --peer-python",
        )


def conclude(
    name: str, result: Mapping[str, Any], options: Namespace, *pages: Callable[[], object]
) -> int:
    """Keep the result of a full run and write its pages, print the line of ``--json``; 0.

    Args:
        name: of the file in ``results``.
        result: what was measured.
        options: ``quick`` and ``json``.
        pages: write what is made of the kept results, in order.
    """
    if not options.quick:
        text = json.dumps(jsonable(result), indent=1, allow_nan=False) + "\n"
        atomic_write(HERE / "results" / f"{name}.json", text)
        for write in pages:
            write()
    if options.json:
        console.result(result)
    return 0
