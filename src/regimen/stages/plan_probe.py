"""Measurements for a plan, in a process of their own: ``python -m ... JOB.json RESULT.json``.

``parts``: models of few layers, one arrangement after another, until one is expected to fit.
``whole``: the training itself, for some steps on the largest micro-batch that there can be.
"""

from __future__ import annotations

import gc
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from regimen.adapters.files import base_path, is_adapter
from regimen.adapters.spec import see_rows, upkeep_of
from regimen.errors import RegimenError
from regimen.files import atomic_write, json_text
from regimen.models.hardware import set_up, trim, tune_allocator
from regimen.models.loading import ModelSpec, load_model, load_tokenizer
from regimen.models.native import pool
from regimen.planning.fit import Parts, between, extended
from regimen.settings.optimizers import FUSED
from regimen.settings.training import ModelSettings
from regimen.settings.tune import TuneSettings
from regimen.stages.training import loop_options, prepare_model
from regimen.stages.training_run import Job, new_optimizer
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import TokenRows, token_rows
from regimen.training.data import Data
from regimen.training.loop import train
from regimen.training.options import LoopOptions, State
from regimen.training.profiling import memory
from regimen.training.profiling.profile import memory_profiler
from regimen.training.state_memory import state_memory

LAYERS = (2, 4)
"""Of the two short models."""

STEPS = 3
"""Of a whole measurement: the optimizer's state is there from the second on."""


def main(argv: Sequence[str] | None = None) -> int:
    """Read a job, write what was measured or what went wrong."""
    job_file, result_file = (Path(name) for name in (argv or sys.argv[1:]))
    job = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        found = WAYS[job["way"]](job)
    except RegimenError as error:
        found = {"error": str(error)}
    atomic_write(result_file, json_text(found))
    return 0


def worst_rows(length: int, tokens: int, vocabulary: int) -> TokenRows:
    """A micro-batch as large as it can be: rows of the greatest length, every token supervised."""
    draw = torch.Generator().manual_seed(0)
    lengths = [length] * (tokens // length)
    if rest := tokens - sum(lengths):
        lengths.append(rest)
    ids = [tuple(torch.randint(vocabulary, (n,), generator=draw).tolist()) for n in lengths]
    return token_rows([Rendered(row, (0.0,) + (1.0,) * (len(row) - 1)) for row in ids])


def whole(job: Mapping[str, Any]) -> dict[str, Any]:
    """The resident peak of a process that loads the model and trains some steps, and their time."""
    hardware = set_up()
    section = TuneSettings.model_validate(job["section"])
    _imports(section)
    libraries = memory.resident()
    made, options, optimizer = _training(section, section.model)
    upkeep = upkeep_of(made.prepared.model, STEPS)
    model, seconds = made.prepared.language_model, []
    state = State()
    for step in range(1, STEPS + 1):
        began = time.perf_counter()
        limited = replace(options, max_steps=step)
        state = train(
            model, made.rows, made.objective, optimizer, limited, state=state, upkeep=upkeep
        )
        seconds.append(time.perf_counter() - began)
    kept = state_memory(made.prepared.model, optimizer)
    return {
        "peak": memory.resident_peak(),
        "libraries": libraries,
        "weights": kept.weights,
        "trained": kept.trained,
        "optimizer": kept.optimizer,
        "tokens_per_second": state.tokens / STEPS / min(seconds[1:]),
        "bf16": hardware.bf16,
    }


def parts(job: Mapping[str, Any]) -> dict[str, Any]:
    """What each arrangement is expected to take, until one takes no more than the budget."""
    set_up()
    sections = [TuneSettings.model_validate(one) for one in job["sections"]]
    _imports(sections[0])
    libraries = memory.resident()
    sizes: dict[str, set[int]] = {}
    for section in sections:
        sizes.setdefault(_apart_from_tokens(section), set()).add(section.tokens_per_batch)
    found: list[dict[str, Any]] = []
    apart: dict[bool, float] = {}
    with _short_models(sections[0].model) as (folders, layers):
        memory.reset_peak()

        @cache
        def measured(text: str, tokens: int) -> tuple[dict[str, float], ...]:
            section = TuneSettings.model_validate(json.loads(text) | {"tokens_per_batch": tokens})
            found = tuple(_measured(section, folder, libraries, apart) for folder in folders)
            gc.collect()  # the models hold each other in cycles
            return found

        def expected_of(section: TuneSettings, tokens: int) -> Parts:
            if (returns := section.returns_blocks) not in apart:
                _measured(section, folders[0], libraries, apart)
                gc.collect()
            few, more = measured(_apart_from_tokens(section), tokens)
            beside = {"apart": apart[returns]}
            return extended(few | beside, more | beside, layers)

        for section in sections:
            text, tokens = _apart_from_tokens(section), section.tokens_per_batch
            least, most = min(sizes[text]), max(sizes[text])
            if tokens in (least, most):
                expected = expected_of(section, tokens)
            else:  # what a step allocates grows evenly with its tokens
                share = (tokens - least) / (most - least)
                few, many = expected_of(section, least), expected_of(section, most)
                expected = between(few, many, share)
            found.append(expected.as_dict())
            if job["budget"] is not None and expected.total <= job["budget"]:
                break
    return {"parts": found}


def _apart_from_tokens(section: TuneSettings) -> str:
    """What two sections have in common that differ in the size of their micro-batches, and in what
    becomes of freed blocks."""
    fields = section.model_dump(mode="json")
    del fields["memory"]["allocator"]
    # gradients that are added up stay, from the second micro-batch of a step on
    count = 1 if section.optimizer in FUSED else min(section.gradient_accumulation_steps, 2)
    fields["gradient_accumulation_steps"] = count
    del fields["tokens_per_batch"]
    return json.dumps(fields, sort_keys=True)


WAYS = {"whole": whole, "parts": parts}


def _imports(section: TuneSettings) -> None:
    """What a training imports late, so that it counts as libraries."""
    import transformers.models.auto.modeling_auto
    import transformers.models.llama.modeling_llama  # noqa: F401 - the layers' common parts

    if section.adapter is not None:
        import peft  # noqa: F401


def _training(section: TuneSettings, model: ModelSettings) -> tuple[Job, LoopOptions, Any]:
    prepared = prepare_model(model, section, seed=0, mask=section.mask)
    accumulation = min(section.gradient_accumulation_steps, 2)
    options = replace(
        loop_options(section, 0),
        accumulation=accumulation,
        num_train_epochs=None,
        max_tokens=None,
        max_time=None,
        save_every=None,
    )
    vocabulary = prepared.model.config.get_text_config().vocab_size
    rows = worst_rows(section.max_length, section.tokens_per_batch, vocabulary)
    from regimen.objectives.supervised import Supervised

    objective = Supervised(section.label_smoothing, section.z_loss)
    job = Job(prepared=prepared, rows=rows, objective=objective, training=section, seed=0)
    see_rows(prepared.model, lambda: Data(rows, options).padded(1))
    return job, options, new_optimizer(job)


def _measured(
    section: TuneSettings, folder: str, libraries: int, apart: dict[bool, float]
) -> dict[str, float]:
    """The bytes of the components of a short model: exact, and what a step allocates.

    What the process holds beside them is read from the first model in ``apart``, by whether freed
    blocks are returned: later ones find blocks that the allocator has kept.
    """
    returns = section.returns_blocks
    tune_allocator(keep=not returns)
    first = returns not in apart
    if first:
        trim()  # what arrangements before it have left
        memory.reset_peak()
    model = section.model.model_copy(
        update={"path": folder, "config": None, "train_tokenizer": None}
    )
    made, options, optimizer = _training(section, model)
    upkeep = upkeep_of(made.prepared.model, 2)
    trained = made.prepared.language_model

    def steps(until: int, state: State) -> State:
        limited = replace(options, max_steps=until)
        return train(
            trained, made.rows, made.objective, optimizer, limited, state=state, upkeep=upkeep
        )

    pool.let_go()
    idle = [0]
    with _before_steps(optimizer, lambda: idle.append(pool.idle())):
        state = steps(1, State())
    if first:
        state = steps(2, state)
        peak = memory.resident_peak()  # what the profiler keeps comes on top later
    with memory_profiler() as profiler:
        steps(state.step + 1, state)
    kept, step = state_memory(made.prepared.model, optimizer), memory.allocated(profiler)
    # blocks of activations stay where they are while the optimizer takes memory of its own
    stepping = step.stepping + max(idle)
    found = {
        "libraries": float(libraries),
        "weights": float(kept.weights),
        "trained": float(kept.trained),
        "optimizer": float(kept.optimizer),
        "step": float(max(step.peak, stepping)),
    }
    if first:
        apart[returns] = max(0.0, peak - sum(found.values()))
    moments = {"step": step.early, "late": step.late, "stepping": stepping, "idle": max(idle)}
    return found | {name: float(size) for name, size in moments.items()}


@contextmanager
def _before_steps(optimizer: Any, read: Callable[[], None]) -> Iterator[None]:
    """Inside, something is read before each step of the optimizer."""
    handle = optimizer.register_step_pre_hook(lambda *_: read())
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _short_models(model: ModelSettings) -> Iterator[tuple[list[str], tuple[int, int, int]]]:
    """Folders of two models of few layers, of drawn weights, and how many layers they and the
    whole model have."""
    place = Path(tempfile.mkdtemp())
    try:
        config = _config(model)
        count = config.get_text_config().num_hidden_layers
        few = (min(LAYERS[0], count - 1), min(LAYERS[1], count)) if count > 1 else (1, 2)
        folders = []
        for layers in few:
            folder = place / str(layers)
            write_short(config, layers, folder)
            load_tokenizer(model.tokenizer or model.path or "").save_pretrained(folder)
            folders.append(str(folder))
        yield folders, (few[0], few[1], count)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _config(model: ModelSettings) -> Any:
    from transformers import AutoConfig

    if model.config is not None:
        fields = dict(model.config)
        return AutoConfig.for_model(fields.pop("model_type"), **fields)
    path = str(model.path)
    return AutoConfig.from_pretrained(base_path(path) if is_adapter(path) else path)


def write_short(config: Any, layers: int, folder: Path) -> None:
    """A model of the same config with fewer layers, of drawn weights."""
    fields = config.to_dict()
    whole = config.get_text_config().num_hidden_layers
    text = fields.get("text_config", fields)
    for name, value in text.items():
        if isinstance(value, list) and len(value) == whole:  # one entry for each layer
            text[name] = value[:layers] + value[:1] * (layers - whole)
    text["num_hidden_layers"] = layers
    kept = {k: v for k, v in fields.items() if k not in ("transformers_version", "architectures")}
    drawn = load_model(ModelSpec(config=kept))
    drawn.save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
