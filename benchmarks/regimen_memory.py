"""regimen's side of memory.py: one training of the rows in one process, by ordinary settings.

python benchmarks/regimen_memory.py WORK OUT '{"quantise": "nf4", "adapter": {...}, ...}'

Beside the settings of `tune`: ``rows_per_step`` and ``steps``. Micro-batches hold the longest row.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it

from measure import Recorder
from regimen.adapters.spec import upkeep_of
from regimen.models.hardware import set_up
from regimen.objectives.supervised import Supervised
from regimen.settings.tune import TuneSettings
from regimen.stages.training import loop_options, prepare_model
from regimen.stages.training_run import Job, new_optimizer
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.loop import Hooks, train
from regimen.training.options import State
from work import read


def main(work: Path, out: Path, settings: dict[str, Any]) -> None:
    """Train and write what was measured."""
    from importlib.util import find_spec

    if settings.get("adapter"):
        import peft  # noqa: F401
    if settings.get("quantise") and find_spec("bitsandbytes"):
        import bitsandbytes  # noqa: F401
    recorder = Recorder()
    hardware = set_up()
    steps = settings.pop("steps")
    # the rows are ids already, and micro-batches follow one another in their order
    settings.pop("rows_per_step", None)
    settings["model"] = {
        "path": str(work / "model"),
        "tokenizer": str(work / "tokenizer"),
        **settings.get("model", {}),
    }
    section = TuneSettings.model_validate(settings)
    rows = read(work)
    rendered = [
        Rendered(
            tuple(rows.ids[a:b].tolist()),
            tuple(float(place >= prompt) for place in range(b - a)),
        )
        for (a, b), prompt in zip(pairwise(rows.starts.tolist()), rows.prompts, strict=True)
    ]
    prepared = prepare_model(section.model, section, seed=0, chat=False)
    made = token_rows(rendered)
    objective = Supervised()
    job = Job(prepared=prepared, rows=made, objective=objective, training=section, seed=0)
    optimizer = new_optimizer(job)
    options = replace(loop_options(section, 0), num_train_epochs=None, max_steps=steps, log_every=1)
    begun = State()

    def progress(state: State, losses: Any) -> None:
        nonlocal begun
        tokens, supervised = state.tokens - begun.tokens, state.supervised - begun.supervised
        recorder.step(tokens, supervised, losses["loss"])
        begun = replace(state)

    recorder.begin()
    train(
        prepared.language_model,
        made,
        objective,
        optimizer,
        options,
        Hooks(progress=progress),
        upkeep=upkeep_of(prepared.model, steps),
    )
    recorder.write(
        out,
        versions={name: version(name) for name in ("torch", "transformers", "peft")},
        threads=hardware.threads,
        bf16=options.bf16,
        trained=sum(p.numel() for p in prepared.model.parameters() if p.requires_grad),
        notes=list(prepared.notes),
        rows=rows.digest(),
        torch_threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
