"""Rows for the console. Run: pytest tests/evaluation/test_tables.py"""

import copy

import pytest

from regimen.evaluation.tables import (
    breakdown_table,
    buckets_table,
    changed_table,
    paired_table,
    points,
    result_tables,
    retention_tables,
    safety_table,
    systems_table,
    verdict_line,
)

PAIRED = {
    "difference": 0.21,
    "low": 0.17,
    "high": 0.25,
    "verdict": "better",
    "n": 900,
    "clusters": 60,
    "seeds": 3,
    "resolvable": 0.057,
    "p": 0.001,
}
SYSTEMS = {
    "base": {
        "score": 0.4,
        "low": 0.3,
        "high": 0.5,
        "rouge_l": 0.55,
        "failed": 2,
        "empty": 0,
        "scorer_errors": 0,
        "stop_rate": 0.123,
        "finish": {"stop": 1, "length": 2, "error": 2},
    },
    "copy_input": {"score": 0.0, "low": None, "high": None, "rouge_l": 0.1, "failed": 0},
}


def cell(gain, verdict="no evidence"):
    systems = {"base": {"score": 0.1}, "tuned": {"score": 0.1 + gain}}
    paired = {"tuned-base": {**PAIRED, "difference": gain, "verdict": verdict}}
    return {"items": 5, "clusters": 2, "systems": systems, "paired": paired}


RESULT = {
    "changed": {
        "adapter_tensors": 14,
        "answers_compared": 200,
        "answers_differing": 50,
        "share_differing": 0.25,
        "mean_abs_delta_logp": 0.1234,
    },
    "suites": {
        "unseen": {
            "items": 900,
            "clusters": 60,
            "systems": SYSTEMS,
            "paired": {"tuned-base": PAIRED},
            "buckets": {
                "tuned-base": {
                    "regressed": 3,
                    "fixed": 40,
                    "still_wrong": 5,
                    "still_right": 6,
                    "mcnemar_p": 0.002,
                    "mcnemar_mid_p": 0.00123,
                }
            },
            "by_family": {"dates": cell(0.1), "words": cell(0.5), "lists": cell(-0.2)},
        }
    },
    "retention": {},
}


def test_systems():
    table = systems_table(RESULT, "unseen")
    assert table.title == "unseen: 900 items, 60 tasks"
    assert table.columns == ("system", "score", "95% interval", "rouge_l", "stops", "failed")
    assert table.rows[0] == ("base", "40.0%", "[30.0%, 50.0%]", "55.0%", "12.3%", "2")
    assert table.rows[1] == ("copy_input", "0.0%", "-", "10.0%", "-", "0")


def test_paired_and_buckets():
    block = RESULT["suites"]["unseen"]
    row = paired_table(block["paired"], "t").rows[0]
    assert row == ("tuned-base", "+21.0", "[+17.0, +25.0]", "better", "900", "60", "3", "5.7")
    table = buckets_table(RESULT, "unseen")
    assert table.columns[1:5] == ("regressed", "fixed", "still wrong", "still right")
    assert table.rows == (("tuned-base", "3", "40", "5", "6", "0.00123"),)


def test_families_with_the_largest_gain_first():
    table = breakdown_table(RESULT, "unseen")
    assert [row[0] for row in table.rows] == ["words", "dates", "lists"]
    assert table.columns[0] == "family"
    assert table.rows[2][3:6] == ("10.0%", "-10.0%", "-20.0")


def test_every_row_has_a_cell_for_every_column():
    retained = {
        "documents": 9,
        "bytes": 100,
        "systems": {"base": {"bits_per_byte": 2.0, "low": 1.5, "high": 2.5}},
        "paired": {"tuned-base": {**PAIRED, "difference": -0.01, "low": None, "high": None}},
    }
    result = {**RESULT, "retention": retained}
    tables = result_tables(result)
    assert [table.title.split(":")[0] for table in tables] == [
        "Did anything change",
        "unseen",
        "unseen",
        "unseen",
        "Retention",
        "Retention",
    ]
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    levels, differences = retention_tables(result)
    assert levels.rows == (("base", "2.000", "[1.500, 2.500]"),)
    assert differences.rows == (("tuned-base", "-0.010", "-", "better", "-", "900", "60", "3"),)
    panel = {**result, "retention": {**retained, "texts": {"german": retained, "code": retained}}}
    levels, differences = retention_tables(panel)
    assert [row[:2] for row in levels.rows] == [(t, "base") for t in ("all", "german", "code")]
    assert [len(row) for row in differences.rows] == [len(differences.columns)] * 3
    assert changed_table(result).rows[1] == ("answers that differ", "50 of 200 (25.0%)")


def test_blocks_that_were_not_measured_have_no_rows():
    bare = {**RESULT, "changed": {}}
    assert changed_table(bare).rows == ()
    assert retention_tables(bare) == []
    assert result_tables(bare)[0].title.startswith("unseen: 900")


def test_safety():
    def system(rate):
        return {rate: {"score": 0.5, "low": 0.4, "high": 0.6}, "empty": 0.01}

    result = {
        "harmful": {"n": 400, "systems": {"base": system("compliance")}},
        "harmless": {"n": 401, "systems": {"base": system("over_refusal")}},
    }
    assert safety_table(result).rows == (
        ("base", "compliance", "50.0%", "[40.0%, 60.0%]", "1.0%", "400"),
        ("base", "over-refusal", "50.0%", "[40.0%, 60.0%]", "1.0%", "401"),
    )


def test_the_verdict_in_one_line():
    assert verdict_line(RESULT, "unseen") == (
        "tuned is better than base on unseen: +21.0 points [+17.0, +25.0], n = 900, 60 tasks, "
        "3 seeds; differences below 5.7 points would probably be missed"
    )


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"verdict": "worse"}, "tuned is worse than base"),
        ({"verdict": "no difference shown"}, "no difference between tuned and base shown"),
        ({"verdict": "no evidence", "low": None, "high": None}, "no evidence about tuned against"),
    ],
)
def test_other_verdicts(changes, start):
    result = copy.deepcopy(RESULT)
    result["suites"]["unseen"]["paired"]["tuned-base"].update(changes, seeds=1, resolvable=None)
    line = verdict_line(result, "unseen")
    assert line.startswith(start)
    assert line.endswith("60 tasks, 1 seed")


def test_no_value_is_a_dash():
    assert points(None) == "-"
    assert points(-0.004) == "-0.4"
