"""pytest tests/reports/test_evidence.py"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from regimen.reports.evidence import read_evaluation, split_pair

json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["suites", "systems", "paired", "tuned", "base", "tuned-base", "score", "low",
                 "difference", "by_family", "changed", "retention", "bits_per_byte", "items",
                 "harmful", "compliance", "buckets", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip
objects = st.dictionaries(
    st.sampled_from(["suites", "changed", "retention", "safety", "harmful"]), json_values
)


@given(objects, objects)
def test_any_json_is_read_or_left_out(data: dict[str, Any], safety: dict[str, Any]) -> None:
    evaluation = read_evaluation(data, safety)
    assert (evaluation is None) == (not data and not safety)
    for suite in evaluation.suites if evaluation else ():
        assert all(isinstance(s.score.value, float) for s in suite.systems.values())


def test_the_main_suites_come_first_in_their_order() -> None:
    names = ["zebra", "unseen_languages", "unseen_compositions"]
    evaluation = read_evaluation({"suites": {name: {} for name in names}}, {})
    assert evaluation is not None
    assert [suite.name for suite in evaluation.suites] == [
        "unseen_compositions", "unseen_languages", "zebra",
    ]  # fmt: skip


def test_aligned_is_the_subject_only_without_tuned() -> None:
    def subject(*names: str) -> str:
        systems = {name: {"score": 0.5} for name in names}
        evaluation = read_evaluation({"suites": {"s": {"systems": systems}}}, {})
        assert evaluation is not None
        return evaluation.subject

    assert subject("base", "aligned", "tuned") == "tuned"
    assert subject("base", "aligned") == "aligned"


def test_the_fewest_seeds_count() -> None:
    def pair(seeds: int) -> dict[str, Any]:
        return {"paired": {"tuned-base": {"difference": 0.1, "seeds": seeds}}}

    evaluation = read_evaluation({"suites": {"a": pair(3), "b": pair(1)}}, {})
    assert evaluation is not None
    assert evaluation.seeds == 1


def test_systems_may_have_hyphens_in_their_names() -> None:
    assert split_pair("my-model-base", ["base", "my-model"]) == ("my-model", "base")
    assert split_pair("tuned-base", []) == ("tuned", "base")
    assert split_pair("tuned", []) == ("tuned", "")
