"""Panels side by side: no line too wide, nothing lost without a count."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regimen import console
from regimen.layout import COLUMNS, Panel, panel_lines, shortened, width_of, wrapped
from test_console import use_terminal

ARABIC = "ما هي عاصمة فرنسا؟"
CHINESE = "把下面的单词按字母顺序排列，并且只写出答案。"
COMBINING = "e\u0301te\u0301 n\u0303andu\u0301"
HANGUL = "\u1112\u1161\u11ab\u1100\u1173\u11af"
TEXTS = st.text(st.one_of(st.sampled_from("ab \n\t\r中文한e\u0301\u202e\u0600ا"), st.characters()))


def joined(lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in parts) for parts in lines]


@given(TEXTS, st.integers(2, 40))
def test_wrapped_lines_are_the_text_and_fit(text: str, width: int) -> None:
    spans = list(wrapped(text, width))
    shown = [text[a:b] for a, b in spans]
    assert "".join(shown) == text.replace("\n", "")
    for line in shown:
        assert width_of(line.rstrip(" \t\u3000").replace("\t", "    ")) <= max(width, 4)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("sort the words", 9, ["sort the ", "words"]),
        ("incomprehensible", 6, ["incomp", "rehens", "ible"]),
        ("a\n\n  b", 9, ["a", "", "  b"]),
        ("你好世界", 5, ["你好", "世界"]),
        ("ab你好", 4, ["ab你", "好"]),
        ("e\u0301" * 4, 2, ["e\u0301" * 2] * 2),
        ("", 5, [""]),
        ("ab  cd", 2, ["ab  ", "cd"]),
    ],
)
def test_lines_end_at_spaces_or_between_wide_characters(
    text: str, width: int, lines: list[str]
) -> None:
    assert [text[a:b] for a, b in wrapped(text, width)] == lines


@pytest.mark.parametrize(
    ("text", "columns"),
    [(CHINESE[:3], 6), (COMBINING, 9), (HANGUL, 4), ("a\u200db", 2), ("a\u20dd", 1)],
)
def test_marks_take_no_room_and_wide_characters_two_columns(text: str, columns: int) -> None:
    assert width_of(text) == columns


@given(TEXTS, st.integers(0, 400), st.integers(30, 60))
@example("a" * 999, 10, 30)
@example("\n" * 50, 0, 30)
def test_what_is_left_out_of_a_long_text_is_counted(text: str, times: int, width: int) -> None:
    text = text.replace("…", ".").replace("\t", " ") * times
    lines = shortened(text, width, 3, 2)
    assert len(lines) <= 6
    cuts = [line for line in lines if line.startswith("… ")]
    if not cuts:
        assert len(list(wrapped(text, width))) == len(lines)
        return
    (cut,) = cuts
    count = int(re.sub(r"\D", "", cut))
    shown = "".join(line for line in lines if line != cut)
    gone = sum(map(str.isspace, text))
    assert len(text) - gone <= count + len(shown) <= len(text)


def test_a_megabyte_is_cut_to_a_few_lines_with_an_exact_count() -> None:
    text = "start " + "x" * 1_000_000 + " end"
    lines = shortened(text, 40, 3, 2)
    assert lines[0] == "start"
    assert lines[-1].endswith(" end")
    seen = sum(map(len, lines[:3])) + len(" ") + sum(map(len, lines[4:]))
    assert lines[3] == f"… {len(text) - seen:,} characters left out …"


@pytest.mark.parametrize("text", ["\u0301" * 1_000_000, " " * 1_000_000, "क" + "ा" * 100_000])
def test_a_megabyte_without_width_or_ends_still_makes_few_short_lines(text: str) -> None:
    lines = shortened(text, 40, 3, 2)
    assert 1 < len(lines) <= 6
    assert all(width_of(line) <= 40 and len(line) <= 400 for line in lines)


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=5), st.integers(40, 100))
@example([(ARABIC, ARABIC * 9, CHINESE * 4), (COMBINING, CHINESE * 9, "\u202eabc")], 100)
def test_panels_never_exceed_the_columns(texts: list[tuple[str, str, str]], columns: int) -> None:
    panels = [Panel(title, ((body, ""), (title, "green")), remark) for title, body, remark in texts]
    for line in joined(panel_lines(panels, columns)):
        assert width_of(line) <= columns
        assert "\n" not in line
        assert "\u202e" not in line


def test_neighbours_stand_level_and_the_last_stands_alone() -> None:
    panels = [
        Panel("one", (("a\nb\nc", ""), ("yes", "green")), "5 characters"),
        Panel("two", (("a", ""), ("no", "green"))),
        Panel("three", (("x", ""),)),
    ]
    lines = joined(panel_lines(panels, COLUMNS))
    assert [re.split("[│┼]", line)[0].strip(" ─╌") for line in lines] == [
        *("one", "5 characters", "", "a", "b", "c", "", "yes"),
        *("", "three", "", "x"),
    ]
    answers = next(line for line in lines if line.startswith("yes"))
    assert answers.partition(" │ ")[2] == "no"
    assert {line.index(bar) for line in lines for bar in "│┼" if bar in line} == {49}


def test_a_narrow_terminal_has_one_column() -> None:
    panels = [Panel("one", (("a b " * 20, ""),)), Panel("two", (("c", ""),))]
    lines = joined(panel_lines(panels, 50))
    assert not any("│" in line for line in lines)
    assert max(map(width_of, lines)) == 50


def test_text_from_right_to_left_does_not_move_its_neighbour() -> None:
    panels = [Panel("ar", ((ARABIC, ""),)), Panel("en", (("a city", ""),))]
    (line,) = (one for one in joined(panel_lines(panels)) if "city" in one)
    assert line.startswith(f"\u2068{ARABIC}\u2069 ")
    assert "\u2068" not in line.partition("│")[2]


def test_panels_on_a_terminal_are_coloured_and_piped_ones_are_plain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    panels = [Panel("one", (("ask\x1b[2J", ""), ("told", "green"))), Panel("two", (("b", ""),))]
    console.panels(panels)
    plain = capsys.readouterr().out
    assert "\x1b" not in plain
    assert not [line for line in plain.splitlines() if line.endswith(" ")]
    stream = use_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "70")
    console.panels(panels)
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    drawn = stream.getvalue()
    assert "\x1b[32mtold" in drawn
    assert "[2J" in drawn
    assert "\x1b[2J" not in drawn
    assert all(width_of(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 70 for line in drawn.splitlines())


def test_a_bar_that_waits_shows_nothing_of_a_short_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = use_terminal(monkeypatch)
    with console.progress(3, "coverage", "rows", after=60.0) as bar:
        bar.advance(3)
    assert stream.getvalue() == ""
    with console.progress(3, "coverage", "rows") as bar:
        bar.advance(3)
    assert "coverage" in stream.getvalue()
