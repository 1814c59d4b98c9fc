"""From two short models to the whole one: pytest tests/planning/test_fit.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.planning.fit import GROWING, HOLES, MOMENTS, SLACK, Parts, between, extended

sizes = st.integers(0, 10**9)


@given(
    st.dictionaries(st.sampled_from(GROWING), sizes, min_size=len(GROWING)),
    st.dictionaries(st.sampled_from(GROWING), sizes, min_size=len(GROWING)),
    st.tuples(st.integers(1, 3), st.integers(4, 8), st.integers(8, 100)),
)
def test_what_grows_by_layer_is_extended_exactly(
    fixed: dict[str, int], each: dict[str, int], layers: tuple[int, int, int]
) -> None:
    def measured(count: int) -> dict[str, float]:
        return {name: fixed[name] + count * each[name] for name in GROWING} | {"libraries": 7.0}

    found = extended(measured(layers[0]), measured(layers[1]), layers)
    for name in GROWING:
        assert getattr(found, name) == pytest.approx(measured(layers[2])[name])
    allocated = sum(measured(layers[2])[name] for name in GROWING)
    holes = HOLES * (measured(layers[2])["step"] - measured(layers[0])["step"])
    assert found.apart == pytest.approx(SLACK * allocated + holes)
    assert found.above_libraries == pytest.approx((1 + SLACK) * allocated + holes)
    assert found.total == pytest.approx(found.above_libraries + 7)
    assert found.as_dict()["total"] == round(found.total)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_largest_of_the_moments_is_the_peak_of_a_step(moment: str) -> None:
    few, more = (dict.fromkeys(GROWING, 0.0) | {"libraries": 0.0} for _ in range(2))
    # by layers 10 + 2 a layer; 50 whatever the layers
    few, more = few | {"step": 14.0, moment: 50.0}, more | {"step": 18.0, moment: 50.0}
    assert extended(few, more, (2, 4, 10)).step == 50
    assert extended(few, more, (2, 4, 30)).step == 70


def test_blocks_of_the_pool_leave_no_holes() -> None:
    few, more = (dict.fromkeys(GROWING, 0.0) | {"libraries": 0.0} for _ in range(2))
    few, more = few | {"step": 14.0, "idle": 8.0}, more | {"step": 18.0, "idle": 10.0}
    # by layers 10 + 2 a layer, of which 6 + 1 are the pool's
    assert extended(few, more, (2, 4, 30)).apart == pytest.approx(SLACK * 70 + HOLES * 28)


def test_two_models_of_as_many_layers_say_nothing() -> None:
    with pytest.raises(ValueError, match="as many layers"):
        extended({}, {}, (2, 2, 8))


@given(st.floats(0, 1), st.integers(0, 10**9), st.integers(0, 10**9))
def test_sizes_between_two_are_on_the_line_between_them(share: float, few: int, many: int) -> None:
    found = between(Parts(weights=5.0, step=few), Parts(weights=5.0, step=many), share)
    assert found.weights == 5
    assert found.step == pytest.approx(few + share * (many - few))
