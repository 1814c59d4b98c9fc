"""Speed and memory on an accelerator, beside transformers, TRL, TRL with Liger, and other heads.

    python benchmarks/gpu.py [--cell NAME ...] [--minutes 9] [--state DIR] [--wheels DIR] [--json]
    python benchmarks/gpu.py --state DIR --merge

Twelve cells (gpu_cells.py), a process for each side of each, weights drawn on the device. What has
no result in the state folder is run in order, and the command stops before its minutes are up; run
again, it goes on. Each process's result is a file there, and ``gpu.json`` has all of them and the
ratios; the folder may be cut down to that file and carried elsewhere. ``--again`` runs what failed
once more. ``--merge`` writes benchmarks/results/gpu.json and its part of docs/benchmarks.md.

Needs torch, transformers, peft and pyarrow; nothing is installed and nothing is fetched. The peers
come as wheels in a folder, which are unpacked for the processes. To gather them for a machine with
CUDA 13 and python 3.12:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --dest wheels \\
        --platform manylinux_2_24_x86_64 --platform manylinux_2_28_x86_64 \\
        trl datasets 'dill<0.4.2' 'multiprocess<0.70.20' liger-kernel cut-cross-entropy \\
        bitsandbytes
    zip -d wheels/bitsandbytes-*.whl '*cuda11*' '*cuda12*' '*rocm*' '*xpu*'

(the second line leaves out kernels for other devices, 38 of 43 MB); and accelerate, pandas, xxhash
or peft, where the machine has none. ``--tiny`` runs all cells at toy shapes on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from command import keep as commit
from command import parser
from gpu_cells import tiny
from gpu_result import NAME, merged
from gpu_state import WHOLE, Found, Job, Raw, carry_on, chosen, forget_failures, jobs_of, read_state
from gpu_work import write_cell
from processes import HERE, Failure, run
from regimen import console
from regimen.errors import MissingExtraError, RegimenError, RunError
from result import machine

MARGIN = 15.0
"""Seconds before the end at which nothing runs any more: what is there is written."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser("Speed and memory on an accelerator.", quick="one cell, under 3 minutes")
    made.add_argument("--cell", action="append", metavar="NAME", help="a cell; may be repeated")
    made.add_argument("--minutes", type=float, default=9.0, help="after which nothing runs")
    made.add_argument("--state", type=Path, default=Path("runs/gpu"), help="folder of results")
    made.add_argument("--wheels", type=Path, help="folder of the peers' wheels")
    made.add_argument("--again", action="store_true", help="run what failed once more")
    made.add_argument("--merge", action="store_true", help="write the committed result and page")
    made.add_argument("--tiny", action="store_true", help="toy shapes, on the CPU")
    return made.parse_args(argv)


def require_device() -> None:
    """Refuse a machine without CUDA.

    Raises:
        MissingExtraError: ``missing-cuda``.
    """
    import torch

    if not torch.cuda.is_available():
        raise MissingExtraError(
            "This benchmark needs an accelerator.",
            slug="missing-cuda",
            got=f"torch {torch.__version__}, which sees no CUDA device",
            expected="one CUDA device with 80 GB or more",
            fix="Run it where there is one; --tiny runs toy shapes on the CPU.",
        )


def unpacked(wheels: Path | None, folder: Path) -> list[str]:
    """Where the peers' libraries are once their wheels are unpacked: folders of the search path.

    Raises:
        RunError: ``benchmark-wheels`` where the folder holds none.
    """
    if wheels is None:
        return []
    found = sorted(wheels.glob("*.whl"))
    if not found:
        raise RunError(
            "There are no wheels of the peers.",
            slug="benchmark-wheels",
            got=str(wheels),
            expected="files *.whl",
            fix="See the docstring of benchmarks/gpu.py for how to gather them.",
        )
    for path in found:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    return [str(folder)]


def environment(places: Sequence[str], folder: Path, *, on_cpu: bool) -> dict[str, str]:
    """Variables of the processes: regimen from its source, what was unpacked, kept kernels."""
    path = [*places, str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(part for part in path if part),
        "CUDA_VISIBLE_DEVICES": "" if on_cpu else os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
        # kernels of one process serve the next: what is compiled is no part of a timed step
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
    }


def runner(folder: Path, variables: Mapping[str, str]) -> Callable[[Job, float], Raw]:
    """What runs a job within some seconds; the rows of a cell are written once."""
    written: dict[str, Path] = {}

    def carry_out(job: Job, limit: float) -> Raw:
        place = written.get(job.cell.name)
        if place is None:
            place = written[job.cell.name] = folder / job.cell.name
            place.mkdir()
            write_cell(place, job.cell)
        command = [sys.executable, str(HERE / job.side.script)]
        began = time.monotonic()
        done = run(command, place, job.side.settings, variables, warm=job.cell.warm, limit=limit)
        took = time.monotonic() - began
        if isinstance(done, Failure):
            console.line(f"  {job.key}: {done.reason} ({took:.0f} s)")
            return {"failed": done.reason}
        console.line(f"  {job.key}: {done.tokens_per_second:,.0f} tokens/s ({took:.0f} s)")
        return {**done.raw, "seconds": took}

    return carry_out


def measure(options: argparse.Namespace) -> Any:
    """Run what has no result while time is left; the result of all that is there.

    Raises:
        RegimenError: no device, an unknown cell, no wheels.
    """
    ends = time.monotonic() + 60 * options.minutes - MARGIN
    cells = chosen(options.cell or (["head"] if options.quick else None))
    if options.tiny:
        cells = [tiny(cell) for cell in cells]
    elif not options.merge:
        require_device()
    jobs, found = jobs_of(cells), read_state(options.state)
    if options.again:
        found = forget_failures(options.state, found, [job.key for job in jobs])
    where = machine()
    if not options.merge:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            places = unpacked(options.wheels, folder / "peers")
            variables = environment(places, folder, on_cpu=options.tiny)
            found = carry_on(
                jobs,
                found,
                options.state,
                runner(folder, variables),
                lambda: ends - time.monotonic(),
            )
    return written(options, found, where)


def written(options: argparse.Namespace, found: Found, where: Mapping[str, Any]) -> Any:
    """The result of everything in the state, which is kept beside the processes' own.

    Raises:
        RunError: ``benchmark-nothing`` where nothing was measured.
    """
    cells = [tiny(cell) if options.tiny else cell for cell in chosen(None)]
    missing = [job.key for job in jobs_of(cells) if job.key not in found]
    if not found:
        raise RunError(
            "Nothing has been measured.",
            slug="benchmark-nothing",
            got=f"no result in {options.state}",
            fix="Run it without --merge, or with more --minutes.",
        )
    before = read_state_machine(options.state) if options.merge else None
    result = merged(cells, found, before or where) | {"quick": options.quick, "missing": missing}
    commit(options.state / WHOLE, result)
    return result


def read_state_machine(folder: Path) -> Mapping[str, Any] | None:
    """The machine that a state was measured on, as its ``gpu.json`` has it."""
    path = folder / WHOLE
    return json.loads(path.read_text()).get("machine") if path.is_file() else None


def show(result: Mapping[str, Any]) -> None:
    """Print lines, ratios and targets as tables."""
    body = [
        (
            row["work"],
            row["configuration"],
            row.get("failed") or f"{row['tokens_per_second']['median']:,.0f}",
            "" if "failed" in row else f"{row['memory_gib']['median']:.2f}",
            "" if "failed" in row else f"{row['beyond_gib']:.2f}",
        )
        for row in result["rows"]
    ]
    console.table(NAME, ("cell", "side", "tokens/s", "GiB", "beyond"), body)
    kept = result["targets"]
    body = [(n, f"{v:,.2f}", _wanted(kept.get(n))) for n, v in result["ratios"].items()]
    console.table("", ("ratio", "value", "to reach"), body)
    if result["missing"]:
        console.line(f"{len(result['missing'])} processes to go: {', '.join(result['missing'])}")


def _wanted(target: Mapping[str, Any] | None) -> str:
    if target is None:
        return ""
    verdict = "reached" if target["reached"] else "missed"
    return f"at {target['at']} {target['bound']:,g}: {verdict}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = arguments(argv)
    try:
        result = measure(options)
    except RegimenError as problem:
        console.error(problem)
        return problem.exit_status
    show(result)
    if options.merge:
        from render import write_page

        commit(HERE / "results" / f"{NAME}.json", without_processes(result))
        write_page()
    if options.json:
        console.result(without_processes(result))
    return 0


def without_processes(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result as it is committed."""
    return {name: value for name, value in result.items() if name != "processes"}


if __name__ == "__main__":
    sys.exit(main())
