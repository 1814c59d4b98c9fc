"""pytest tests/models/triton -m slow

Triton's kernels against torch's operators: in a process where Triton interprets them on the CPU.
Skipped where Triton is not installed; it is not asked for, and comes with torch's CUDA builds.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import torch
from regimen.models import head
from regimen.models.native import ops
from regimen.models.triton import rows

draw = torch.Generator().manual_seed(0)
for dtype, close in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
    def same(ours, theirs):
        assert ours.dtype == theirs.dtype, (ours.dtype, theirs.dtype)
        torch.testing.assert_close(ours, theirs, rtol=close, atol=close)

    for count, vocabulary in ((5, 37), (3, 4096), (2, 9001)):
        whole = (4 * torch.randn(count, vocabulary + 3, generator=draw)).to(dtype)
        target = torch.randint(vocabulary, (count,), generator=draw)
        weight = torch.rand(count, generator=draw)
        for gradient in (False, True):
            ours, theirs = whole.clone()[:, :vocabulary], whole[:, :vocabulary].clone()
            found = rows.nll_rows(ours, target, weight, gradient=gradient)
            same(found, ops.nll_rows(theirs, target, weight, gradient=gradient))
            same(ours.clone(), theirs)
        for scale, softcap in ((0.25, None), (1.0, 3.0), (1.5, 2.0)):
            logits = whole[:, :vocabulary].float().requires_grad_()
            given = logits * scale
            given = given if softcap is None else softcap * torch.tanh(given / softcap)
            lse = given.logsumexp(1)
            picked = given.gather(1, target[:, None])[:, 0]
            hit = weight.flip(0) - 0.3
            (lse * weight - picked * hit).sum().backward()
            ours = whole.clone()[:, :vocabulary]
            found = rows.reduce_rows(ours, target, weight, hit, gradient=True, scale=scale,
                                     softcap=softcap)
            same(found[0], (picked - lse).detach())
            same(found[1], lse.detach())
            same(ours.clone(), logits.grad.to(dtype))
    far = torch.full((1, 50), -3e4).to(dtype)
    far[0, 7] = 3e4
    logp = rows.nll_rows(far, torch.tensor([7]), torch.ones(1), gradient=True)
    assert float(logp) == 0.0 and not far.abs().max() > 0

    gate, up, grad = (torch.randn(7, 333, generator=draw).to(dtype) for _ in range(3))
    same(rows.swiglu(gate, up), ops.swiglu(gate, up))
    both = rows.swiglu_back(gate, up, grad), ops.swiglu_back(gate, up, grad.clone())
    for ours, theirs in zip(*both):
        same(ours, theirs)
assert rows.swiglu(torch.empty(0, 3), torch.empty(0, 3)).shape == (0, 3)

# the reducer by the kernel, as on a device: both ways of torch's operators give the same
given = [torch.randn(*shape, generator=draw) for shape in ((9, 6), (37, 6))]
target, weight = torch.randint(37, (9,), generator=draw), torch.rand(9, generator=draw)

def reduced(needs, softcap, scale):
    hidden, matrix = (x.clone().requires_grad_() for x in given)
    it = head.Head(matrix, None, softcap, scale)
    more = {"weight_N": weight} if "nll_sum" in needs else {}
    found = head.reduce(hidden, it, torch.arange(9), target, needs, chunk=4, **more)
    parts = [x for x in (found.nll_sum, found.lse_N) if x is not None]
    parts += [] if "nll_sum" in needs else [found.logp_N * weight]
    sum((x * 0.7).sum() for x in parts).backward()
    return found.logp_N.detach(), hidden.grad, matrix.grad

for needs in ({"logp"}, {"logp", "lse"}, {"nll_sum"}):
    for softcap, scale in ((None, 1.0), (2.0, 1.0), (3.0, 0.5)):
        expected = reduced(needs, softcap, scale)
        plain, ops.accelerated = ops.accelerated, lambda *t: True
        ours = reduced(needs, softcap, scale)
        ops.accelerated = plain
        for a, b in zip(ours, expected):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
print("equal")
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_give_what_torchs_operators_give():
    env = {**os.environ, "TRITON_INTERPRET": "1", "REGIMEN_KERNELS": "off"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=300,
        env={**env, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "equal"


COMPILED = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from regimen.models.triton import rows

def made(kernel, kinds, **constants):
    names = [*kernel.arg_names]
    signature = dict(zip(names, [*kinds.split(), *["constexpr"] * len(constants)], strict=True))
    source = ASTSource(kernel, signature, constants)
    assert ".target sm_90a" in compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]

for kind in ("*bf16", "*fp32"):
    for gradient in (False, True):
        given = f"{kind} *i64 *fp32 *fp32 *fp32 *fp32 i32 fp32 fp32"
        for finish in (False, True):
            made(
                rows._reduce, given, VOCABULARY=151936, GRADIENT=gradient, SCALED=finish,
                CAPPED=finish, COLUMNS=rows.COLUMNS,
            )
    made(rows._swiglu, f"{kind} {kind} {kind} i32", NUMBERS=rows.NUMBERS)
    made(rows._swiglu_back, " ".join([kind] * 6) + " i32", NUMBERS=rows.NUMBERS)
print("compiled")
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_compile_for_a_device_that_is_not_there():
    done = subprocess.run(
        [sys.executable, "-c", COMPILED],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "REGIMEN_KERNELS": "off"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "compiled"
