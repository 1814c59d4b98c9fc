"""Files of people's labels. Run: pytest tests/judging/test_people.py"""

import json

import pytest

from regimen.errors import DataError
from regimen.judging.people import read_labelled_pairs


def write(tmp_path, rows):
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_labels_of_several_people_with_gaps(tmp_path):
    rows = [
        {"prompt": "p", "a": "x", "b": "y", "labels": ["a", "B", 0], "cluster": "c"},
        {"prompt": "q", "a": "x", "b": "y", "labels": [2, None]},
        {"prompt": "q", "a": "x", "labels": ["a"]},
        {"prompt": "q", "a": "x", "b": "y", "labels": ["a", "left"]},
        {"prompt": "q", "a": "x", "b": "y", "labels": "a"},
        {"prompt": "q", "a": "x", "b": "y", "labels": [None]},
    ]
    found = read_labelled_pairs(write(tmp_path, rows))
    assert found.raters == {"person 1": (1, -1), "person 2": (-1, None), "person 3": (0, None)}
    assert found.clusters == ("c", "q")
    assert len(found.pairs) == 2
    assert [failure.row for failure in found.failures] == [3, 4, 5, 6]
    assert "no text in b" in found.failures[0].got


def test_a_file_without_a_usable_row_is_an_error(tmp_path):
    with pytest.raises(DataError, match="people-labels"):
        read_labelled_pairs(write(tmp_path, [{"prompt": "p"}]))
