"""Learning rates against transformers' own schedules, step by step."""

import pytest
import torch
from transformers import get_scheduler

from regimen.training.schedules import Schedule

STEPS = 40
DECAY = 10
THEIRS = {
    "constant": ("constant_with_warmup", {}),
    "linear": ("linear", {}),
    "cosine": ("cosine", {}),
    "wsd": ("warmup_stable_decay", {"num_decay_steps": DECAY, "decay_type": "linear"}),
}


@pytest.mark.parametrize("warmup", [0, 8])
@pytest.mark.parametrize("kind", THEIRS)
def test_rates_equal_those_of_transformers(kind, warmup):
    name, more = THEIRS[kind]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=STEPS,
        scheduler_specific_kwargs=more,
    )
    ours = Schedule(kind, warmup / STEPS, decay=DECAY / (STEPS - warmup))
    for step in range(STEPS):
        assert ours.factor(step / STEPS) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        scheduler.step()
