"""Options, labels and the answer that goes with them: pytest tests/instances/test_options.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.draws import Draws
from regimen.instances.options import STYLES, Shown, options_of, place_of, show_options

texts = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() and "\n" not in text)
listed = st.lists(texts, min_size=1, max_size=50)
styles = st.sampled_from([*STYLES, "mixed"])


def shown(options: list[str], answer: int = 0, row: int = 0, **how: str | bool) -> Shown:
    return show_options(options, answer, Draws(1, "t", row), **how)  # type: ignore[arg-type]


@given(
    listed, st.integers(0, 99), styles, st.booleans(), st.sampled_from(["label", "text", "both"])
)
def test_the_answer_survives_shuffling_and_labels(
    options: list[str], answer: int, style: str, shuffled: bool, answer_as: str
) -> None:
    answer %= len(options)
    found = shown(options, answer, shuffled=shuffled, style=style, answer_as=answer_as)
    assert sorted(found.permutation) == list(range(len(options)))
    assert found.options == tuple(options[place] for place in found.permutation)
    assert found.permutation[found.position] == answer
    lines = found.block("Options:").split("\n")[1:]
    right = STYLES[found.style].line(found.position, options[answer])
    assert right in "\n".join(lines)
    label = STYLES[found.style].label_at(found.position)
    if not found.labelled or answer_as == "text":
        assert found.answer == options[answer]
    else:
        assert found.answer == {"label": label, "both": f"{label} {options[answer]}"}[answer_as]
    assert found.answer in found.accepted
    assert options[answer] in found.accepted
    assert len(set(found.accepted)) == len(found.accepted)
    if not shuffled:
        assert found.options == tuple(options)


@given(listed, st.integers(0, 99), st.sampled_from(list(STYLES)))
def test_nothing_that_is_accepted_is_the_label_of_another_option(
    options: list[str], answer: int, style: str
) -> None:
    answer %= len(options)
    found = shown(options, answer, style=style)
    if found.labelled:
        labels = [STYLES[found.style].label_at(place) for place in range(len(options))]
        named = {found.options[labels.index(one)] for one in found.accepted if one in labels}
        assert named == {options[answer]}


@pytest.mark.parametrize("style", [name for name in STYLES if STYLES[name].label])
def test_labels_are_all_different_and_too_few_give_way_to_numbers(style: str) -> None:
    most = STYLES[style].most
    labels = [STYLES[style].label_at(place) for place in range(min(most, 100))]
    assert len(set(labels)) == len(labels)
    if most < 100:
        options = [f"option {n} of many" for n in range(most + 1)]
        assert shown(options[:most], style=style).style == style
        found = shown(options, style=style)
        assert found.style == "1."
        assert found.answer == str(found.position + 1)


@pytest.mark.parametrize(
    ("options", "style"),
    [
        (["A", "B", "C"], "A."),
        (["b", "a"], "(A)"),
        (["(A)", "x"], "A)"),
        (["3", "2"], "1."),
        (["1", "x"], "(1)"),
        (["ii", "x"], "(i)"),
    ],
)
def test_options_that_are_labels_themselves_get_none(options: list[str], style: str) -> None:
    for answer in range(len(options)):
        found = shown(options, answer, style=style)
        assert (found.style, found.answer) == ("dash", options[answer])


def test_options_that_are_other_labels_keep_theirs() -> None:
    assert shown(["7", "9"], style="1.").style == "1."
    assert shown(["A", "B"], style="1.").style == "1."


def test_an_option_that_stands_twice_is_right_under_both_labels() -> None:
    found = shown(["x", "y", "x"], 0, shuffled=False, style="A.", answer_as="both")
    assert found.answer == "A x"
    assert set(found.accepted) == {"A x", "x", "A", "C", "C x"}


def test_blank_options_are_not_shown_and_the_others_keep_their_numbers() -> None:
    row = {"options": ["x", None, float("nan"), " ", 7, True]}
    options = options_of(row, ("a",))
    assert options == ("x", "", "", " ", "7", "True")
    found = shown(list(options), 4)
    assert sorted(found.options) == ["7", "True", "x"]
    assert sorted(found.permutation) == [0, 4, 5]
    assert found.permutation[found.position] == 4


@pytest.mark.parametrize("own", [None, [], ["", None], "a, b", {"A": "x"}])
def test_without_options_of_its_own_a_row_has_those_of_its_task(own: object) -> None:
    assert options_of({"options": own}, ("a", "b")) == ("a", "b")
    assert options_of({"options": own}, ("", " ")) == ()


@pytest.mark.parametrize(
    ("answers", "options", "place"),
    [
        (["red"], ["Red", "red"], 1),
        (["RED"], ["blue", "Red"], 1),
        (["scarlet", "red"], ["blue", "red"], 1),
        (["red "], ["blue", "red"], 1),
        (["１"], ["0", "1"], 1),
        (["e\u0301"], ["a", "\u00e9"], 1),
        (["True"], ["true", "false"], 0),
        (["pink"], ["blue", "red"], None),
        (["\u200b"], ["", "red"], None),
        ([], ["red"], None),
    ],
)
def test_the_place_of_an_answer(answers: list[str], options: list[str], place: int | None) -> None:
    assert place_of(answers, options) == place


def test_positions_are_uniform_and_orders_do_not_depend_on_the_style() -> None:
    options = [f"option {n}" for n in range(4)]
    counts = [0] * 4
    for row in range(4000):
        found = shown(options, row % 4, row)
        counts[found.position] += 1
        assert found.permutation == shown(options, row % 4, row, style="(A)").permutation
    # 4000 draws with p = 1/4: five standard deviations are 137
    assert all(abs(count - 1000) < 137 for count in counts), counts


def test_mixed_styles_are_drawn_alike() -> None:
    options = ["some option", "another one"]
    styles = [shown(options, 0, row, style="mixed").style for row in range(5500)]
    # 11 styles, 500 each: five standard deviations are 107
    assert all(abs(styles.count(style) - 500) < 107 for style in STYLES)
