"""Runs one side in a process of its own and reads back what it measured."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process: its raw measurements, and the steps left out at the start."""

    raw: Mapping[str, Any]
    warm: int

    @property
    def step_tokens_per_second(self) -> float:
        """Tokens without padding over seconds, after the first ``warm`` steps."""
        steps = self.raw["steps"]
        seconds = steps[-1]["ended"] - steps[self.warm - 1]["ended"]
        return float(sum(step["tokens"] for step in steps[self.warm :]) / seconds)

    @property
    def reference_tokens_per_second(self) -> float | None:
        """Of the frozen reference, where it is computed before the first step."""
        told = self.raw.get("reference")
        return None if told is None else float(told["tokens"] / told["seconds"])

    @property
    def tokens_per_second(self) -> float:
        """Of a pass over the rows: each token's share of a step, and of the reference before it."""
        before = self.reference_tokens_per_second
        each = 1 / self.step_tokens_per_second + (0.0 if before is None else 1 / before)
        return 1 / each

    @property
    def grown_bytes(self) -> int:
        """Peak resident memory minus what was resident after the imports."""
        return int(self.raw["peak"] - self.raw["imported"])

    @property
    def losses(self) -> list[float]:
        """The loss of each step."""
        return [step["loss"] for step in self.raw["steps"]]

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Tokens and supervised tokens of each step."""
        return [(step["tokens"], step["supervised"]) for step in self.raw["steps"]]

    @property
    def cut(self) -> bool:
        """Whether the run was left early because it was far behind the best."""
        return bool(self.raw.get("cut"))

    @property
    def utilisation(self) -> float | None:
        """Counted matrix arithmetic over time, as a share of the rate of the products alone.

        None where the side did not measure that rate.
        """
        if "flop" not in self.raw:
            return None
        steps = self.raw["steps"]
        seconds = steps[-1]["ended"] - steps[self.warm - 1]["ended"]
        return float(sum(self.raw["flop"][self.warm :]) / seconds / self.raw["flop_per_second"])


@dataclass(frozen=True, slots=True)
class Failure:
    """A process that gave no result: the last line it wrote, or that it took too long."""

    reason: str


def run(
    command: Sequence[str],
    work: Path,
    settings: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    warm: int,
    limit: float,
) -> Run | Failure:
    """Run ``command WORK OUT SETTINGS``; ``limit`` in seconds.

    CPU only, no network, and no compiled code of an earlier run.
    """
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out.json"
        variables = os.environ | {
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(Path(directory) / "datasets"),
            "TORCHINDUCTOR_CACHE_DIR": str(Path(directory) / "inductor"),
            "TOKENIZERS_PARALLELISM": "false",
            **environment,
        }
        try:
            done = subprocess.run(
                [*command, str(work), str(out), json.dumps(dict(settings))],
                env=variables,
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Failure(f"took more than {limit:.0f} s")
        if done.returncode or not out.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
            return Failure(f"exit status {done.returncode}: {lines[-1].strip()[:200]}")
        return Run(json.loads(out.read_text()), warm)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of some runs."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def loss_difference(ours: Run, theirs: Run) -> float:
    """The largest relative difference of the losses of the steps that both have."""
    pairs = zip(ours.losses, theirs.losses, strict=False)
    return max(abs(a - b) / abs(a) for a, b in pairs)
