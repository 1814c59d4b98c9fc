"""What generate.py and evaluate.py share: regimen beside the grid of a peer, at equal answers."""

from __future__ import annotations

import operator
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import Result, beside_peers, carry_out, parser
from processes import HERE, Failure, Run, run, spread
from regimen import console
from regimen.errors import RunError
from render import write_page
from turns import speed

BLOCKS_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
OURS: Mapping[str, dict[str, Any]] = {"as shipped": {}, "fp32": {"fp32": True}}
"""regimen's entries. The second shows that both sides compute the same, and is timed once."""
ALIKE = 0.9
"""Share of equal answers that fp32 runs must reach: near-ties may fall either way."""

Runs = Mapping[str, Sequence[Run]]
"""The runs of each of the peer's entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Two scripts that do the same work.

    Args:
        script: regimen's.
        peer_script: the peer's, in ``peers``.
        grid: settings and environment of each of the peer's entries.
        limit: seconds that a process may take.
        unit: what is counted in a second.
        digits: behind the point of a speed that is shown.
        answers: what both scripts tell of each of ``asked``.
        asked: what is answered, in words.
        same: whether two answers are.
    """

    script: str
    peer_script: str
    grid: Mapping[str, tuple[dict[str, Any], dict[str, str]]]
    limit: float
    unit: str
    digits: int
    answers: str
    asked: str
    same: Callable[[Any, Any], bool] = operator.eq

    def ours(self, work: Path, entry: str, rounds: int) -> Run:
        """One process of regimen.

        Raises:
            RunError: it failed.
        """
        command = [sys.executable, str(HERE / self.script)]
        return self._one(command, work, f"regimen, {entry}", {**OURS[entry], "rounds": rounds}, {})

    def theirs(self, peer: Path, work: Path, entry: str) -> Run:
        """One process of the peer, of two rounds.

        Raises:
            RunError: it failed.
        """
        settings, environment = self.grid[entry]
        command = [str(peer), str(HERE / "peers" / self.peer_script)]
        return self._one(command, work, entry, {**settings, "rounds": 2}, environment)

    def _one(
        self,
        command: Sequence[str],
        work: Path,
        name: str,
        settings: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> Run:
        done = run(command, work, settings, environment, warm=1, limit=self.limit)
        if isinstance(done, Failure):
            raise RunError(f"{name} failed.", slug="benchmark-failed", got=done.reason)
        console.line(f"  {name}: {done.tokens_per_second:,.{self.digits}f} {self.unit}/s")
        return done

    def tried(
        self, peer: Path, work: Path, entries: Iterable[str]
    ) -> tuple[dict[str, list[Run]], dict[str, str]]:
        """A run of each of the peer's entries, and why others failed."""
        runs: dict[str, list[Run]] = {}
        failures: dict[str, str] = {}
        for entry in entries:
            try:
                runs[entry] = [self.theirs(peer, work, entry)]
            except RunError as problem:
                failures[entry] = str(problem.got)
        return runs, failures

    def alike(self, shipped: Run, exact: Run, theirs: Runs, where: str = "") -> dict[str, float]:
        """Share of equal answers of each of the peer's entries, compared in the same arithmetic.

        Args:
            shipped: of regimen, which entries in bf16 are compared with.
            exact: of regimen in fp32.
            theirs: runs of the peer.
            where: words before an entry's name.

        Raises:
            RunError: an entry in fp32 answers otherwise; then no ratio means anything.
        """
        found = {
            entry: self._equal(shipped if "bf16" in entry else exact, runs[0])
            for entry, runs in theirs.items()
        }
        for entry, share in found.items():
            if "bf16" not in entry and share < ALIKE:
                raise RunError(
                    f"The two sides do not give the same {self.answers}.",
                    slug="benchmark-unequal",
                    got=f"{where}{entry}: {share:.0%} of the {self.asked} alike",
                )
        return found

    def _equal(self, ours: Run, theirs: Run) -> float:
        pairs = zip(ours.raw[self.answers], theirs.raw[self.answers], strict=True)
        return statistics.mean(self.same(a, b) for a, b in pairs)

    def rows(
        self,
        work: str,
        ours: Sequence[Run],
        exact: Run,
        theirs: Runs,
        shares: Mapping[str, float],
        failures: Mapping[str, str],
    ) -> list[dict[str, Any]]:
        """regimen's lines, the peer's from fast to slow, and what did not run."""
        peer = "transformers"
        return [
            self._row(work, "regimen", "as shipped", (OURS["as shipped"], {}), ours, None),
            self._row(work, "regimen", "fp32", (OURS["fp32"], {}), [exact], None),
            *(
                self._row(work, peer, entry, self.grid[entry], runs, shares[entry])
                for entry, runs in sorted(theirs.items(), key=lambda pair: -speed(pair[1]))
            ),
            *(
                {"work": work, "side": peer, "configuration": entry, "failed": reason}
                for entry, reason in failures.items()
            ),
        ]

    def _row(
        self,
        work: str,
        side: str,
        configuration: str,
        entry: tuple[dict[str, Any], dict[str, str]],
        runs: Sequence[Run],
        share: float | None,
    ) -> dict[str, Any]:
        return {
            "work": work,
            "side": side,
            "configuration": configuration,
            "settings": entry[0],
            "environment": entry[1],
            "runs": len(runs),
            f"{self.unit}_per_second": spread([r.tokens_per_second for r in runs]),
            "memory_mib": spread([r.grown_bytes / 2**20 for r in runs]),
            f"same_{self.answers}": share,
        }


def best_of(runs: Runs, plain: str) -> str:
    """The fastest of the peer's entries but its plain one."""
    return max((entry for entry in runs if entry != plain), key=lambda entry: speed(runs[entry]))


def carry_out_beside(
    argv: Sequence[str] | None,
    bench: Callable[..., Result],
    show: Callable[[Mapping[str, Any]], None],
) -> int:
    """The command of both; the exit status."""
    made = parser(
        "Speed and memory against the peers.",
        quick="one configuration, under 3 minutes",
        peer="has `transformers`",
    )
    made.add_argument("--repeats", type=int, help="runs of each quoted configuration")
    options = made.parse_args(argv)

    def measured(peer: Path, folder: Path) -> Result:
        return bench(peer, folder, quick=options.quick, repeats=options.repeats or 3)

    return carry_out(
        options,
        lambda: beside_peers(options.peer_python, measured),
        show,
        lambda _: write_page(),
    )
