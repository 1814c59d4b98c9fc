"""pytest tests/stages/test_guarded.py: functions in a process of their own."""

from pathlib import Path

import pytest

from regimen.errors import SettingsError
from regimen.settings.base import FunctionSettings
from regimen.stages.guarded import FunctionFailed, GuardedFunction, guarded

CODE = """
import os
import time

CALLS = []


class Own(Exception):
    pass


def rate(text, factor=1.0):
    CALLS.append(text)
    print("this must not come between the answers")
    if text == "hang":
        time.sleep(60)
    if text == "leave":
        os._exit(0)
    if text == "raise":
        raise OSError("no such thing")
    if text == "own":
        raise Own("a kind of error of one's own")
    if text == "text":
        return "seven"
    return factor * len(CALLS)
"""


@pytest.fixture
def rate(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(CODE)
    made = GuardedFunction(str(file), "rate", {"factor": 2.0}, 60.0)
    yield made
    made.close()


def test_numbers_come_back_and_failures_say_why(rate):
    assert [rate("a"), rate("b")] == [2.0, 4.0]
    with pytest.raises(FunctionFailed, match="OSError: no such thing"):
        rate("raise")
    with pytest.raises(FunctionFailed, match="ValueError"):
        rate("text")
    with pytest.raises(FunctionFailed, match="Own: a kind of error"):
        rate("own")
    assert rate("c") == 12.0  # the same process still
    rate.seconds = 0.2
    with pytest.raises(FunctionFailed, match=r"within 0\.2 seconds"):
        rate("hang")
    rate.seconds = 60.0
    assert rate("d") == 2.0  # a new one
    with pytest.raises(FunctionFailed, match="ended its process"):
        rate("leave")
    assert rate("e") == 2.0


def test_a_function_that_is_not_there_is_an_error(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(CODE)
    with pytest.raises(SettingsError):
        GuardedFunction(str(file), "rates", {}, 1.0)("a")
    with pytest.raises(SettingsError):
        GuardedFunction(str(Path("missing.py")), "rate", {}, 1.0)("a")


@pytest.mark.parametrize("code", ["import nothing_like_it", "def rate(text) return 1", "1 / 0"])
def test_a_file_that_cannot_be_run_is_an_error(tmp_path, code):
    file = tmp_path / "own.py"
    file.write_text(code)
    with pytest.raises(SettingsError, match="cannot be run") as raised:
        guarded(FunctionSettings(file=str(file), function="rate"), 1.0)
    assert raised.value.slug == "user-code-fails"
    assert "Error: " in raised.value.got
