"""Run directories: whole files, hashes, the manifest last, a cache by content."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen import files, runs
from regimen.errors import RunError
from regimen.runs import (
    Run,
    atomic_write,
    file_hash,
    is_fresh,
    jsonable,
    publish,
    read_manifest,
    source_key,
    tree_hash,
    why_stale,
)

KEY = {"settings": "a", "code": "b"}


def make(directory: Path, *, key: dict[str, str] | None = None, speed: float = 1.0) -> Run:
    run = Run.start(directory, stage="tune", key=key or KEY, settings={"seed": 0, "rate": 1e-4})
    run.write_json("summary.json", {"loss": 2.5})
    run.log({"step": 1, "loss": 2.5, "tokens_per_second": speed})
    run.log({"step": 2, "loss": float("nan"), "tokens_per_second": speed})
    run.path("final/model.safetensors").write_bytes(b"weights")
    run.finish(volatile={"gpu": "none"})
    return run


def test_a_finished_stage_lists_every_file_with_its_hash(tmp_path: Path) -> None:
    directory = tmp_path / "tune"
    make(directory)
    manifest = read_manifest(directory)
    assert (manifest.stage, manifest.key) == ("tune", KEY)
    listed = {**manifest.files, **manifest.volatile["files"]}
    found = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}
    assert set(listed) == found - {"manifest.json"}
    for name, digest in listed.items():
        assert file_hash(directory / name) == digest
    assert manifest.volatile["gpu"] == "none"
    assert {"started", "seconds", "machine", "versions"} <= set(manifest.volatile)
    assert not list(directory.rglob("*.tmp"))


def test_two_equal_runs_are_equal_to_the_byte_but_for_the_volatile_part(tmp_path: Path) -> None:
    make(tmp_path / "a" / "tune", speed=1.0)
    make(tmp_path / "b" / "tune", speed=7.0)
    one, two = (json.loads((tmp_path / x / "tune/manifest.json").read_text()) for x in "ab")
    assert one["volatile"]["files"] != two["volatile"]["files"]
    assert one["volatile_fields"] == {"metrics.jsonl": list(runs.VOLATILE_FIELDS)}
    del one["volatile"], two["volatile"]
    assert json.dumps(one) == json.dumps(two)
    for name in one["files"]:
        first, second = (tmp_path / x / "tune" / name for x in "ab")
        assert first.read_bytes() == second.read_bytes()
    assert read_manifest(tmp_path / "a/tune").content_key == (
        read_manifest(tmp_path / "b/tune").content_key
    )


def test_another_loss_is_another_content(tmp_path: Path) -> None:
    make(tmp_path / "a")
    run = Run.start(tmp_path / "b", stage="tune", key=KEY)
    run.log({"step": 1, "loss": 2.6})
    run.finish()
    assert read_manifest(tmp_path / "a").content_key != read_manifest(tmp_path / "b").content_key


def test_what_is_up_to_date_is_fresh(tmp_path: Path) -> None:
    assert why_stale(tmp_path / "tune", KEY) == ["never run"]
    make(tmp_path / "tune")
    assert is_fresh(tmp_path / "tune", KEY)
    assert is_fresh(tmp_path / "tune", dict(reversed(KEY.items())))


@pytest.mark.parametrize(
    ("key", "reasons"),
    [
        ({**KEY, "code": "c"}, ["code changed"]),
        ({**KEY, "templates": "t"}, ["templates is new"]),
        ({"settings": "a"}, ["code is gone"]),
        ({"settings": "x", "code": "y"}, ["settings changed", "code changed"]),
    ],
)
def test_what_changed_is_named(tmp_path: Path, key: dict[str, str], reasons: list[str]) -> None:
    make(tmp_path / "tune")
    assert why_stale(tmp_path / "tune", key) == reasons
    assert not is_fresh(tmp_path / "tune", key)


@pytest.mark.parametrize("name", ["final/model.safetensors", "metrics.jsonl"])
def test_a_file_that_has_gone_is_noticed(tmp_path: Path, name: str) -> None:
    make(tmp_path / "tune")
    (tmp_path / "tune" / name).unlink()
    assert why_stale(tmp_path / "tune", KEY) == [f"{name} is missing"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"stage": "tune"}', '{"stage": 1, "key": [], "files": {}}']
)
def test_a_manifest_that_cannot_be_read_is_not_a_result(tmp_path: Path, text: str) -> None:
    make(tmp_path / "tune")
    (tmp_path / "tune/manifest.json").write_text(text)
    assert why_stale(tmp_path / "tune", KEY) == ["made by another version"]
    with pytest.raises(RunError, match="run-manifest"):
        read_manifest(tmp_path / "tune")
    make(tmp_path / "tune")
    assert is_fresh(tmp_path / "tune", KEY)


def test_a_newer_schema_is_another_version(tmp_path: Path) -> None:
    make(tmp_path / "tune")
    path = tmp_path / "tune/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    assert why_stale(tmp_path / "tune", KEY) == ["made by another version"]


def test_an_unfinished_stage_is_made_again_from_the_start(tmp_path: Path) -> None:
    directory = tmp_path / "tune"
    run = Run.start(directory, stage="tune", key=KEY)
    run.write_text("half.txt", "partial")
    run.path("checkpoint-10/model.safetensors").write_bytes(b"par")
    assert (directory / "unfinished.json").is_file()
    assert why_stale(directory, KEY) == ["not finished"]
    with pytest.raises(RunError, match="is not finished"):
        read_manifest(directory)
    make(directory)
    assert is_fresh(directory, KEY)
    assert not (directory / "half.txt").exists()
    assert not (directory / "checkpoint-10").exists()
    assert not (directory / "unfinished.json").exists()


def test_a_stale_stage_leaves_nothing_behind(tmp_path: Path) -> None:
    make(tmp_path / "tune")
    (tmp_path / "tune/extra").mkdir()
    Run.start(tmp_path / "tune", stage="tune", key={"settings": "new"})
    assert [path.name for path in (tmp_path / "tune").iterdir()] == ["unfinished.json"]


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "keep.txt").write_text("keep")
    make(tmp_path / "tune")
    (tmp_path / "tune/link").symlink_to(mine)
    Run.start(tmp_path / "tune", stage="tune", key={})
    assert (mine / "keep.txt").read_text() == "keep"
    assert not (tmp_path / "tune/link").exists()


def test_files_that_no_run_wrote_are_moved_and_not_removed(tmp_path: Path) -> None:
    directory = tmp_path / "tune"
    for number in (1, 2):
        directory.mkdir()
        (directory / "thesis.txt").write_text("mine")
        run = Run.start(directory, stage="tune", key=KEY)
        assert run.moved_to == tmp_path / f"tune.old-{number}"
        assert (run.moved_to / "thesis.txt").read_text() == "mine"
        assert not (directory / "thesis.txt").exists()
        (directory / "unfinished.json").unlink()
        directory.rmdir()


def test_the_working_directory_is_never_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "deep")
    for directory in (Path(), tmp_path):
        with pytest.raises(RunError, match="working directory"):
            Run.start(directory, stage="tune", key=KEY)
    assert (tmp_path / "deep/mine.txt").read_text() == "mine"


@pytest.mark.parametrize("finished", [True, False])
def test_the_directory_of_another_stage_is_left_alone(tmp_path: Path, finished: bool) -> None:
    run = Run.start(tmp_path / "x", stage="tune", key=KEY)
    run.write_text("model.txt", "weights")
    if finished:
        run.finish()
    with pytest.raises(RunError, match="belongs to the stage 'tune'"):
        Run.start(tmp_path / "x", stage="build", key=KEY)
    assert (tmp_path / "x/model.txt").read_text() == "weights"


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for directory in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(RunError, match="cannot be written"):
            Run.start(directory, stage="tune", key=KEY)


def test_the_directory_of_a_whole_run_keeps_its_stages(tmp_path: Path) -> None:
    make(tmp_path / "run/tune")
    for _ in range(2):
        whole = Run.start(
            tmp_path / "run", stage="run", key={"tune": "k"}, settings={}, clear=False
        )
        assert is_fresh(tmp_path / "run/tune", KEY)
        publish(tmp_path / "run/tune", whole.path("copy"))
        whole.write_json("evaluation.json", {})
        manifest = whole.finish()
    names = set(manifest.files)
    assert {"evaluation.json", "settings.yaml", "copy/summary.json"} <= names
    assert not [name for name in names if name.startswith("tune/")]
    assert is_fresh(tmp_path / "run", {"tune": "k"})


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_names_stay_inside_the_directory(tmp_path: Path, name: str) -> None:
    run = Run.start(tmp_path / "tune", stage="tune", key=KEY)
    with pytest.raises(ValueError, match="not a name inside"):
        run.path(name)


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = atomic_write(tmp_path / "a.txt", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, "new and longer")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_finish_that_fails_leaves_the_stage_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.start(tmp_path / "tune", stage="tune", key=KEY)
    run.write_text("a.txt", "a")

    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        run.finish()
    assert why_stale(tmp_path / "tune", KEY) == ["not finished"]


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    path = atomic_write(tmp_path / "new/place/a.txt", "é\r\n\n")
    assert path.read_bytes() == b"\xc3\xa9\r\n\n"
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_half_a_surrogate_pair_is_written_and_read_back(tmp_path: Path) -> None:
    run = Run.start(tmp_path / "tune", stage="tune", key=KEY)
    path = run.write_json("a.json", {"answer": "\ud83d"})
    run.log({"answer": "\ud83d"})
    run.finish()
    assert json.loads(path.read_text()) == {"answer": "\ud83d"}
    assert json.loads((tmp_path / "tune/metrics.jsonl").read_text()) == {"answer": "\ud83d"}


def test_publishing_replaces_a_whole_directory(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / f"{name}.txt").write_text(name)
    target = tmp_path / "out/copy"
    publish(tmp_path / "one", target)
    publish(tmp_path / "two", target)
    assert [p.relative_to(target).as_posix() for p in target.rglob("*.txt")] == ["sub/two.txt"]
    assert [p.name for p in target.parent.iterdir()] == ["copy"]
    publish(tmp_path / "one/sub/one.txt", tmp_path / "out/file.txt")
    assert (tmp_path / "out/file.txt").read_text() == "one"


def test_the_hash_of_a_tree_covers_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "t/sub").mkdir(parents=True)
    file = tmp_path / "t/sub/a.txt"
    file.write_text("a")
    first = tree_hash(tmp_path / "t")
    os.utime(file, (0, 0))
    assert tree_hash(tmp_path / "t") == first
    file.write_text("b")
    second = tree_hash(tmp_path / "t")
    file.rename(tmp_path / "t/sub/b.txt")
    third = tree_hash(tmp_path / "t")
    assert len({first, second, third}) == 3
    assert tree_hash(tmp_path / "t/sub/b.txt") == file_hash(tmp_path / "t/sub/b.txt")
    with pytest.raises(RunError, match="there is nothing at"):
        tree_hash(tmp_path / "absent")


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_hash(tmp_path / "abc") == known


def test_the_key_of_sources_follows_their_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "regimen"
    (package / "part/deep").mkdir(parents=True)
    for name in ("files.py", "other.py", "part/__init__.py", "part/deep/a.py", "part/notes.txt"):
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(files, "__file__", str(package / "files.py"))
    before = source_key(["regimen.part"])
    (package / "other.py").write_text("x = 2\n")
    (package / "part/notes.txt").write_text("changed")
    assert source_key(["regimen.part"]) == before
    both = source_key(["regimen.part", "regimen.other"])
    assert both == source_key(["regimen.other", "regimen.part"])
    (package / "part/deep/a.py").write_text("x = 2\n")
    assert source_key(["regimen.part"]) != before


@pytest.mark.parametrize("name", ["os", "regimen.no_such_module", ""])
def test_only_modules_of_regimen_have_a_source_key(name: str) -> None:
    with pytest.raises(ValueError, match="not a module of regimen"):
        source_key([name])


def test_records_of_any_library_become_json() -> None:
    import numpy as np

    @dataclass
    class Point:
        x: int
        where: PurePosixPath

    value = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": (1, {2, 1}),
        "d": Point(1, PurePosixPath("a/b")),
        "e": float("inf"),
        4: None,
    }
    assert jsonable(value) == {
        "a": 0.5,
        "b": 3,
        "c": [1, [1, 2]],
        "d": {"x": 1, "where": "a/b"},
        "e": None,
        "4": None,
    }
    with pytest.raises(TypeError, match="object has no JSON form"):
        jsonable({"a": object()})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_the_json_form_can_be_written_and_does_not_change_again(value: Any) -> None:
    form = jsonable(value)
    assert json.loads(json.dumps(form, allow_nan=False)) == form
    assert jsonable(form) == form


def test_runs_need_no_pydantic_and_no_torch() -> None:
    script = (
        "import sys, regimen.runs, regimen.console;"
        "print([m for m in ('pydantic', 'torch', 'rich', 'numpy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
