"""pytest tests/evaluation/test_contamination.py"""

import pytest

from regimen.evaluation.answers import answer_row
from regimen.evaluation.contamination import ContaminationCheck, contamination_block
from regimen.evaluation.systems import Answer
from regimen.records import Item, Message

PASSAGE = (
    "the old lighthouse keeper counted every ship that passed before dawn and wrote its name in a "
    "blue book that nobody else was ever allowed to open until the winter storms had gone"
)
TEXT = PASSAGE.split()
OTHER = "how many planets in the solar system have rings that can be seen from the earth at night"


def item(text, **more):
    return Item(
        suite="own", messages=(Message(role="user", content=text),), references=("yes",), **more
    )


def overlap(text, *rows, pieces=False, **more):
    """The overlap of one item with training rows of a turn each."""
    check = ContaminationCheck([item(text, **more)])
    for users in [[row] for row in rows] if pieces else [list(rows)]:
        check.take([[turn] for turn in users] if pieces else [[row] for row in users])
    return check.found()[0]


def changed(step):
    return " ".join("moon" if i % step == step - 1 else word for i, word in enumerate(TEXT))


@pytest.mark.parametrize(
    ("row", "contaminated"),
    [
        (" ".join(TEXT), True),
        (f"Tell me this. {' '.join(TEXT).upper()}!", True),
        (changed(10), True),
        (changed(5), False),
        (" ".join(TEXT[: len(TEXT) * 3 // 4]), True),
        (" ".join(TEXT[: len(TEXT) // 3]), False),
        (OTHER, False),
    ],
    ids=["verbatim", "inside", "1 word in 10", "1 word in 5", "3/4 of it", "1/3 of it", "another"],
)
def test_what_is_found(row, contaminated):
    found = overlap(" ".join(TEXT), OTHER, row, OTHER)
    assert found.contaminated is contaminated
    assert (found.row == 1) is (found.share > 0)


def test_a_translation_is_not_found_and_the_block_says_so():
    said = "le vieux gardien du phare comptait chaque navire qui passait avant l'aube et notait son"
    found = overlap("the old keeper of the lighthouse counted each ship that passed at dawn", said)
    assert not found.contaminated
    rows = answers({"a": 1.0})
    block = contamination_block(rows, {rows[0].item_id: found}, {"rows": 1})
    assert "translations" in block["not_found"]


def test_two_rows_with_half_each_do_not_add_up():
    half = len(TEXT) // 2
    found = overlap(" ".join(TEXT), " ".join(TEXT[:half]), " ".join(TEXT[half + 1 :]))
    assert not found.contaminated
    assert 0.4 < found.share <= 0.5


def test_short_prompts_must_be_equal():
    assert overlap("name a colour", "Name a colour!").contaminated
    assert not overlap("name a colour", "name a colour and an animal").contaminated
    check = ContaminationCheck([item("name a colour")])
    check.take([["hello", "name a colour"]])
    assert check.found()[0].contaminated


def test_the_bare_input_counts_not_the_shared_definition():
    definition = "You get a passage and say in one word who the main person in it is, please"
    asked = item(f"{definition}: {OTHER}", input=OTHER)
    check = ContaminationCheck([asked])
    check.take([[f"{definition}: {' '.join(TEXT)}"]])
    assert not check.found()[0].contaminated
    check.take([[f"another frame {OTHER}"]])
    assert check.found()[0].row == 1


def test_pieces_and_ties_change_nothing():
    rows = (OTHER, " ".join(TEXT), " ".join(TEXT))
    assert overlap(" ".join(TEXT), *rows) == overlap(" ".join(TEXT), *rows, pieces=True)
    assert overlap(" ".join(TEXT), *rows).row == 1


def answers(scores, system="tuned"):
    return [
        answer_row(
            Item(suite="own", messages=(Message(role="user", content=key),), references=("x",)),
            system,
            Answer(text="x"),
            metric="exact",
            score=score,
            metrics={},
        )
        for key, score in scores.items()
    ]


def test_the_block_of_a_suite():
    rows = answers({str(n): float(n < 3) for n in range(50)})
    ids = [row.item_id for row in rows]
    checked = ContaminationCheck([item("what is up")])
    checked.take([["what is up"]])
    flagged, clean = checked.found()[0], ContaminationCheck([item("a")]).found()[0]
    block = contamination_block(
        rows, {key: flagged if key in ids[:2] else clean for key in ids}, {"rows": 7}
    )
    assert (block["checked"], block["flagged"], block["items_clean"]) == (50, 2, 48)
    assert block["contaminated"] is True
    assert block["score_clean"]["tuned"]["score"] == pytest.approx(1 / 48)
    one = contamination_block(
        rows, {key: flagged if key == ids[0] else clean for key in ids}, {"rows": 7}
    )
    assert one["contaminated"] is False, "2% is not more than 2%"


def test_answers_without_scores_have_no_clean_score():
    rows = answers({"a": None, "b": None})
    clean = ContaminationCheck([item("a")]).found()[0]
    block = contamination_block(rows, {row.item_id: clean for row in rows}, {})
    assert block["score_clean"] == {"tuned": None}
