"""pytest tests/test_training_core.py -m slow

The training core runs where only torch, transformers, peft and pyarrow are, without compiled loops;
which imports say so is checked by tests/test_architecture.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "helpers" / "core_alone.py"
SOURCE = Path(__file__).resolve().parents[1] / "src"


@pytest.mark.slow
def test_the_training_core_needs_no_other_library() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:regimen", str(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["modules"] > 100
    assert found["losses"][-1] < found["losses"][0]
    assert found["told"] == {"greedy": 4, "drawn": 4}
