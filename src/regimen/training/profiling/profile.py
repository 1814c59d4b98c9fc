"""One run of the training loop that is measured and left.

Blocks of steps follow one another: some to warm up, plain ones, as many under torch's profiler,
plain ones again, and one in which allocations are followed. Speed, page faults and the resident
peak are those of the plain blocks; shares by part are those of the profiled block, and what the
profiler cost is the difference of the two, in processor time for each token.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from regimen.errors import TrainingError
from regimen.models.arithmetic import Arithmetic, Flop, arithmetic
from regimen.models.buffers import kept_now
from regimen.models.forward import LanguageModel
from regimen.models.hardware import bf16_is_fast
from regimen.models.native import pool
from regimen.objectives.base import Objective
from regimen.tokens.ragged import RaggedBatch
from regimen.tokens.store import TokenRows
from regimen.training.data import Data
from regimen.training.loop import Hooks, train
from regimen.training.options import LoopOptions
from regimen.training.profiling import memory
from regimen.training.profiling.attribution import Label, marked_parts, seconds_by_label
from regimen.training.profiling.rates import Rate, product_rate
from regimen.training.profiling.results import Memory, Profile
from regimen.training.profiling.steps import Block, Plan, Steps

WARM, STEPS, SECONDS = 2, 5, 2.0
"""Steps before anything is measured; least steps and seconds of a measured block."""
NEVER = 10**9
"""More steps than any profile makes."""


@dataclass(slots=True)
class _Held:
    """Bytes that are only there in the middle of a step, read before the optimizer's."""

    gradients: int = 0
    kept_gradients: int = 0
    blocks: int = 0

    def read(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        """The optimizer's hook before a step."""
        learnt = [p for group in optimizer.param_groups for p in group["params"]]
        self.gradients = memory.gradients(learnt)
        kept = kept_now()
        if kept is not None:
            self.kept_gradients = memory.bytes_of(kept.gradients)
            self.blocks = memory.bytes_of(kept.blocks)


@dataclass(slots=True)
class _Watched:
    """The blocks of a run, and what was read beside them."""

    steps: Steps
    held: _Held = field(default_factory=_Held)

    def blocks(self, name: str) -> list[Block]:
        """The blocks of a name."""
        return [block for block in self.steps.done if block.name == name]


def profile(
    model: LanguageModel,
    rows: TokenRows,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    options: LoopOptions,
    hooks: Hooks,
) -> Profile:
    """Train for some steps and measure them; the model's weights may change.

    The limits of ``options`` are not: the run is as long as measuring takes. ``hooks`` of logging
    and progress are called, and are part of what is measured; saving and evaluation are not.

    Raises:
        TrainingError: the model is not on a CPU, there is nothing to train, or a loss is not
            finite.
    """
    kind = next(model.model.parameters()).device.type
    if kind != "cpu":
        raise TrainingError(
            "A profile is measured on a CPU.",
            slug="profile-device",
            got=f"a model on {kind}, whose kernels run apart from the program",
            fix="Use torch.profiler's trace there, or hide the accelerator for this measurement.",
        )
    before = memory.resident() - memory.weights(model.model)
    computed = arithmetic(model)
    watched = _run(model, rows, objective, optimizer, options, hooks)
    data = Data(rows, options)
    found = _memory(model, optimizer, watched, before)
    return _profile(model, computed, data, options, watched, found)


def _run(
    model: LanguageModel,
    rows: TokenRows,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    options: LoopOptions,
    hooks: Hooks,
) -> _Watched:
    """The steps."""
    watched = _Watched(Steps(plans()))
    steps = watched.steps

    def progress(state: Any, losses: Any) -> None:
        steps.note(state, losses)
        if hooks.progress is not None:
            hooks.progress(state, losses)

    unlimited = replace(
        options,
        max_steps=NEVER,
        num_train_epochs=None,
        max_tokens=None,
        max_time=None,
        save_every=None,
        evaluate_every=None,
        patience=None,
    )
    watching = Hooks(log=hooks.log, progress=progress, stop=steps.after_step)
    handle = optimizer.register_step_pre_hook(watched.held.read)
    with time_profiler():
        torch.zeros(1).add_(1)  # the first profiler of a process sets itself up
    try:
        with marked_parts(model):
            steps.begin()
            train(model, rows, objective, optimizer, unlimited, watching)
    finally:
        handle.remove()
    return watched


def plans() -> tuple[Plan, ...]:
    """The blocks, in order."""
    plain = Plan(name="plain", steps=STEPS, seconds=SECONDS)
    return (
        Plan(name="warm", steps=WARM),
        plain,
        Plan(name="profiled", steps=STEPS, seconds=SECONDS, profiler=time_profiler),
        plain,
        Plan(name="memory", steps=1, profiler=memory_profiler),
    )


def time_profiler() -> torch.profiler.profile:
    """Sees operations and marks, as cheaply as it goes."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it writes lines of its own to standard error
    # torch 2.10 and 2.11 warn where events of several cycles are not kept, cycles or not
    return torch.profiler.profile(activities=[ProfilerActivity.CPU], acc_events=True)


class _MemoryProfiler(torch.profiler.profile):
    """Sees allocations as well: all of them, for none comes from the pool meanwhile."""

    def __init__(self) -> None:
        super().__init__(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._resting = ExitStack()

    def start(self) -> None:
        self._resting.enter_context(pool.resting())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*clears events at the end of each cycle")
            super().start()

    def stop(self) -> None:
        super().stop()
        self._resting.close()


def memory_profiler() -> torch.profiler.profile:
    """Sees allocations as well."""
    return _MemoryProfiler()


def _memory(
    model: LanguageModel, optimizer: torch.optim.Optimizer, watched: _Watched, before: int
) -> Memory:
    (block,) = watched.blocks("memory")
    assert block.profiler is not None
    step, held = memory.allocated(block.profiler), watched.held
    weights, states = memory.weights(model.model), memory.optimizer_states(optimizer)
    allocated = weights + states + held.blocks + held.kept_gradients + step.peak
    head = held.blocks + step.head
    first, _ = watched.blocks("plain")  # what the profiler saw is in memory during the second
    return Memory(
        weights=weights,
        gradients=held.gradients,
        optimizer=states,
        activations=step.activations,
        head=head,
        temporary=allocated - weights - held.gradients - states - step.activations - head,
        allocated=allocated,
        before=before,
        slack=first.peak - before - allocated,
        peak=first.peak,
        is_of_steps=first.peak_is_own,
    )


def _profile(
    model: LanguageModel,
    computed: Arithmetic,
    data: Data,
    options: LoopOptions,
    watched: _Watched,
    found: Memory,
) -> Profile:
    plain, (profiled,) = watched.blocks("plain"), watched.blocks("profiled")
    steps, tokens = sum(b.steps for b in plain), sum(b.tokens for b in plain)
    seconds = sum(b.seconds for b in plain)
    batches = [data.batch(data.row_numbers(i)[0]) for b in plain for i in b.batches]
    flop = total_flop(computed, batches)
    dtype = torch.bfloat16 if options.bf16 else model.head().weight_VD.dtype
    kind, rates = _name(dtype), _rates(computed, batches, dtype)
    achieved = sum(f.total for f in flop.values()) / seconds
    parts = _parts(profiled)
    first = plain[0]  # what the profiler saw fills the allocator's blocks during the second
    # what else runs on the machine changes wall time more than processor time
    used = sum(b.user + b.system for b in plain)
    per_token = (profiled.user + profiled.system) / profiled.tokens
    return Profile(
        steps=steps,
        profiled_steps=profiled.steps,
        tokens=tokens / steps,
        supervised=sum(b.supervised for b in plain) / steps,
        micro_batches=len(batches) / steps,
        seconds=seconds / steps,
        profiled_seconds=profiled.seconds / profiled.steps,
        processor=used / seconds,
        overhead=per_token / (used / tokens) - 1,
        parts=parts,
        between=profiled.seconds / profiled.steps - sum(parts.values()),
        flop={part: Flop(f.forward / steps, f.backward / steps) for part, f in flop.items()},
        flop_per_second=achieved,
        rates=rates,
        dtype=kind,
        utilisation=achieved / rates[kind].flop_per_second,
        system_share=first.system / max(first.user + first.system, 1e-9),
        faults=None if first.faults is None else first.faults / first.steps,
        memory=found,
    )


def _parts(block: Block) -> dict[Label, float]:
    """Seconds of each part in a step of the profiled block."""
    assert block.profiler is not None
    events = block.profiler.events()  # type: ignore[no-untyped-call]
    return {label: total / block.steps for label, total in seconds_by_label(events).items()}


def total_flop(computed: Arithmetic, batches: Sequence[RaggedBatch]) -> dict[str, Flop]:
    """Floating-point operations of all batches, by part."""
    total: dict[str, Flop] = {}
    for batch in batches:
        for part, flop in computed.flop(batch).items():
            total[part] = total.get(part, Flop()) + flop
    return total


def _rates(
    computed: Arithmetic, batches: Sequence[RaggedBatch], dtype: torch.dtype
) -> dict[str, Rate]:
    """Of the products of the batch with the middle number of tokens."""
    batch = sorted(batches, key=lambda b: b.num_tokens)[len(batches) // 2]
    wanted = [torch.float32, *([torch.bfloat16] if bf16_is_fast() else [])]
    types = dict.fromkeys([*wanted, dtype])
    products = computed.products(batch, dtype)
    return {_name(kind): product_rate(products, kind) for kind in types}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
