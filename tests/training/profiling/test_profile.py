"""pytest tests/training/profiling/test_profile.py"""

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.errors import TrainingError
from regimen.models.forward import prepare
from regimen.models.parts import ATTENTION, HEAD, NETWORK, NORMS, REST
from regimen.objectives.supervised import Supervised
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.data import Data
from regimen.training.loop import Hooks
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions
from regimen.training.profiling import profile as module
from regimen.training.profiling.attribution import CLIP, DATA, OPTIMIZER, REPORT
from regimen.training.profiling.profile import profile, total_flop

WIDER = {**MODELS["llama"], "hidden_size": 64, "intermediate_size": 128}


def rows(count=24):
    draw = torch.Generator().manual_seed(0)
    size = lambda: int(torch.randint(20, 60, (1,), generator=draw))  # noqa: E731
    ids = [torch.randint(61, (size(),), generator=draw).tolist() for _ in range(count)]
    return token_rows([Rendered(tuple(i), (0.0, *[1.0] * (len(i) - 1))) for i in ids])


@pytest.fixture(scope="module")
def measured():
    """A profile, and the model and optimizer after it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "SECONDS", 0.0)
        patched.setattr(module, "STEPS", 3)
        model = prepare(make("llama", WIDER))
        optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
        options = LoopOptions(
            learning_rate=1e-3, tokens_per_batch=240, accumulation=2, max_steps=1, save_every=1
        )
        seen = []
        hooks = Hooks(
            log=lambda state, _: seen.append(("log", state.step)),
            progress=lambda state, _: seen.append(("progress", state.step)),
            save=lambda state: seen.append(("save", state.step)),
        )
        found = profile(model, rows(), Supervised(), optimizer, options, hooks)
        return found, model, optimizer, options, seen


def test_the_parts_are_those_of_a_step_and_add_up_to_it(measured):
    found = measured[0]
    assert {part for part, _ in found.parts} == {
        *(ATTENTION, NETWORK, NORMS, HEAD, REST, DATA, CLIP, OPTIMIZER, REPORT)
    }
    named = sum(found.parts.values())
    # the profiler's clock against ours: what it saw is most of the step, and no more than that
    assert 0.5 * found.profiled_seconds < named <= 1.001 * found.profiled_seconds
    assert named + found.between == pytest.approx(found.profiled_seconds)


def test_the_loop_runs_as_long_as_measuring_takes_and_saves_nothing(measured):
    found, *_, seen = measured
    assert (found.steps, found.profiled_steps, found.micro_batches) == (6, 3, 2)
    last = 2 + 3 + 3 + 3 + 1
    assert [step for what, step in seen if what == "progress"] == list(range(1, last + 1))
    assert ("log", 10) in seen
    assert not any(what == "save" for what, _ in seen)


def test_arithmetic_is_that_of_the_batches_that_the_plain_steps_read(measured):
    found, model, _, options, _ = measured
    data = Data(rows(), options)
    numbers = [*range(4, 10), *range(16, 22)]  # two micro-batches a step: 2 warm, 3 + 3 + 3
    batches = [data.batch(data.row_numbers(number)[0]) for number in numbers]
    expected = total_flop(module.arithmetic(model), batches)
    assert found.tokens * 6 == pytest.approx(sum(batch.num_tokens for batch in batches))
    for part, flop in expected.items():
        assert found.flop[part].total * 6 == pytest.approx(flop.total)
    whole = sum(flop.total for flop in expected.values())
    assert found.flop_per_second * found.seconds * 6 == pytest.approx(whole)
    rate = found.rates["float32"].flop_per_second
    assert found.utilisation == pytest.approx(found.flop_per_second / rate)


def test_memory_components_are_exact_and_add_up(measured):
    found, model, *_ = measured
    memory, parameters = found.memory, list(model.model.parameters())
    numbers = sum(p.numel() for p in parameters)
    buffers = sum(b.numel() * b.element_size() for b in model.model.buffers())
    assert memory.weights == 4 * numbers + buffers
    assert memory.gradients == 4 * numbers
    assert memory.optimizer == 8 * numbers + 4 * len(parameters)
    components = memory.weights + memory.gradients + memory.optimizer
    components += memory.activations + memory.head + memory.temporary
    assert components == memory.allocated
    assert memory.allocated + memory.before + memory.slack == memory.peak
    assert memory.activations > 0
    assert memory.head > 0


def test_nothing_is_left_on_model_and_optimizer(measured):
    _, model, optimizer, *_ = measured
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())
    assert not optimizer._optimizer_step_pre_hooks


def test_an_accelerator_is_refused():
    model = prepare(make("llama", MODELS["llama"]))
    model.model.to("meta")
    optimizer = torch.optim.SGD(model.model.parameters(), lr=0.1)
    with pytest.raises(TrainingError, match="measured on a CPU"):
        profile(model, rows(), Supervised(), optimizer, LoopOptions(learning_rate=1.0), Hooks())
