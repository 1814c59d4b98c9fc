"""What is sent to the process that renders: the columns that a template may look up, no others."""

from __future__ import annotations

import os

import pytest

from regimen.instances.template_process import PIPE_BYTES, widen
from regimen.instances.templates import RenderFailure, Rendering, RenderJob, TemplateWorker

fcntl = pytest.importorskip("fcntl")
LARGE = "x" * 100_000


def test_columns_that_no_source_reads_stay_here() -> None:
    worker = TemplateWorker()
    row = {"a": "one", "b": "two", "c": "three", "d": LARGE}
    jobs = [RenderJob(("{{ a }}", "{{ b }}"), row, "{{ c }}")]
    payload = worker._chunk(iter(jobs), False).payload
    assert all(word in payload for word in (b"one", b"two", b"three"))
    assert len(payload) < 1_000
    # a source that cannot be compiled says in the worker what is wrong with it
    broken = [RenderJob(("{{ a }", "{{ b }}"), row)]
    assert len(worker._chunk(iter(broken), False).payload) > len(LARGE)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if a is defined and b %}{{ b }}{% endif %}", "two"),
        ("{% if not b %}{% set x = 1 %}{% endif %}{{ x | default('none') }}", "column"),
        ("{% macro m(b) %}{{ b }}{{ a }}{% endmacro %}{{ m('m') }}", "mone"),
        ("{% for b in c %}{{ b }}{% endfor %}{{ b }}", "12two"),
        ("{% block k %}{{ a }}{{ c | join(b) }}{% endblock %}", "one1two2"),
        ("{% set b = b ~ a %}{{ b }}", "twoone"),
        ("{% filter replace(a, b) %}{{ a }}{% endfilter %}", "two"),
        ("{{ c | map('string') | map('replace', '1', a) | join }}", "one2"),
    ],
)
def test_every_way_to_a_column_finds_it(source: str, text: str) -> None:
    row = {"a": "one", "b": "two", "c": [1, 2], "x": "column", "unread": {1, 2}}
    with TemplateWorker() as worker:
        assert worker.render([RenderJob((source, ""), row)]) == [Rendering((text, ""))]


def test_a_value_that_is_no_json_fails_where_it_is_read() -> None:
    row = {"a": "one", "b": {1, 2}}
    with TemplateWorker() as worker:
        unread, read, missing = worker.render(
            [
                RenderJob(("{{ a }}", ""), row),
                RenderJob(("{{ b }}", ""), row),
                RenderJob(("{{ unread }}", ""), {"a": "", "unreadd": LARGE}),
            ]
        )
    assert unread == Rendering(("one", ""))
    assert isinstance(read, RenderFailure)
    assert "not JSON" in read.got
    # columns that were not sent are still known here
    assert isinstance(missing, RenderFailure)
    assert "unreadd" in missing.fix


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="the system has no such call")
def test_a_pipe_holds_a_chunk() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as pipe:
        narrow = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
        widen(pipe)
        assert fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) >= max(narrow, PIPE_BYTES)


def test_what_is_no_pipe_stays_as_it_is(tmp_path) -> None:
    with (tmp_path / "file").open("wb") as file:
        widen(file)
        file.write(b"1")
    assert (tmp_path / "file").read_bytes() == b"1"
