"""What is printed: plain where there is no terminal, harmless, inside 100 columns."""

from __future__ import annotations

import io
import json
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen import console
from regimen.console import Lines
from regimen.errors import DataError
from regimen.layout import clean, duration, table_lines, width_of


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Inside the test only: pytest exchanges the streams after its fixtures are made."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "CI", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return stream


def test_a_line_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    console.line("built 3 instances")
    console.line()
    assert capsys.readouterr() == ("built 3 instances\n\n", "")


def test_data_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.line("a\x1b[2Jb\x07\x9bc\x7f\r\n\td")
    assert capsys.readouterr().out == "a␛[2Jb␇\ufffdc␡␍\n\td\n"


@given(st.text())
def test_clean_text_has_no_control_characters_and_keeps_the_rest(text: str) -> None:
    shown = clean(text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        if before in "\n\t" or before.isprintable():
            assert after == before
    assert not [c for c in shown if (ord(c) < 32 or 127 <= ord(c) < 160) and c not in "\n\t"]


def test_an_encoding_without_the_character_is_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.line("naïve ⟦x⟧")
    assert raw.getvalue() == b"na?ve ?x?\n"


def test_an_error_shows_all_its_parts_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    console.error(DataError("row 3 is bad\x1b", slug="data-row", where="a.jsonl:3", fix="mend it"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "error: row 3 is bad␛ [data-row]"
    assert "a.jsonl:3" in err
    assert "mend it" in err


def test_a_result_is_one_line_of_json_even_in_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with console.quiet():
        console.line("not shown")
        console.table("t", ["a"], [[1]])
        console.masked_tokens(["a"], [True])
        with console.progress(3, "work") as bar:
            bar.advance(3, loss=1.0)
        console.result({"score": 0.5, "text": "é\n", "nan": float("nan")})
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    assert json.loads(out) == {"score": 0.5, "text": "é\n", "nan": None}
    console.line("shown again")
    assert capsys.readouterr().out == "shown again\n"


def test_a_table_lines_up(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["base", 0.123456, 1200, None], ["tuned\nnow", 12.0, 5, True], ["日本", 0.5, 7, False]]
    console.table("Systems", ["system", "score", "items", "ok"], rows)
    assert capsys.readouterr().out.splitlines() == [
        "Systems",
        "system      score  items  ok",
        "base       0.1235  1,200",
        "tuned⏎now      12      5  yes",
        "日本          0.5      7  no",
    ]


@given(
    st.integers(1, 14).flatmap(
        lambda n: st.lists(st.lists(st.text(max_size=80), min_size=n, max_size=n), min_size=1)
    )
)
def test_a_table_fits_a_hundred_columns(rows: list[list[str]]) -> None:
    lines = table_lines(rows[0], rows[1:])
    assert len(lines) == len(rows)
    for text in lines:
        assert width_of(text) <= 100
        assert "\n" not in text


def test_a_short_row_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="one cell for each column"):
        table_lines(["a", "b"], [[1]])


def test_an_empty_table_is_its_head() -> None:
    assert table_lines(["a", "b"], []) == ["a  b"]


def test_what_is_cut_says_so() -> None:
    [_, row] = table_lines(["a", "b"], [["x" * 300, "y"]])
    assert row == "x" * 96 + "…  y"


def test_learned_tokens_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    console.masked_tokens(["Q", ": 2+2", "\nA:", " 4", "<end>"], [False, False, False, True, True])
    assert capsys.readouterr().out == "2 of 5 tokens learned (40.0%)\nQ: 2+2\nA:⟦ 4<end>⟧\n"


def test_weights_are_shown_and_weight_zero_is_not_learned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.masked_tokens(["a", "b", "c"], [True, True, True], [1.0, 0.5, 0.0])
    assert capsys.readouterr().out == "2 of 3 tokens learned (66.7%)\n⟦a⟧⟦b⟧×0.5c\n"


def test_a_mask_has_one_value_for_each_token() -> None:
    with pytest.raises(ValueError, match="shorter"):
        console.masked_tokens(["a", "b"], [True])


def test_an_empty_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    console.masked_tokens([], [])
    assert capsys.readouterr().out.startswith("0 of 0 tokens learned")


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    console.masked_tokens(["[bold]a", "b\n"], [False, True])
    console.error(DataError("bad [red]row[/red]", slug="data-row"))
    console.table("T", ["a"], [["[x]"]])
    shown = terminal.getvalue()
    assert "\x1b[32m" in shown
    assert "[bold]a" in shown
    assert "bad [red]row[/red]" in shown
    assert "[x]" in shown


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with console.progress(2, "tune", "steps") as bar:
        bar.advance(loss=2.5)
        bar.advance(loss=1.25)
    assert "tune" in terminal.getvalue()
    assert "loss 1.25" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def steps(total: int | None, number: int, seconds: float) -> list[tuple[float, str]]:
    clock, shown = Clock(), []
    lines = Lines(
        total=total,
        description="tune",
        unit="steps",
        clock=clock,
        write=lambda text: shown.append((clock.now, text)),
    )
    for step in range(number):
        clock.now += seconds
        lines.advance(loss=1 / (step + 1))
    lines.close()
    return shown


def test_without_a_terminal_a_line_is_due_every_five_seconds() -> None:
    shown = steps(total=100, number=100, seconds=0.5)
    times = [when for when, _ in shown]
    assert times == [*range(5, 51, 5), 50]
    assert shown[0][1] == "tune: 10/100 steps (10%), 2.0 steps/s, 45 s left, loss 0.1"
    assert shown[-1][1] == "tune: 100/100 steps (100%), 2.0 steps/s, loss 0.01"


@given(st.floats(0.01, 30), st.integers(1, 60))
def test_lines_are_at_least_five_seconds_apart_but_for_the_last(
    seconds: float, number: int
) -> None:
    times = [when for when, _ in steps(total=None, number=number, seconds=seconds)][:-1]
    assert all(b - a >= 5 for a, b in pairwise(times))


def test_a_short_loop_says_nothing() -> None:
    assert steps(total=4, number=4, seconds=1) == []


def test_slow_and_endless_work_is_described() -> None:
    shown = steps(total=None, number=2, seconds=20)
    assert shown[0][1] == "tune: 1 steps, 20.0 s each, loss 1"


def test_progress_without_a_terminal_is_quick_and_plain(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with console.progress(2, "tune") as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (133, "2 min 13 s"), (3900, "1 h 5 min")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
