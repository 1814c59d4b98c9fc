"""regimen's side of the works that learn from pairs: the reference, then some steps of the loop.

python benchmarks/regimen_align.py WORK OUT '{"max_steps": 4, "batches_per_step": 2}'

``separate`` reads each answer with a prompt of its own, for comparison. With ``check`` nothing is
timed: losses and gradients of both forms are compared.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers.models.llama.modeling_llama  # noqa: F401 - both sides import it

from align_forms import FORMS, REWARD, Form
from measure import Recorder
from regimen.models.arithmetic import arithmetic
from regimen.models.forward import LanguageModel, prepare
from regimen.models.hardware import set_up
from regimen.models.loading import ModelSpec, load_model
from regimen.tokens.ragged import ragged_batch
from regimen.training.loop import Hooks, accumulate, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions, State
from regimen.training.schedules import Schedule
from regimen_sft import SEED, arithmetic_of, in_order, micro_batches, steps_of, versions
from work import BETAS, Rows, facts_of, read

REFERENCE_TOKENS = 4096
"""Of a batch of the reference: `align`'s own default."""


@dataclass(slots=True)
class Reference:
    """What the frozen start says of each answer, and how long that took; zeros without one.

    The first step's pairs are computed twice, and timed the second time.
    """

    logp_R2: torch.Tensor
    told: dict[str, dict[str, float]] = field(default_factory=dict)


def reference(model: LanguageModel, rows: Rows, form: Form, pairs: int, bf16: bool) -> Reference:
    """The reference of all pairs, those of a step at a time."""
    tokens, count = form.rows(rows), len(rows) // 2
    if form.reference is None:
        return Reference(torch.zeros(count, 2))
    form.reference(model, tokens.take(range(min(pairs, count))), REFERENCE_TOKENS, bf16)
    found, began = [], time.perf_counter()
    for start in range(0, count, pairs):
        some = tokens.take(range(start, min(start + pairs, count)))
        found.append(form.reference(model, some, REFERENCE_TOKENS, bf16))
    seconds = time.perf_counter() - began
    computed = arithmetic(model)
    batches = [ragged_batch(tokens.segments([row])) for row in range(count)]
    flop = sum(f.forward for batch in batches for f in computed.flop(batch).values())
    told = {"seconds": seconds, "tokens": int(rows.lengths.sum()), "flop": flop}
    return Reference(torch.cat(found), {"reference": told})


def loaded(work: Path, method: str) -> LanguageModel:
    """The model, ready for flat batches."""
    path = str(work / "model")
    if method == "reward":
        from regimen.models.scoring import load_scores

        return prepare(load_scores(path))
    return prepare(load_model(ModelSpec(path=path)))


def first_pairs(rows: Rows, count: int) -> Rows:
    """The first pairs of some."""
    end = int(rows.starts[2 * count])
    return Rows(rows.ids[:end], rows.lengths[: 2 * count], rows.prompts[: 2 * count])


def main(work: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Train and write what was measured to ``out``."""
    recorder = Recorder()
    hardware = set_up()
    whole, facts = read(work), facts_of(work)
    pairs, steps = int(facts["rows_per_step"]), int(settings["max_steps"])
    rows = first_pairs(whole, pairs * steps)
    if settings.get("check"):
        recorder.write(out, **check(loaded(work, "dpo"), first_pairs(rows, min(pairs, 4))))
        return
    method = facts["aligns"]
    form = FORMS["separate" if settings.get("separate") else "shared"]
    form = REWARD if method == "reward" else form
    model = loaded(work, method)
    before = reference(model, rows, form, pairs, hardware.bf16)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    assert all(group["betas"] == BETAS for group in optimizer.param_groups)
    per_step = int(settings["batches_per_step"])
    options = LoopOptions(
        learning_rate=facts["learning_rate"],
        schedule=Schedule(kind="constant", warmup=0.0),
        tokens_per_batch=1,
        accumulation=per_step,
        max_steps=steps,
        bf16=hardware.bf16,
        seed=SEED,
    )
    each = rows.lengths.reshape(-1, 2 * pairs).sum(1).tolist()
    seen = [0]

    def record(state: State, losses: Mapping[str, float]) -> None:
        supervised = state.supervised - seen[0]
        recorder.step(each[state.step - 1], supervised, losses["loss"])
        seen[0] = state.supervised

    made = form.rows(rows)
    # both forms have the same pairs in a micro-batch: shared out by the tokens of a shared prompt
    batches = micro_batches(FORMS["shared"].rows(rows).lengths, per_step, pairs)
    tokens = in_order(made, batches)
    recorder.begin()
    train(model, tokens, form.objective(before.logp_R2), optimizer, options, Hooks(progress=record))
    recorder.stop()
    of_steps = steps_of(tokens, options, steps)
    dtype = torch.bfloat16 if options.bf16 else next(model.model.parameters()).dtype
    recorder.write(
        out,
        versions=versions(),
        threads=torch.get_num_threads(),
        rows=whole.digest(),
        autocast=options.bf16,
        ragged=model.ragged,
        allocator=hardware.allocator,
        read=[sum(b.num_tokens for b in step) for step in of_steps],
        **before.told,
        **arithmetic_of(model, of_steps, dtype),
    )


def check(model: LanguageModel, rows: Rows) -> dict[str, Any]:
    """Loss and gradients of some pairs in both forms, in fp32, against a reference that differs.

    Returns:
        Relative differences: of the losses, of the references, and the largest of any gradient,
        over the gradient's largest number.
    """
    draw = torch.Generator().manual_seed(SEED)
    moved = 5 * torch.randn(len(rows) // 2, 2, generator=draw)
    options = LoopOptions(learning_rate=1.0, tokens_per_batch=1)
    losses, references = [], []
    gradients: list[dict[str, torch.Tensor]] = []
    for form in FORMS.values():
        tokens = form.rows(rows)
        assert form.reference is not None
        logp_R2 = form.reference(model, tokens, REFERENCE_TOKENS, False)
        references.append(logp_R2)
        # against the same reference, so that differences of its own do not count twice
        objective = form.objective(references[0] + moved)
        batch = ragged_batch(tokens.segments(range(len(tokens))))
        model.model.train()
        losses.append(accumulate(model, objective, [batch], options)["loss"])
        grads = {n: p.grad for n, p in model.model.named_parameters() if p.grad is not None}
        gradients.append({name: grad.clone() for name, grad in grads.items()})
        model.model.zero_grad(set_to_none=True)
    ours, theirs = gradients
    assert ours.keys() == theirs.keys()
    far = max(float((ours[n] - theirs[n]).abs().max() / theirs[n].abs().max()) for n in ours)
    return {
        "loss": losses,
        "loss_differs": abs(losses[0] - losses[1]) / abs(losses[1]),
        "reference_differs": float(((references[0] - references[1]) / references[1]).abs().max()),
        "gradient_differs": far,
        "tensors": len(ours),
        "pairs": len(rows) // 2,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "rows": rows.digest(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
