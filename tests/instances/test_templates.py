"""Templates render in a process of their own, and a bad one costs its own row only."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.errors import TemplateError
from regimen.instances import template_process, template_worker, templates
from regimen.instances.templates import (
    RenderFailure,
    Rendering,
    RenderJob,
    TemplateWorker,
    check_template,
    compile_check,
    missing_columns,
)

VALUES = {"x": "abc", "text": "Hello", "rows": [1, 2, 3], "meta": {"alpha": 1}}
RENDERED = Rendering(("A abc\n", ""))
GOOD = RenderJob(("A {{ x }}\n", ""), VALUES)
STUCK = "{{ ('a' * 999999).rfind('ab' + 'a' * 500000) }}"
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
HUNGRY = "{{ x | center(10 ** 9) }}"
CAPPED = pytest.mark.skipif(sys.platform != "linux", reason="memory is capped on Linux alone")

exhausting = pytest.mark.parametrize(
    ("bad", "error", "limit"),
    [
        pytest.param(HUNGRY, "template_memory", 60.0, marks=CAPPED),
        pytest.param(ENDLESS, "template_timeout", 2.0, marks=pytest.mark.slow),
    ],
    ids=["memory", "time"],
)
"""What ends a worker. The limit of time also holds for the good rows of the same worker, however
busy the machine is; so where a row uses it up, waiting for that takes its time."""


@pytest.fixture(scope="module")
def worker() -> Iterator[TemplateWorker]:
    with TemplateWorker(row_seconds=60.0) as running:
        yield running


def failure(worker: TemplateWorker, template: str) -> RenderFailure:
    """The failure of a template between two good rows, which must render."""
    before, answer, after = worker.render([GOOD, RenderJob((template, ""), VALUES), GOOD])
    assert before == after == RENDERED
    assert isinstance(answer, RenderFailure)
    assert answer.got
    assert answer.fix
    return answer


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{% for i in range(10**9) %}{% endfor %}", "template_memory"),
        pytest.param(HUNGRY, "template_memory", marks=CAPPED),
        ("{{ 'a' * 10**9 }}", "template_memory"),
        ("{{ [1] * 10**9 }}", "template_memory"),
        ("{{ 10 ** (10 ** 9) }}", "template_memory"),
        ("{{ '%1000000000s' % x }}", "template_memory"),
        (
            "{% for i in range(99999) %}{{ text }}{{ text }}{{ text }}{% endfor %}",
            "template_memory",
        ),
        ("{{ x.__class__ }}", "template_attribute"),
        ("{{ x | attr('__class__') }}", "template_attribute"),
        ("{{ '{0.__class__}'.format(x) }}", "template_attribute"),
        ("{{ txt }}", "template_missing_column"),
        ("{{ meta.alpah }}", "template_missing_column"),
        ("{% if %}", "template_syntax"),
        ("{{ x | nofilter }}", "template_syntax"),
        ("{{ 1 / 0 }}", "template_error"),
        ("{{ x.foo }}", "template_error"),
        ("{% include '/etc/hostname' %}", "template_error"),
        ("{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}", "template_error"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "template_error"),
        ("{{ " + "-" * 5000 + "1 }}", "template_error"),
        ("{% for a in rows %}" * 30 + "{% endfor %}" * 30, "template_error"),
    ],
)
def test_a_bad_template_fails_its_own_row_only(
    worker: TemplateWorker, template: str, error: str
) -> None:
    assert failure(worker, template).error == error


def test_a_row_without_end_is_stopped() -> None:
    with TemplateWorker(row_seconds=0.1) as worker:
        for _ in range(2):
            (answer,) = worker.render([RenderJob((ENDLESS, ""), VALUES)])
            assert isinstance(answer, RenderFailure)
            assert (answer.error, answer.got) == ("template_timeout", "no end after 0.1 s")


@pytest.mark.slow
@pytest.mark.parametrize("template", [ENDLESS, STUCK])
def test_a_row_without_end_fails_alone(template: str) -> None:
    """Also one that is stuck in C code, whose worker is killed from outside."""
    with TemplateWorker(row_seconds=2.0) as worker:
        assert failure(worker, template).error == "template_timeout"


def test_a_worker_that_dies_between_batches_is_replaced() -> None:
    before = set(psutil.Process().children())
    with TemplateWorker() as worker:
        assert worker.render([GOOD]) == [RENDERED]
        (child,) = set(psutil.Process().children()) - before
        child.kill()
        assert worker.render([GOOD, GOOD]) == [RENDERED] * 2


def test_an_interrupted_batch_leaves_no_answers_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with TemplateWorker() as worker:
        with monkeypatch.context() as patch:
            patch.setattr(template_process.WorkerProcess, "_receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                worker.render([RenderJob(("stale", ""), {})])
        assert worker.render([GOOD]) == [RENDERED]


def test_no_process_is_left_and_the_worker_can_be_used_again() -> None:
    before = set(psutil.Process().children())
    worker = TemplateWorker()
    for _ in range(2):
        with worker:
            assert len(set(psutil.Process().children()) - before) == 1
            assert worker.render([GOOD]) == [RENDERED]
        assert set(psutil.Process().children()) <= before
    with pytest.raises(ValueError, match="with"):
        worker.render([GOOD])


def test_the_limits_are_told() -> None:
    with TemplateWorker(row_seconds=0.5) as worker:
        limits = worker.limits
    assert limits.row_seconds == 0.5
    assert "0.5 s" in str(limits)
    if sys.platform == "linux":
        assert limits.memory == 512 << 20
        assert "512 MiB" in str(limits)
    assert "no cap" in str(template_process.Limits(None, 2.0, False))


def test_a_missing_column_is_named_with_its_near_name(worker: TemplateWorker) -> None:
    answer = failure(worker, "{{ txt }}")
    assert "'txt'" in answer.got
    assert "'text'" in answer.fix
    nested = failure(worker, "{{ meta.alpah }}")
    assert "'alpah'" in nested.got
    assert "'alpha'" in nested.fix


def test_syntax_errors_name_the_line(worker: TemplateWorker) -> None:
    assert "line 3" in failure(worker, "a\nb\n{% if %}").got


def test_a_value_that_is_not_json_fails_its_own_row(worker: TemplateWorker) -> None:
    odd = RenderJob(("{{ x }}", ""), {"x": b"bytes"})  # type: ignore[dict-item]
    first, answer, last = worker.render([GOOD, odd, GOOD])
    assert first == last == RENDERED
    assert isinstance(answer, RenderFailure)
    assert (answer.error, "bytes" in answer.got) == ("template_error", True)


@exhausting
def test_a_template_that_only_exhausts_is_given_up_and_counted(
    monkeypatch: pytest.MonkeyPatch, bad: str, error: str, limit: float
) -> None:
    monkeypatch.setattr(templates, "PATIENCE", 2)
    with TemplateWorker(row_seconds=limit) as worker:
        answers = worker.render([RenderJob((bad, ""), VALUES)] * 6 + [GOOD])
    failures = [answer for answer in answers if isinstance(answer, RenderFailure)]
    assert [one.error for one in failures] == [error] * 6
    assert ["not tried" in one.got for one in failures] == [False] * 2 + [True] * 4
    assert answers[-1] == RENDERED


@exhausting
def test_a_template_that_renders_some_rows_is_always_tried(
    monkeypatch: pytest.MonkeyPatch, bad: str, error: str, limit: float
) -> None:
    monkeypatch.setattr(templates, "PATIENCE", 1)
    source = "{% if bad %}" + bad + "{% endif %}ok"
    jobs = [RenderJob((source, ""), {"bad": one, "x": ""}) for one in (False, True, True, False)]
    with TemplateWorker(row_seconds=limit) as worker:
        answers = worker.render(jobs)
    assert [answers[0], answers[3]] == [Rendering(("ok", ""))] * 2
    for answer in answers[1:3]:
        assert isinstance(answer, RenderFailure)
        assert answer.error == error
        assert "not tried" not in answer.got


def test_batches_longer_than_a_chunk_keep_their_order(worker: TemplateWorker) -> None:
    jobs = [
        RenderJob(
            (f"{{{{ n }}}} of {n % 3}" if n % 7 else "{{ absent }}", ""), {"n": n, "pad": "p" * n}
        )
        for n in range(1300)
    ]
    for n, answer in enumerate(worker.render(jobs)):
        if n % 7:
            assert answer == Rendering((f"{n} of {n % 3}", ""))
        else:
            assert isinstance(answer, RenderFailure)
    assert worker.render([]) == []


def test_bad_rows_leave_this_process_small(worker: TemplateWorker) -> None:
    process = psutil.Process()
    worker.render([GOOD])
    before = process.memory_info().rss
    for template in ("{{ 'a' * 10**9 }}", "{{ x | center(300000000) }}"):
        failure(worker, template)
        assert compile_check(template) is None
        assert missing_columns(template, ["x"]) == ()
    assert process.memory_info().rss - before < 50 << 20


# no \r: jinja2 makes every line end of a template a \n; no braces: they may open a tag
LITERALS = st.text(st.characters(exclude_characters="{}\r%#"), max_size=20)
NAMES = st.sampled_from(["x", "text", "answer"])


@examples(60)
@given(
    pieces=st.lists(st.one_of(st.tuples(st.just(""), LITERALS), st.tuples(NAMES, st.just("")))),
    values=st.fixed_dictionaries({"x": st.text(), "text": st.text(), "answer": st.integers()}),
)
def test_literals_and_columns_equal_a_naive_replace(
    worker: TemplateWorker, pieces: list[tuple[str, str]], values: dict[str, str | int]
) -> None:
    source = "".join(f"{{{{ {name} }}}}" if name else text for name, text in pieces)
    naive = "".join(str(values[name]) if name else text for name, text in pieces)
    assert worker.render([RenderJob((source, ""), values)]) == [Rendering((naive, ""))]
    check_template(source, values)


def test_missing_columns_are_found_without_rendering() -> None:
    source = "{% for r in rows %}{{ r }}{{ loop.index }}{% endfor %}{{ txt }}{{ range(2) }}"
    assert missing_columns(source, ["rows", "text"]) == ("txt",)
    assert missing_columns("{% if hint is defined %}{{ hint }}{% endif %}", []) == ()
    assert missing_columns("{{ hint | default('') }}", []) == ()
    with pytest.raises(TemplateError, match="template-syntax"):
        missing_columns("{{", [])


def test_check_template_says_what_to_do() -> None:
    check_template("{{ text }}", ["text"])
    with pytest.raises(TemplateError) as caught:
        check_template("{{ txt }}", ["text", "answer"], where="tasks.yaml:3")
    assert caught.value.slug == "template-missing-column"
    assert (caught.value.got, caught.value.where) == ("txt", "tasks.yaml:3")
    assert "'text'" in caught.value.fix
    with pytest.raises(TemplateError) as caught:
        check_template("a\n{% endif %}", ["text"], where="tasks.yaml:3")
    assert caught.value.slug == "template-syntax"
    assert "line 2" in caught.value.got


@pytest.mark.parametrize(
    "source", ["{{ 'a' * 10**9 }}", "{{ 10**(10**9) }}", "{{ '%1000000000s' | format('x') }}"]
)
def test_checks_execute_nothing(source: str) -> None:
    """Constants would be folded while jinja2 compiles, here, outside the sandbox."""
    assert compile_check(source) is None


@pytest.mark.parametrize(
    "source", ["{% include 'a' %}", "{{ x | nofilter }}", "{{ " + "(" * 3000 + " }}"]
)
def test_templates_that_cannot_stand_alone_are_refused(source: str) -> None:
    found = compile_check(source)
    assert found is not None
    assert found.error == "template_syntax"


def worker_command() -> list[str]:
    given = {"paths": [p for p in sys.path if p], "memory": 512 << 20, "row_seconds": 2.0}
    return [sys.executable, "-I", "-S", template_worker.__file__, json.dumps(given)]


def test_the_worker_ends_when_its_input_does() -> None:
    done = subprocess.run(worker_command(), input=b"", capture_output=True, timeout=60, check=True)
    assert set(json.loads(done.stdout)) == {"memory", "timer"}


def test_a_worker_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TemplateError) as caught, TemplateWorker():
        pass
    assert caught.value.slug == "template-worker"
    assert "template_worker.py" in caught.value.fix


@pytest.mark.faults
def test_the_worker_ends_when_this_process_is_killed() -> None:
    script = (
        "import psutil, time\n"
        "from regimen.instances.templates import TemplateWorker\n"
        "with TemplateWorker():\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 120
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_stream_renders_while_the_caller_goes_on(worker: TemplateWorker) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[RenderJob]:
        for n in range(5000):
            taken.append(n)
            yield RenderJob(("{{ n }}", ""), {"n": n})

    made = worker.stream(jobs())
    assert next(made) == Rendering(("0", ""))
    assert len(taken) < 5000
    with pytest.raises(ValueError, match="one stream at a time"):
        worker.render([GOOD])
    assert [one.texts[0] for one in made if isinstance(one, Rendering)] == [
        str(n) for n in range(1, 5000)
    ]
    assert worker.render([GOOD]) == [RENDERED]


def test_a_stream_that_is_left_gives_no_answer_to_the_next(worker: TemplateWorker) -> None:
    made = worker.stream(RenderJob(("{{ n }}", ""), {"n": n}) for n in range(5000))
    next(made)
    made.close()  # type: ignore[attr-defined]
    assert worker.render([GOOD] * 3) == [RENDERED] * 3

    def broken() -> Iterator[RenderJob]:
        yield from [GOOD] * 2000
        raise KeyError("rows")

    with pytest.raises(KeyError, match="rows"):
        worker.render(broken())
    assert worker.render([GOOD]) == [RENDERED]


@exhausting
@pytest.mark.parametrize("place", [0, 1, 700, 1100])
def test_rows_behind_one_that_ends_the_worker_are_sent_again(
    place: int, bad: str, error: str, limit: float
) -> None:
    source = "{% if bad %}" + bad + "{% endif %}{{ n }}"
    jobs = [RenderJob((source, ""), {"bad": n == place, "n": n, "x": ""}) for n in range(1200)]
    with TemplateWorker(row_seconds=limit) as worker:
        answers = worker.render(jobs)
    assert len(answers) == 1200
    for n, answer in enumerate(answers):
        if n == place:
            assert isinstance(answer, RenderFailure)
            assert answer.error == error
        else:
            assert answer == Rendering((str(n), ""))
