"""pytest tests/training/profiling/test_steps.py"""

from regimen.training.options import State
from regimen.training.profiling import steps as module
from regimen.training.profiling.steps import Plan, Steps


def walk(monkeypatch, plans, seconds_of_a_step):
    """Go through blocks with a clock of our own; three tokens and two micro-batches a step."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    steps, state = Steps(plans), State()
    steps.begin()
    for _ in range(1000):
        now[0] += seconds_of_a_step
        state.step, state.cursor, state.tokens = state.step + 1, state.cursor + 2, state.tokens + 3
        steps.note(state, {})
        if steps.after_step():
            return steps.done
    raise AssertionError("never done")


def test_blocks_follow_one_another_and_no_micro_batch_is_counted_twice(monkeypatch):
    plans = [Plan(name="warm", steps=2), Plan(name="plain", steps=3), Plan(name="last", steps=1)]
    done = walk(monkeypatch, plans, 1.0)
    assert [(b.name, b.steps, b.tokens, b.seconds) for b in done] == [
        ("warm", 2, 6, 2.0),
        ("plain", 3, 9, 3.0),
        ("last", 1, 3, 1.0),
    ]
    assert [number for b in done for number in b.batches] == list(range(12))


def test_short_steps_are_repeated_until_there_is_something_to_measure(monkeypatch):
    (block,) = walk(monkeypatch, [Plan(name="plain", steps=3, seconds=2.0)], 0.25)
    assert (block.steps, block.seconds) == (8, 2.0)


def test_long_steps_end_a_block_early(monkeypatch):
    (block,) = walk(monkeypatch, [Plan(name="plain", steps=5, seconds=2.0)], 20.0)
    assert block.steps == 2
