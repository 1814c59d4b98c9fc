"""The works of train.py: what is done, how much of it, and who is asked to do it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pairs import draw_pairs
from work import LORA, MODEL, MODEL_135M, Rows, draw_rows


@dataclass(frozen=True, slots=True)
class Size:
    """How much is run; a step of `eval_loss` is one pass over its rows.

    Args:
        steps, peer_steps: of a run in turns, on regimen's side and on the peer's.
        screening_steps: of an entry's first run; after the first step, which is not counted.
        defaults_steps: of the peer's defaults.
        warm: first steps of a run in turns that are not counted.
        repeats: turns.
        defaults_repeats: turns in which the defaults are run too.
        finalists: entries that are run again in turns.
        limit: seconds for one process of the screening; three times that for what is quoted.
    """

    steps: int
    peer_steps: int
    screening_steps: int
    defaults_steps: int
    warm: int
    repeats: int
    defaults_repeats: int
    finalists: int
    limit: float

    @property
    def most_steps(self) -> int:
        """Of any run: how many steps of rows there must be."""
        return max(self.steps, self.peer_steps, self.screening_steps, self.defaults_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One work. ``lora`` are the adapter's settings; None trains all weights.

    ``minutes`` says how long a full run takes on two cores of about 150 GFLOP/s each. ``aligns``
    names the method of a work that learns from pairs; then rows of a step are pairs, and
    ``prompt_share`` of the tokens are those of prompts, which count once for each answer.
    """

    name: str
    minutes: int
    full: Size
    quick: Size
    regimen: Mapping[str, Any]
    peers: tuple[str, ...] = ("trl",)
    model: Mapping[str, Any] = field(default_factory=lambda: MODEL)
    rows_per_step: int = 32
    learning_rate: float = 1e-3
    lora: Mapping[str, Any] | None = None
    evaluates: bool = False
    aligns: str = ""
    prompt_share: float | None = None

    @property
    def script(self) -> str:
        """regimen's side."""
        if self.aligns:
            return "regimen_align.py"
        return "regimen_eval.py" if self.evaluates else "regimen_sft.py"

    @property
    def facts(self) -> dict[str, Any]:
        """What a side must know beside the files."""
        return {
            "name": self.name,
            "rows_per_step": self.rows_per_step,
            "learning_rate": self.learning_rate,
            "lora": None if self.lora is None else dict(self.lora),
            **({"aligns": self.aligns} if self.aligns else {}),
        }

    def rows(self, size: Size) -> int:
        """How many rows there are."""
        return self.rows_per_step * (1 if self.evaluates else size.most_steps)

    def draw(self, size: Size) -> Rows:
        """The rows; two of a pair stand behind one another."""
        vocabulary = int(self.model["vocab_size"])
        if self.aligns:
            return draw_pairs(self.rows(size), share=self.prompt_share, vocabulary=vocabulary)
        return draw_rows(self.rows(size), vocabulary=vocabulary)

    def told(self) -> dict[str, Any]:
        """The work itself, for the result."""
        return self.facts | {
            "model": dict(self.model),
            "regimen": dict(self.regimen),
            "evaluates": self.evaluates,
            **({"prompt_share": self.prompt_share} if self.aligns else {}),
        }


_SMALL = Size(8, 5, 3, 5, 2, 3, 2, 2, 240.0)
_QUICK = Size(3, 3, 3, 3, 1, 1, 1, 1, 60.0)

WORKS: dict[str, Work] = {
    work.name: work
    for work in (
        Work(
            name="sft_full",
            minutes=15,
            full=_SMALL,
            quick=_QUICK,
            regimen={"batches_per_step": 2},
            peers=("trl", "litgpt", "llamafactory"),
        ),
        Work(
            name="sft_lora",
            minutes=15,
            full=_SMALL,
            quick=_QUICK,
            regimen={"batches_per_step": 4},
            peers=("trl", "litgpt", "llamafactory"),
            lora=LORA,
        ),
        Work(
            name="sft_full_135m",
            minutes=12,
            full=Size(4, 3, 2, 3, 1, 2, 2, 2, 300.0),
            quick=Size(2, 2, 2, 2, 1, 1, 1, 1, 80.0),
            regimen={"batches_per_step": 4},
            model=MODEL_135M,
            rows_per_step=16,
            learning_rate=3e-4,
        ),
        Work(
            name="eval_loss",
            minutes=15,
            full=Size(6, 3, 3, 2, 1, 3, 2, 2, 180.0),
            quick=Size(2, 2, 2, 2, 1, 1, 1, 1, 60.0),
            regimen={"tokens_per_batch": 2048},
            rows_per_step=128,
            evaluates=True,
        ),
    )
}


def changed(size: Size, **what: Any) -> Size:
    """A size with some fields set."""
    return Size(**(asdict(size) | what))
