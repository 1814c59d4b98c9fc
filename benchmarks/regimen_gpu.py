"""regimen's side of the cells of gpu.py: one process, its training core alone.

    python benchmarks/regimen_gpu.py WORK OUT '{}'

``separate`` reads each answer of a pair with a prompt of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from align_forms import FORMS
from gpu_process import Meter, compile_layers, drawn_model, held
from gpu_work import ANSWERS, advantages
from regimen.adapters.methods import add_adapter
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.memory.activations import Activations, arrange
from regimen.models.arithmetic import Arithmetic, arithmetic
from regimen.models.forward import LanguageModel, prepare
from regimen.models.hardware import set_up
from regimen.models.quantised import make_trainable
from regimen.objectives.answers import BEST, AnswerObjective, Answers, AnswerTable, Unit
from regimen.objectives.base import Objective
from regimen.objectives.supervised import Supervised
from regimen.tokens.rendering import RenderedAnswers
from regimen.tokens.store import token_rows
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions, State
from regimen.training.schedules import Schedule
from regimen_align import reference
from regimen_sft import (
    SEED,
    MicroBatches,
    flop_of_steps,
    in_order,
    micro_batches,
    rows_apart,
    steps_of,
    versions,
)
from work import SEED as DRAWN
from work import Rows, facts_of, lora_spec, prompts, read


@dataclass(slots=True)
class Job:
    """A cell in a process: what is known of it, its rows, the model and what that computes."""

    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    rows: Rows
    meter: Meter
    bf16: bool
    model: LanguageModel
    computed: Arithmetic


@dataclass(frozen=True, slots=True)
class Clipped:
    """The clipped surrogate of GRPO for given advantages, a mean over tokens (Shao et al. 2024,
    eq. 3, arXiv 2402.03300; the mean of Yu et al. 2025, *DAPO*, arXiv 2503.14476), for the first
    update after the answers were drawn: the old policy is the policy.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"grpo": "best_tokens"}

    clip: float = 0.2

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each token."""
        logp_N = answers.token_logp_N
        ratio_N = torch.exp(logp_N - logp_N.detach())
        gain_N = answers.score_A.to(logp_N.dtype)[answers.answer_N]
        clipped_N = ratio_N.clamp(1 - self.clip, 1 + self.clip)
        return {"grpo": -torch.minimum(ratio_N * gain_N, clipped_N * gain_N)}

    def rewards(self, answers: Answers) -> Tensor:
        """Nothing is implied."""
        return torch.zeros_like(answers.logp_A)


def start(work: Path, settings: Mapping[str, Any]) -> Job:
    """The model of the cell, ready for flat batches."""
    meter, hardware = Meter(), set_up()
    facts, rows = facts_of(work), read(work)
    network = drawn_model(facts)
    if facts["quantise"]:
        make_trainable(network)
    if facts["lora"]:
        network = add_adapter(network, lora_spec(facts["lora"]), seed=DRAWN)
    if facts["checkpointing"]:
        arrange(network, Activations(kind="full"))
    model = prepare(network)
    computed = arithmetic(model)
    if facts["compiled"]:
        compile_layers(network)
    bf16 = hardware.bf16 and hardware.device == "cuda"
    return Job(facts, settings, rows, meter, bf16, model, computed)


def supervised(job: Job, out: Path) -> None:
    """Learn given tokens."""
    facts, parts = job.facts, int(job.facts["parts"])
    if facts["packs"]:
        ends = np.cumsum(facts["packs"])
        each = len(facts["packs"]) // (int(facts["steps"]) * parts)
        batches = np.split(np.arange(len(job.rows)), ends[each - 1 : -1 : each])
        counts = [int(job.rows.lengths[batch].sum()) for batch in batches]
        per_step = [sum(counts[i : i + parts]) for i in range(0, len(counts), parts)]
    else:
        batches = micro_batches(job.rows.lengths, parts, facts["per_step"])
        per_step = job.rows.lengths.reshape(-1, facts["per_step"]).sum(1).tolist()
    learn(job, out, in_order(rows_apart(job.rows), batches), Supervised(), per_step)


def pairs(job: Job, out: Path) -> None:
    """DPO: the reference of all pairs, then the steps."""
    form = FORMS["separate" if job.settings.get("separate") else "shared"]
    count = int(job.facts["per_step"])
    before = reference(job.model, job.rows, form, count, job.bf16)
    # both forms have the same pairs in a micro-batch
    lengths = FORMS["shared"].rows(job.rows).lengths
    tokens = in_order(form.rows(job.rows), micro_batches(lengths, job.facts["parts"], count))
    per_step = job.rows.lengths.reshape(-1, 2 * count).sum(1).tolist()
    learn(job, out, tokens, form.objective(before.logp_R2), per_step, **before.told)


def groups(job: Job, out: Path) -> None:
    """The update of GRPO: a prompt is read once for its answers."""
    rows, count = job.rows, len(job.rows) // ANSWERS
    found = []
    for group in range(count):
        some = rows.take(range(group * ANSWERS, (group + 1) * ANSWERS))
        starts, prompt = some.starts.tolist(), int(some.prompts[0])
        answers = [tuple(some.ids[a + prompt : b].tolist()) for a, b in pairwise(starts)]
        found.append(RenderedAnswers(tuple(some.ids[:prompt].tolist()), tuple(answers)))
    made = token_rows(found)
    table = AnswerTable(
        first_R=ANSWERS * torch.arange(count),
        role_A=torch.full((count * ANSWERS,), BEST),
        score_A=torch.from_numpy(advantages(count).reshape(-1)),
        reference_A=torch.zeros(count * ANSWERS),
        weight_R=torch.ones(count),
    )
    per_step = int(job.facts["per_step"])
    tokens = in_order(made, micro_batches(made.lengths, job.facts["parts"], per_step))
    each = rows.lengths.reshape(-1, per_step * ANSWERS).sum(1).tolist()
    learn(job, out, tokens, AnswerObjective(table, ((1.0, Clipped()),)), each)


def learn(
    job: Job,
    out: Path,
    tokens: MicroBatches,
    objective: Objective,
    each: list[int],
    **told: Any,
) -> None:
    """The steps, ``each`` of so many tokens, and what is written."""
    facts, network, meter = job.facts, job.model.model, job.meter
    optimizer = OPTIMIZERS["adamw"](parameter_groups(network, 0.0))
    options = LoopOptions(
        learning_rate=facts["learning_rate"],
        schedule=Schedule(kind="constant", warmup=0.0),
        tokens_per_batch=1,
        accumulation=int(facts["parts"]),
        num_train_epochs=None,
        max_steps=int(facts["steps"]),
        bf16=job.bf16,
        seed=SEED,
    )
    seen, bytes_held = [0], [held(network)]

    def record(state: State, losses: Mapping[str, float]) -> None:
        meter.step(each[state.step - 1], state.supervised - seen[0], losses["loss"])
        seen[0] = state.supervised
        bytes_held[0] = held(network, optimizer)

    meter.begin()
    train(job.model, tokens, objective, optimizer, options, Hooks(progress=record))
    meter.stop()
    steps = steps_of(tokens, options, options.max_steps or 0)
    finish(
        job,
        out,
        held=bytes_held[0],
        flop=flop_of_steps(job.computed, steps),
        read=[sum(batch.num_tokens for batch in step) for step in steps],
        **told,
    )


def generate(job: Job, out: Path) -> None:
    """Continue prompts greedily, as often as there are steps."""
    new = int(job.facts["length"])
    asked = [Prompt(str(i), ids, new) for i, ids in enumerate(prompts(job.rows))]
    engine = Engine(job.model, [], rows=len(asked), bf16=job.bf16)
    job.meter.begin()
    for _ in range(int(job.facts["steps"])):
        found = dict(engine.generate(asked))
        job.meter.step(sum(len(it.ids) for it in found.values()), 0, 0.0)
    job.meter.stop()
    finish(job, out, held=held(job.model.model) | {"gradients": 0})


def finish(job: Job, out: Path, **told: Any) -> None:
    """Write what every kind of cell tells."""
    job.meter.tell(
        out,
        tuple(versions()),
        rows=job.rows.digest(),
        autocast=job.bf16,
        ragged=job.model.ragged,
        reason=job.model.reason,
        **told,
    )


KINDS: Mapping[str, Callable[[Job, Path], None]] = {
    "sft": supervised,
    "dpo": pairs,
    "grpo": groups,
    "generate": generate,
}


def main(work: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Do the cell and write what was measured to ``out``."""
    job = start(work, settings)
    KINDS[job.facts["kind"]](job, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
