"""The small world of requests: pytest tests/assets/starter/test_requests.py"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import combinations

import pytest

from regimen.assets.starter import requests as world
from regimen.assets.starter import safety
from regimen.assets.starter.requests import (
    PARTS,
    Asked,
    Part,
    conversations,
    frames,
    helpful,
    helps_with,
    preferences,
    refusal,
    requests,
    topics,
    unseen,
)
from regimen.assets.starter.safety import KINDS, Kind
from regimen.judging.refusal import is_refusal
from regimen.judging.scorers import SCORERS
from regimen.records import Item

MOST = {
    ("harmful", "train"): 3456,
    ("harmful", "choice"): 240,
    ("harmful", "evaluation"): 480,
    ("harmless", "train"): 4608,
    ("harmless", "choice"): 320,
    ("harmless", "evaluation"): 640,
}


def everything(kind: Kind, part: Part) -> tuple[Asked, ...]:
    return requests(kind, part, MOST[kind, part], 0)


def test_no_request_is_in_two_kinds_or_parts() -> None:
    texts = [one.text for kind in KINDS for part in PARTS for one in everything(kind, part)]
    assert len(set(texts)) == len(texts) == sum(MOST.values())


def test_what_is_asked_shares_no_pair_and_no_frame_with_training() -> None:
    def pairs(part: Part) -> set[tuple[str, str]]:
        return {(one.verb, one.target) for kind in KINDS for one in everything(kind, part)}

    for one, other in combinations(PARTS, 2):
        assert not pairs(one) & pairs(other)
    assert not set(frames("train")) & set(frames("evaluation"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_verb_and_target_that_is_asked_is_trained_on_with_the_same_meaning(
    kind: Kind,
) -> None:
    trained = everything(kind, "train")
    asked = (*everything(kind, "choice"), *everything(kind, "evaluation"))
    assert {(one.topic, one.verb) for one in asked} <= {(one.topic, one.verb) for one in trained}
    targets = {(one.topic, one.target) for one in trained}
    assert {(one.topic, one.target) for one in asked} == targets


def test_neither_the_verb_nor_the_target_alone_says_the_kind() -> None:
    asked = [one for kind in KINDS for one in everything(kind, "train")]
    kinds_of_verb = {one.verb: set[str]() for one in asked}
    for one in asked:
        kinds_of_verb[one.verb].add(one.kind)
    harmful = {one.topic for one in asked if one.kind == "harmful"}
    assert all(
        kinds_of_verb[verb] == set(KINDS) for name in harmful for verb in topics()[name].verbs
    )
    victims = {one.target for one in asked if one.kind == "harmful"}
    met_kindly = {one.target for one in asked if one.look == "same target"}
    assert met_kindly
    assert met_kindly <= victims


def test_four_hundred_of_each_kind_are_spread_over_the_topics() -> None:
    for kind, count in (("harmful", 12), ("harmless", 16)):
        of_topic = Counter(one.topic for one in requests(kind, "evaluation", 400, 3))
        assert len(of_topic) == count
        assert max(of_topic.values()) - min(of_topic.values()) <= 1


def test_no_target_and_no_frame_of_unseen_prompts_is_trained_on() -> None:
    trained = [one for kind in KINDS for one in everything(kind, "train")]
    targets = {one.target for one in trained}
    every = {*safety.grammar().frames["train"], *safety.grammar().frames["evaluation"]}
    for kind, most in (("harmful", 440), ("harmless", 500)):
        found = unseen(kind, most, 3)
        assert len({one.text for one in found}) == most
        assert {one.kind for one in found} == {kind}
        read = [next(w for f in every if (w := _words_in(f, one.text))) for one in found]
        assert not {frame for frame, _ in read} & set(frames("train"))
        asked = [do.removeprefix(f"{p.verb} ") for (_, do), p in zip(read, found, strict=True)]
        assert not set(asked) & targets
        assert len(set(asked)) > 90
    with pytest.raises(ValueError, match=r"0\.\.440"):
        unseen("harmful", 441, 1)


def _words_in(frame: str, text: str) -> tuple[str, str] | None:
    """The frame and what was put into it, where the text is of that frame."""
    before, after = frame.split("{do}")
    if not (text.startswith(before) and text.endswith(after)):
        return None
    return frame, text.removeprefix(before).removesuffix(after)


@pytest.mark.parametrize("kind", KINDS)
def test_judges_tell_every_answer_apart(kind: Kind) -> None:
    for part in PARTS:
        for one in requests(kind, part, 200, 5):
            item = Item(suite="s", messages=(), references=(helps_with(one),))
            good, no = helpful(one, 5), refusal(one, 5)
            assert (is_refusal(good), is_refusal(no)) == (False, True)
            assert [SCORERS[name](good, item) for name in ("complies", "helps")] == [1, 1]
            assert [SCORERS[name](no, item) for name in ("complies", "helps")] == [0, 0]


def test_the_parent_helps_with_everything_and_pairs_prefer_by_kind() -> None:
    assert not any(is_refusal(one.messages[1].text) for one in conversations(60, 1))
    pairs = list(preferences(60, 1))
    assert Counter(pair.lineage.family for pair in pairs) == {"harmful": 30, "harmless": 30}
    for pair in pairs:
        harmful = pair.lineage.family == "harmful"
        assert is_refusal(pair.chosen[0].text) == harmful
        assert is_refusal(pair.rejected[0].text) != harmful


def test_an_answer_of_a_pair_does_not_say_by_itself_whether_it_is_preferred() -> None:
    def ends(texts: Iterable[str]) -> set[str]:
        return {text.split(". ")[-1].split(", ")[-1] for text in texts}

    pairs = list(preferences(400, 1))
    harmful = [pair for pair in pairs if pair.lineage.family == "harmful"]
    harmless = [pair for pair in pairs if pair.lineage.family == "harmless"]
    refusals = ends(p.chosen[0].text for p in harmful), ends(p.rejected[0].text for p in harmless)
    helps = ends(p.rejected[0].text for p in harmful), ends(p.chosen[0].text for p in harmless)
    assert refusals[0] == refusals[1]
    assert helps[0] == helps[1]
    assert len(refusals[0]) == len(helps[0]) == 3


def test_a_share_of_refusals_has_nothing_to_do_with_what_is_asked() -> None:
    talks = list(conversations(4000, 1, refused=0.2))
    rates = {
        kind: sum(is_refusal(one.messages[1].text) for one in talks if one.lineage.family == kind)
        / 2000
        for kind in KINDS
    }
    assert all(abs(rate - 0.2) < 0.03 for rate in rates.values())
    reasons = {topic.reason for topic in topics().values()} - {""}
    assert not any(reason in one.messages[1].text for one in talks for reason in reasons)


def test_draws_are_those_of_the_seed() -> None:
    assert list(preferences(20, 1)) == list(preferences(20, 1)) != list(preferences(20, 2))
    with pytest.raises(ValueError, match=r"0\.\.480"):
        requests("harmful", "evaluation", 481, 1)
    with pytest.raises(ValueError, match="kind is one of"):
        requests("odd", "train", 1, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        list(world.conversations(-1, 1))
