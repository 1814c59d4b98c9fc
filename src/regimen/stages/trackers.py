"""TensorBoard, Weights & Biases, MLflow and Trackio, behind one small protocol.

``TRACKERS`` is the visible table. A library is imported when its tracker is opened, never before.
Addresses, keys and offline modes are each library's own environment variables (``WANDB_MODE``,
``MLFLOW_TRACKING_URI``, ``TRACKIO_SPACE_ID`` and so on).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from regimen.runs import TENSORBOARD

Status = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a tracker is told of a training.

    Args:
        directory: of the stage.
        name: of the run.
        project: as the settings say; empty for the environment's or ours.
        settings: the stage's settings, JSON-compatible; logged once, for a new run.
        id: what an earlier process of this training was given; empty for a new run.
        step: optimizer steps that are done.
    """

    directory: Path
    name: str
    project: str
    settings: Mapping[str, Any]
    id: str = ""
    step: int = 0


class Tracker(Protocol):
    """Where the lines of a training go. Any of the methods may raise anything."""

    rewinds: bool
    """Whether lines of steps that an earlier process already logged are wanted again."""

    @property
    def id(self) -> str:
        """What names the run, for a process that goes on with it."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Show the values of a step."""

    def close(self, status: Status) -> None:
        """The training is over, for this process."""


class TensorBoard:
    """Event files in ``tensorboard/<name>`` of the stage; there are no projects."""

    rewinds = True  # its reader drops everything from ``purge_step`` on that came before

    def __init__(self, opening: Opening) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.id = opening.id or re.sub(r"[^\w.-]", "_", opening.name)
        folder = opening.directory / TENSORBOARD / self.id
        again = opening.step + 1 if opening.id else None
        self._writer: Any = SummaryWriter(str(folder), purge_step=again)
        if not opening.id:
            text = json.dumps(opening.settings, indent=1, ensure_ascii=False)
            # Markdown shows an indented block as it is
            self._writer.add_text("settings", "    " + text.replace("\n", "\n    "))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """A scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, status: Status) -> None:
        """Flush and close the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; ``WANDB_MODE=offline`` keeps it on this machine."""

    rewinds = False

    def __init__(self, opening: Opening) -> None:
        import wandb

        self._run: Any = wandb.init(
            project=opening.project or os.environ.get("WANDB_PROJECT") or "regimen",
            name=opening.name,
            id=opening.id or None,
            resume="allow" if opening.id else None,
            config=None if opening.id else dict(opening.settings),
        )
        # any metric can be the x axis of a panel; tokens are offered as one
        self._run.define_metric("num_tokens")

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self._run.id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One row of the history."""
        self._run.log(dict(values), step=step)

    def close(self, status: Status) -> None:
        """Upload what is left."""
        self._run.finish(exit_code=0 if status == "finished" else 1)


class Mlflow:
    """A run of MLflow, at the place that ``MLFLOW_TRACKING_URI`` names."""

    rewinds = False
    STATUS: Mapping[Status, str] = {
        "finished": "FINISHED",
        "interrupted": "KILLED",
        "failed": "FAILED",
    }

    def __init__(self, opening: Opening) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        name = opening.project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "regimen"
        if not os.environ.get("MLFLOW_RUN_ID"):  # a launcher has made the run, and its experiment
            mlflow.set_experiment(name)
        run: Any = mlflow.start_run(
            run_id=opening.id or None,
            run_name=opening.name,
            nested=mlflow.active_run() is not None,
        )
        self.id = str(run.info.run_id)
        if not opening.id:
            parameters = list(flat(opening.settings))
            for start in range(0, len(parameters), 100):  # as many as one request may hold
                mlflow.log_params(dict(parameters[start : start + 100]))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One request."""
        self._mlflow.log_metrics(dict(values), step=step, run_id=self.id)

    def close(self, status: Status) -> None:
        """End the run; it can be gone on with."""
        self._mlflow.end_run(self.STATUS[status])


class Trackio:
    """A run of Trackio, in its folder on this machine or in a Space."""

    rewinds = False

    def __init__(self, opening: Opening) -> None:
        import trackio

        self.id = opening.id or opening.name
        self._run: Any = trackio.init(
            project=opening.project or os.environ.get("TRACKIO_PROJECT") or "regimen",
            name=self.id,
            config=dict(flat(opening.settings)),
            resume="must" if opening.id else "never",
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One row."""
        self._run.log(dict(values), step=step)

    def close(self, status: Status) -> None:
        """Write what is left."""
        self._run.finish()


TRACKERS: dict[str, Callable[[Opening], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": Mlflow,
    "trackio": Trackio,
}


def flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Settings as ``model.path``: value, for trackers that know no sections."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
