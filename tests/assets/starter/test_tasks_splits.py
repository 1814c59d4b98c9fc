"""What is trained on and what is held out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.assets.starter.tasks import catalogue, families, split
from regimen.assets.starter.tasks.splits import HELD_OUT_FAMILIES
from regimen.records import Task

PARTS = ("train", "unseen_compositions", "unseen_families", "unseen_languages")


def coordinates(task: Task) -> set[tuple[str, str, str]]:
    """Each tag of a task with its language."""
    return {(name, value, task.language) for name, value in task.tags.items()}


@examples(8)
@given(
    st.sets(st.sampled_from(families("en")), max_size=4),
    st.sets(st.sampled_from(["fr", "es"]), max_size=2),
    st.floats(0, 0.3),
    st.integers(0, 99),
)
def test_parts_are_disjoint_and_cover_everything(
    held_families: set[str], held_languages: set[str], share: float, seed: int
) -> None:
    parts = split(catalogue(), sorted(held_families), sorted(held_languages), share, seed)
    assert set(parts) == set(PARTS)
    names = [task.name for part in parts.values() for task in part]
    assert len(names) == len(set(names)) == len(catalogue())
    assert {t.language for t in parts["unseen_languages"]} == held_languages
    assert {t.family for t in parts["unseen_families"]} <= held_families
    assert not {t.family for t in parts["train"]} & held_families
    rest = len(parts["train"]) + len(parts["unseen_compositions"])
    assert len(parts["unseen_compositions"]) == round(share * rest)
    seen = {c for task in parts["train"] for c in coordinates(task)}
    assert all(coordinates(task) <= seen for task in parts["unseen_compositions"])


def test_default_split_is_large_enough_to_train_and_to_test() -> None:
    parts = split(catalogue())
    assert len(parts["train"]) >= 1000
    assert len(parts["unseen_compositions"]) >= 100
    assert {t.family for t in parts["unseen_families"]} == set(HELD_OUT_FAMILIES)
    assert {t.language for t in parts["unseen_languages"]} == {"es"}


def test_held_out_families_use_formats_and_objects_that_training_has() -> None:
    parts = split(catalogue())
    for name in ("format", "object"):
        trained = {(t.tags[name], t.language) for t in parts["train"]}
        held = {(t.tags[name], t.language) for t in parts["unseen_families"]}
        missing = {value for value, language in held - trained if language == "en"}
        assert not missing, name


def test_split_is_seeded_and_keeps_the_order() -> None:
    names = [task.name for task in catalogue()]
    one, same, other = (split(catalogue(), seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one["unseen_compositions"] != other["unseen_compositions"]
    for part in one.values():
        places = [names.index(task.name) for task in part[:50]]
        assert places == sorted(places)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="no task of family"):
        split(catalogue(), families=("picks",))
    with pytest.raises(ValueError, match="no task of language"):
        split(catalogue(), languages=("de",))
    with pytest.raises(ValueError, match=r"0\.\.1"):
        split(catalogue(), share=1.5)
    with pytest.raises(ValueError, match="lower the share"):
        split(catalogue(), share=1.0)
