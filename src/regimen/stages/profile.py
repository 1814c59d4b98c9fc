"""``--profile``: where the time and the memory of a training go, measured, told and left.

What a stage would train is made as always, in a folder that is removed afterwards. The measurements
are written to ``profile.json`` in the stage's directory; a result that is there stays what it is,
and where there is none, none is left.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regimen import console
from regimen.files import atomic_write, files_below, json_text
from regimen.models.hardware import Hardware, set_up
from regimen.runs import PROFILE, Run
from regimen.stages.common import StageResult
from regimen.stages.tracking import Tracking
from regimen.stages.training import loop_options
from regimen.stages.training_run import Job, Writer, new_optimizer
from regimen.training.checkpoints import save_checkpoint
from regimen.training.options import State
from regimen.training.profiling.profile import profile
from regimen.training.profiling.results import Memory, Profile

MIB = 2**20
BUSY = 0.9
"""Processor seconds in a second of steps below which the measurement was disturbed."""


def profile_stage(stage: str, root: Path, job: Callable[[Run], Job]) -> StageResult:
    """Measure what a stage would train.

    Args:
        stage: ``tune`` or ``align``.
        root: the pipeline's run directory; ``root/<stage>/profile.json`` is written.
        job: makes what is trained, with a run to write into.

    Raises:
        TrainingError: there is nothing to train, a loss is not finite, or the model is not on a
            CPU.
    """
    hardware = set_up()
    with _scratch(stage, root) as run:
        made = job(run)
        console.line(f"{stage}: some steps are measured; nothing is trained")
        optimizer, options = new_optimizer(made), loop_options(made.training, made.seed)
        with console.progress(None, f"{stage}: profile", "steps") as bar:
            writer = Writer(run, made, optimizer, options, bar, Tracking(stage))
            found = profile(
                made.prepared.language_model,
                made.rows,
                made.objective,
                optimizer,
                options,
                writer.hooks(),
            )
        saved = _checkpoint(run, made, writer)
    told = {**as_json(found), "checkpoint": saved, "hardware": hardware}
    told["settings"] = made.training.model_dump(mode="json")
    show(stage, found, saved, hardware)
    directory = root / stage
    atomic_write(directory / PROFILE, json_text(told))
    console.line(f"{stage}: {directory / PROFILE}")
    return StageResult(stage, directory, False, told)


@contextmanager
def _scratch(stage: str, root: Path) -> Iterator[Run]:
    """A run in a folder of its own below ``root``, which is removed in the end."""
    folder = root / f".{stage}-profile"
    run = Run.start(folder, stage=stage, key={"profile": stage})
    try:
        yield run
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checkpoint(run: Run, job: Job, writer: Writer) -> dict[str, Any]:
    """Seconds and bytes of one checkpoint, and how often the settings want one."""
    began = time.perf_counter()
    prepared = job.prepared
    folder = save_checkpoint(
        run.directory, prepared.model, prepared.tokenizer, writer.optimizer, State(step=1)
    )
    seconds = time.perf_counter() - began
    size = sum((folder / name).stat().st_size for name in files_below(folder))
    return {"seconds": seconds, "bytes": size, "every_steps": job.training.save_steps}


def as_json(found: Profile) -> dict[str, Any]:
    """The measurements for ``profile.json``: seconds, bytes, FLOP and tokens, each of a step."""
    plain = {
        name: getattr(found, name)
        for name in Profile.__dataclass_fields__
        if name not in ("parts", "flop")
    }
    parts: dict[str, dict[str, float]] = {}
    for (part, way), seconds in found.parts.items():
        parts.setdefault(part, {})[way] = seconds
    return {
        **plain,
        "parts": parts,
        "flop": {
            part: {"forward": f.forward, "backward": f.backward} for part, f in found.flop.items()
        },
    }


def show(stage: str, found: Profile, saved: dict[str, Any], hardware: Hardware) -> None:
    """Print the measurements."""
    title = f"{stage}: time of a step (mean of {found.profiled_steps} under the profiler)"
    columns = ("part", "ms", "share", "forward ms", "backward ms", "GFLOP", "GFLOP/s")
    console.table(title, columns, time_rows(found))
    console.line()
    kinds = ("memory", "MiB", "how it is known")
    console.table(f"{stage}: memory of a step", kinds, memory_rows(found.memory))
    console.line()
    for text in sentences(found, saved, hardware):
        console.line(text)


def time_rows(found: Profile) -> list[list[Any]]:
    """One row for each part, the largest first, the rest and the sum last."""
    names = {part for part, _ in found.parts}
    whole = found.profiled_seconds
    rows = []
    for part in sorted(names, key=lambda part: -_seconds(found, part)):
        seconds = _seconds(found, part)
        forward = found.parts.get((part, "forward"))
        # what is computed again is part of the backward pass
        ways = [
            found.parts[part, way] for way in ("backward", "again") if (part, way) in found.parts
        ]
        flop = found.flop[part].total if part in found.flop else None
        rows.append(
            [
                part,
                round(seconds * 1e3, 2),
                f"{seconds / whole:.1%}",
                None if forward is None else round(forward * 1e3, 2),
                round(sum(ways) * 1e3, 2) if ways else None,
                None if flop is None else round(flop / 1e9, 3),
                None if flop is None else round(flop / seconds / 1e9, 1),
            ]
        )
    between = [round(found.between * 1e3, 2), f"{found.between / whole:.1%}"]
    rows.append(["between the parts", *between, None, None, None, None])
    flop = sum(f.total for f in found.flop.values())
    total = [round(whole * 1e3, 2), "100.0%", None, None, round(flop / 1e9, 3)]
    return [*rows, ["step", *total, round(flop / whole / 1e9, 1)]]


def _seconds(found: Profile, part: str) -> float:
    return sum(seconds for (name, _), seconds in found.parts.items() if name == part)


def memory_rows(memory: Memory) -> list[list[Any]]:
    """One row for each component, with the sum and the measured peak."""
    since = "" if memory.is_of_steps else ", since the process began"
    rows = [
        ("weights", memory.weights, "size of the tensors"),
        ("gradients", memory.gradients, "size of the tensors"),
        ("optimizer states", memory.optimizer, "size of the tensors"),
        ("activations", memory.activations, "allocated by the forward pass for the backward pass"),
        ("head", memory.head, "blocks that it keeps, and the most that it allocates"),
        ("temporary", memory.temporary, "highest allocation less these; below 0: not all at once"),
        ("= allocated at most", memory.allocated, "sum of the above"),
        ("Python, libraries, data", memory.before, "resident before the first step, less weights"),
        ("allocator slack", memory.slack, "resident peak less the above: free blocks, kernels"),
        ("= resident peak", memory.peak, f"measured over the plain steps{since}"),
    ]
    return [[name, round(size / MIB, 1), how] for name, size, how in rows]


def sentences(found: Profile, saved: dict[str, Any], hardware: Hardware) -> Iterator[str]:
    """What the tables do not hold."""
    speed, learned = found.tokens / found.seconds, found.supervised / found.seconds
    yield (
        f"speed: {speed:,.0f} tokens/s, {learned:,.0f} of them supervised; steps of "
        f"{found.tokens:,.0f} tokens, {found.seconds * 1e3:,.1f} ms ({found.steps} plain steps)"
    )
    rates = ", ".join(
        f"{rate.flop_per_second / 1e9:,.1f} in {name}" for name, rate in found.rates.items()
    )
    yield f"arithmetic: {found.flop_per_second / 1e9:,.1f} GFLOP/s"
    yield f"its matrix products alone, at their shapes: {rates} (GFLOP/s)"
    yield f"utilisation: {found.utilisation:.1%} of the rate in {found.dtype}"
    faults = "page faults are not counted here"
    if found.faults is not None:
        faults = f"{found.faults:,.1f} page faults a step"
    yield f"allocator: {faults}, {found.system_share:.1%} of processor time in the system"
    yield f"allocator: {hardware.allocator}"
    yield f"kernels: {hardware.kernels}"
    every = saved["every_steps"]
    often = "the settings want none before the end"
    if every:
        share = saved["seconds"] / (saved["seconds"] + every * found.seconds)
        often = f"one in {every:,} steps is {share:.1%} of the time"
    size = saved["bytes"] / MIB
    yield f"checkpoint: {saved['seconds']:.2f} s, {size:,.1f} MiB; {often}"
    more = "more" if found.overhead >= 0 else "less (noise)"
    yield f"profiler: {abs(found.overhead):.1%} {more} processor time a token in the first table"
    if found.processor < BUSY:
        yield (
            f"other work had the processors: this process ran for {found.processor:.0%} of the "
            "time; repeat it alone"
        )
    yield "head: where the loss is a plain sum, its gradients are formed in the forward pass"
