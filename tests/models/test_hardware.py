"""What is asked of the machine."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from regimen.models.hardware import bf16_is_fast, on_large_pages, placed, set_up


def test_a_block_on_large_pages_is_the_same_block():
    small, large = torch.arange(5.0), torch.arange(3 << 20)
    for block in (small, large):
        kept = block.clone()
        given = on_large_pages(block)
        assert given.data_ptr() == block.data_ptr()
        assert torch.equal(given, kept)


def test_a_run_says_whether_loops_are_compiled():
    said = set_up(torch.get_num_threads()).kernels
    assert said == "compiled" or said.startswith("torch's own: ")


def test_the_kernels_that_are_kept_are_those_asked_for_unless_the_user_said(monkeypatch):
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    set_up(torch.get_num_threads(), kernels=1024)
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "1024"
    set_up(torch.get_num_threads())
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "1024"


class Linear4bit(torch.nn.Linear):
    """By name, a layer of bitsandbytes."""


@pytest.mark.parametrize("kind", [torch.nn.Linear, Linear4bit])
def test_models_go_to_the_device_unless_bitsandbytes_put_them_there(kind, monkeypatch):
    moved = []
    model = torch.nn.Sequential(kind(2, 2))
    monkeypatch.setattr(model, "to", lambda place: moved.append(place) or model, raising=False)
    assert placed(model) is model
    assert moved == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert placed(model) is model
    assert moved == ([] if kind is Linear4bit else ["cuda"])


def test_bf16_that_a_device_only_emulates_is_not_fast(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    assert not bf16_is_fast()


FRAGMENTS = """
import os, torch
from regimen.models.hardware import tune_allocator

def anonymous(keep):
    tune_allocator(keep=keep)
    small = []
    for size in range(40, 8, -1):
        block = torch.ones(size << 18)  # MiB
        small.append(torch.ones(1 << 12))
        del block
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

for keep in (True, False):  # a process each
    pid = os.fork()
    if not pid:
        print(anonymous(keep), flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc alone is told"
)
def test_blocks_that_are_freed_are_kept_or_returned():
    done = subprocess.run([sys.executable, "-c", FRAGMENTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept, returned = (int(line) / 1024 for line in done.stdout.split())
    assert kept - returned > 30
