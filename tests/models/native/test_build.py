"""Compiling: once for a machine, never required, never a second set of threads."""

import platform
import subprocess
import sys

import pytest

from regimen.models.native import build, check, mixing, ops

SKIP = pytest.mark.skipif(build.built().library is None, reason=build.built().reason)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has compiled nothing yet, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(build.SWITCH, raising=False)
    # what is compiled here is loaded and not called, so it need not be fast
    monkeypatch.setattr(build, "FLAGS", ("-O0", *build.FLAGS[1:]))
    return build.built.__wrapped__


def test_it_can_be_switched_off(fresh, monkeypatch):
    monkeypatch.setenv(build.SWITCH, "off")
    assert fresh().library is None
    assert build.SWITCH in fresh().reason


def test_without_a_compiler_there_is_a_reason(fresh, monkeypatch):
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))
    assert fresh() == build.Built(None, "no compiler (no-such-compiler)")


@SKIP
def test_a_compiler_that_fails_is_told(fresh, monkeypatch, tmp_path):
    broken = tmp_path / "broken.c"
    broken.write_text("int main( {")
    monkeypatch.setattr(build, "SOURCES", (broken,))
    found = fresh()
    assert found.library is None
    assert "error" in found.reason or "broken.c" in found.reason
    assert not list(tmp_path.rglob("*.so"))


@SKIP
def test_compiled_once_and_kept(fresh, tmp_path, monkeypatch):
    assert fresh().library is not None
    (made,) = (tmp_path / "regimen").iterdir()
    assert made.suffix == ".so"
    stamp = made.stat().st_mtime_ns
    monkeypatch.setattr(subprocess, "run", only_asking_for_the_version(subprocess.run))
    assert fresh().library is not None
    assert made.stat().st_mtime_ns == stamp


def only_asking_for_the_version(run):
    def guarded(command, **kwargs):
        assert "--version" in command, command
        return run(command, **kwargs)

    return guarded


@SKIP
def test_a_home_that_cannot_be_written_does_not_matter(fresh, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert fresh().library is not None


@SKIP
def test_there_is_one_openmp_runtime_in_the_process():
    script = (
        "import torch\n"
        "from regimen.models.native import build\n"
        "before = build.openmp_runtime()\n"
        "assert build.built().library is not None, build.built().reason\n"
        "assert build.openmp_runtime() == before and before is not None\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_of_several_runtimes_the_one_beside_torch_is_taken(tmp_path):
    for place in ("torch/lib/libgomp-a.so.1", "other.libs/libgomp-b.so.1", "third/libiomp5.so"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    own, other, third = (next(tmp_path.rglob(name)) for name in ("*-a*", "*-b*", "libiomp*"))
    library, folder = tmp_path / "torch/lib/libtorch.so", tmp_path / "torch"
    assert build.of_torch([other, library, own, third], folder) == own
    assert build.of_torch([other, library], folder) == other
    assert build.of_torch([other, third], folder) is None
    assert build.of_torch([library, tmp_path / "torch/libomp.so"], folder) is None


@SKIP
def test_every_function_of_the_table_is_in_the_library():
    assert set(ops._functions()) == set(ops.SIGNATURES)
    text = "".join(path.read_text() for path in build.SOURCES)
    for name, letters in ops.SIGNATURES.items():
        declared = text.split(f"void {name}(", 1)[1].split(")", 1)[0]
        assert len(declared.split(",")) == len(letters.replace("t", "pi")), name


@SKIP
@pytest.mark.parametrize("name", ["rms_norm_back", "attention", "nll_rows"])
def test_a_function_that_computes_something_else_is_noticed(name, monkeypatch, tmp_path):
    honest = ops.call

    def wrong(function, *arguments):
        honest(function, *arguments)
        if function == name:
            arguments[4 if name == "rms_norm_back" else 3].mul_(1.01)

    monkeypatch.setattr(ops, "call", wrong)
    monkeypatch.setattr(mixing, "call", wrong)
    monkeypatch.setattr(build.Built, "agreed", lambda library: agreed)
    agreed = tmp_path / "agreed"
    assert name in ops.why_not.__wrapped__()
    assert not agreed.exists()
    assert not ops.OFF.trusted
    assert not ops.OFF.now


@SKIP
def test_the_compiled_functions_agree_here_and_are_not_asked_again(monkeypatch, tmp_path):
    asked, honest = [], check.disagreement
    monkeypatch.setattr(check, "disagreement", lambda: asked.append(1) or honest())
    monkeypatch.setattr(build.Built, "agreed", lambda library: tmp_path / "agreed")
    assert ops.why_not.__wrapped__() == ""
    assert ops.why_not.__wrapped__() == ""
    assert asked == [1]


@SKIP
def test_agreement_that_cannot_be_noted_is_found_again(monkeypatch, tmp_path):
    monkeypatch.setattr(build.Built, "agreed", lambda library: tmp_path / "no folder" / "agreed")
    assert ops.why_not.__wrapped__() == ""
    assert ops.why_not.__wrapped__() == ""


@SKIP
def test_agreement_is_that_of_one_library_with_one_torch(monkeypatch):
    library = build.built()
    name = library.agreed()
    assert name.parent == library.path.parent
    monkeypatch.setattr(build.torch, "__version__", "another")
    assert library.agreed() != name
    assert build.Built(None, "no compiler").agreed() is None


OTHER = """
import sys
from regimen.models.native import build
build.FLAGS = ("-O1", f"-march={sys.argv[1]}", *build.FLAGS[2:])
from regimen.models.native.ops import why_not
print(why_not() or "agrees")
"""


@SKIP
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86-64 processors")
@pytest.mark.parametrize("kind", ["x86-64", "x86-64-v3"])
def test_registers_of_another_width_give_the_same(kind, monkeypatch, tmp_path):
    """Vectors of 4 and of 8 numbers, whatever this machine has."""
    if kind == "x86-64-v3" and "avx2" not in build.cpu_facts()[1]:
        pytest.skip("no AVX2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(build.SWITCH, raising=False)
    done = subprocess.run(
        [sys.executable, "-c", OTHER, kind], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "agrees"
