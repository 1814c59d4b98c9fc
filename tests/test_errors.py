"""The errors a user sees: all parts shown, near matches, one tree."""

from __future__ import annotations

import pytest

from regimen import errors
from regimen.errors import DataError, RegimenError, near


def test_all_parts_are_shown_in_order() -> None:
    error = DataError(
        "row 3 has no answer",
        slug="data-answer",
        where="a.jsonl:3",
        got="{}",
        expected="x",
        fix="y",
    )
    lines = str(error).splitlines()
    assert lines[0] == "row 3 has no answer [data-answer]"
    assert [line.split()[0] for line in lines[1:]] == ["where:", "got:", "expected:", "fix:"]
    assert error.render() == str(error)


def test_parts_that_are_not_known_are_left_out() -> None:
    assert str(DataError("no rows", slug="data-empty")) == "no rows [data-empty]"


def test_every_error_is_a_regimen_error_and_drawn_in_the_tree() -> None:
    found = [
        cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)
    ]
    assert len(found) > 5
    for cls in found:
        assert issubclass(cls, RegimenError)
        assert cls.__name__ in (errors.__doc__ or "")
    for cls in (ValueError, TypeError):
        assert not issubclass(RegimenError, cls)


@pytest.mark.parametrize(("name", "expected"), [("anwser", "'answer'"), ("pth", "'path'")])
def test_near_names_the_closest(name: str, expected: str) -> None:
    assert near(name, {"answer", "path", "weight"}) == f"Did you mean {expected}?"


def test_near_lists_all_names_where_none_is_close() -> None:
    assert near("zzz", ["b", "a"]) == "Known: a, b."
