"""The command line of a benchmark: its options, what becomes of its result, its exit status."""

from __future__ import annotations

import json
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from processes import HERE
from regimen import console
from regimen.errors import MissingExtraError, RegimenError
from regimen.files import atomic_write, jsonable

Result = dict[str, Any]


def parser(
    what: str, *, data: str | None = None, quick: str | None = None, peer: str | None = None
) -> ArgumentParser:
    """A parser with ``--json``, and with the other options that are explained.

    Args:
        what: is measured.
        data: help of ``--data``, the folder of what is measured on.
        quick: help of ``--quick``.
        peer: help of ``--peer-python``, the interpreter of the peers' environment.
    """
    made = ArgumentParser(description=what)
    if data is not None:
        made.add_argument("--data", type=Path, required=True, help=data)
    if quick is not None:
        made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--json", action="store_true", help="print one JSON object last")
    if peer is not None:
        default = HERE.parent / ".venv-bench" / "bin" / "python"
        made.add_argument("--peer-python", type=Path, default=default, help=peer)
    return made


def require_peers(python: Path) -> None:
    """Raise ``MissingExtraError`` unless the interpreter of the peers' environment is there."""
    if not python.is_file():
        raise MissingExtraError(
            "The peers' environment is not there.",
            slug="missing-bench-env",
            got=str(python),
            fix="make bench-env, or name its interpreter with --peer-python",
        )


def beside_peers(python: Path, bench: Callable[[Path, Path], Result]) -> Result:
    """What ``bench`` measures with the peers' interpreter in a folder that goes afterwards.

    Raises:
        MissingExtraError: there is no such interpreter.
    """
    require_peers(python)
    with tempfile.TemporaryDirectory() as folder:
        return bench(python, Path(folder))


def carry_out(
    options: Namespace,
    measure: Callable[[], Result],
    show: Callable[[Result], None],
    *pages: Callable[[Result], object],
) -> int:
    """Measure and show; keep the result of a full run and write its pages; the exit status.

    Args:
        options: ``quick`` and ``json``.
        measure: gives the result, whose ``name`` is that of its file in ``results``.
        show: prints it for people.
        pages: write what is made of the kept results, in order.
    """
    try:
        result = measure()
    except RegimenError as problem:
        console.error(problem)
        return 1
    show(result)
    if not options.quick:
        keep(HERE / "results" / f"{result['name']}.json", result)
        for write in pages:
            write(result)
    if options.json:
        console.result(result)
    return 0


def keep(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result as it is committed."""
    atomic_write(path, json.dumps(jsonable(result), indent=1, allow_nan=False) + "\n")
