"""Offline, few threads, the same examples each time: what every test file can rely on."""

from __future__ import annotations

import gc
import os
import zlib
from pathlib import Path

# Before anything imports torch or a Hugging Face library.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest
from hypothesis import HealthCheck, settings

from helpers.collector import leave_what_stays
from helpers.examples import THOROUGH

# Thousands of tests and the libraries they load are objects that stay: walking over them for cycles
# costs a tenth of the time.
gc.set_threshold(50_000, 20, 50)

# What tests write is of no use after a power cut, so none waits for the disk.
os.fsync = lambda descriptor: None

EXAMPLES = {"regimen": 20, "thorough": THOROUGH}
"""Examples of a property: in the default run, and with ``--hypothesis-profile=thorough``."""

for name, number in EXAMPLES.items():
    settings.register_profile(
        name,
        derandomize=True,
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
settings.load_profile("regimen")

ROOT = Path(__file__).resolve().parents[1]

PART = 5
"""Of a test over a whole matrix, one case in so many is there by default."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of tests marked ``matrix`` a part runs by default; the other cases are slow.

    Which part differs from test to test, so that every kind is met by some. A case that is asked
    for alone is not slow.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("matrix"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, some in cases.items():
        first = zlib.crc32(name.encode()) % min(PART, len(some))
        for place, item in enumerate(some):
            if place % PART != first:
                item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Let no collection of cycles walk over the libraries and the tests again: that took most of
    a second each time that a stage lets a model go.
    """
    leave_what_stays()


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The third-party data beside the checkout; skips where it is absent."""
    place = Path(os.environ.get("REGIMEN_SHARED", ROOT.parent / "shared")).resolve() / "data"
    if not place.is_dir():
        pytest.skip(f"no third-party data at {place}; set REGIMEN_SHARED to where it is")
    return place
