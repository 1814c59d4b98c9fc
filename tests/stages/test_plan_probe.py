"""What a plan measures on short models."""

from pathlib import Path

import pytest

import regimen
from regimen.models.native import pool
from regimen.settings.tune import TuneSettings
from regimen.stages import plan_probe

BASE = str(Path(regimen.__file__).with_name("assets") / "tiny-base")


@pytest.fixture
def pooled():
    yield
    pool.stop()


@pytest.mark.skipif(pool.sys.platform != "linux", reason="allocators of Linux")
def test_blocks_of_activations_count_while_the_optimizer_steps(pooled, monkeypatch):
    section = TuneSettings.model_validate(
        {"model": {"path": BASE}, "max_length": 64, "tokens_per_batch": 1024}
    )
    found = plan_probe._measured(section, BASE, 0, {})
    monkeypatch.setattr(pool, "idle", lambda: 0)
    without = plan_probe._measured(section, BASE, 0, {})
    kept = found["stepping"] - without["stepping"]
    # the inputs of the layers' networks alone are more than this
    assert kept > 1024 * 256 * 4
    assert kept <= found["step"]  # they were there in the step
    for name in ("weights", "trained", "optimizer"):
        assert found[name] == without[name]
