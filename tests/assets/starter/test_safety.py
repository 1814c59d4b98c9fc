"""The grammar of safety prompts: pytest tests/assets/starter/test_safety.py"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.assets.starter import safety
from regimen.assets.starter.safety import (
    KINDS,
    SPLITS,
    Kind,
    SafetyPrompt,
    Split,
    answers,
    available,
    conversations,
    grammar,
    is_refusal,
    preferences,
    prompts,
    to_second_person,
)

# Words that carry no topic: both splits may use them.
FUNCTION_WORDS = frozenset(
    word
    for line in (
        "a about after against am an at away back because between by feel for from good he her i",
        "in into is it less me my myself of off often old on one out over own s small that the",
        "their through to until up when with without",
    )
    for word in line.split()
)


def all_prompts(kind: Kind, split: Split) -> tuple[SafetyPrompt, ...]:
    return prompts(kind, split, available(kind, split), 0)


def content_words(split: Split) -> set[str]:
    targets = [a.target for a in grammar().actions if a.split == split]
    words = {w for t in targets for w in re.findall(r"[a-z]+", t.lower())} - FUNCTION_WORDS
    return {w.removesuffix("s") for w in words}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", SPLITS)
def test_enough_distinct_prompts_in_enough_categories(kind: Kind, split: Split) -> None:
    drawn = all_prompts(kind, split)
    assert len({prompt.text.lower() for prompt in drawn}) == len(drawn) >= 600
    assert len({prompt.category for prompt in drawn}) >= 8
    assert {prompt.kind for prompt in drawn} == {kind}


def test_no_prompt_is_in_both_kinds_or_both_splits() -> None:
    texts = [p.text.lower() for kind in KINDS for split in SPLITS for p in all_prompts(kind, split)]
    assert len(set(texts)) == len(texts)


def test_splits_share_no_target_and_no_content_word() -> None:
    assert content_words("train") & content_words("evaluation") == set()


def test_function_words_are_no_loophole() -> None:
    for action in grammar().actions:
        assert set(re.findall(r"[a-z]+", action.target.lower())) - FUNCTION_WORDS, action.phrase


def test_frames_are_partly_disjoint() -> None:
    train, evaluation = set(grammar().frames["train"]), set(grammar().frames["evaluation"])
    assert train & evaluation
    assert len(train - evaluation) >= 3
    assert len(evaluation - train) >= 3


@pytest.mark.parametrize("split", SPLITS)
def test_neither_verb_nor_frame_predicts_the_kind(split: Split) -> None:
    counts = {
        kind: Counter(a.verb for a in grammar().actions if (a.kind, a.split) == (kind, split))
        for kind in KINDS
    }
    assert counts["harmful"] == counts["harmless"]
    assert len(counts["harmful"]) >= 25

    def frame_of(prompt: SafetyPrompt) -> str:
        starts = [frame.split("{do}")[0] for frame in grammar().frames[split]]
        return max((s for s in starts if prompt.text.startswith(s)), key=len)

    frames = {k: Counter(frame_of(p) for p in all_prompts(k, split)) for k in KINDS}
    assert frames["harmful"] == frames["harmless"]


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 2**32))
def test_draws_are_deterministic_even_and_prefixes_of_longer_draws(
    n: int, m: int, seed: int
) -> None:
    n, m = sorted((n, m))
    short, long = prompts("harmful", "train", n, seed), prompts("harmful", "train", m, seed)
    assert len(short) == n
    assert long[:n] == short
    assert len(set(long)) == m
    verb = {(a.kind, a.topic): a.verb for a in grammar().actions}
    per_verb = Counter(verb[p.kind, p.topic] for p in long)
    assert max(per_verb.values(), default=0) - min(per_verb.values(), default=0) <= 1
    partner = prompts("harmless", "train", m, seed)
    assert [verb[p.kind, p.topic] for p in long] == [verb[p.kind, p.topic] for p in partner]


def test_seeds_differ() -> None:
    assert prompts("harmful", "train", 20, 1) != prompts("harmful", "train", 20, 2)


def test_same_under_any_hash_seed() -> None:
    code = (
        "from regimen.assets.starter.safety import preferences;"
        "print(*[p.instance_id for p in preferences('evaluation', 60, 7)])"
    )
    expected = " ".join(p.instance_id for p in preferences("evaluation", 60, 7))
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


@pytest.mark.parametrize("split", SPLITS)
def test_answers(split: Split) -> None:
    refusing = re.compile(r"\b(can't|won't|I cannot|not able to)\b")
    for prompt in all_prompts("harmful", split):
        good, bad = answers(prompt, 0)
        assert is_refusal(good)
        assert prompt.topic in good
        assert not is_refusal(bad)
        assert 12 <= len(good.split()) <= 45
    for prompt in all_prompts("harmless", split):
        good, bad = answers(prompt, 0)
        assert not is_refusal(good)
        assert not refusing.search(good)
        assert is_refusal(bad)
        assert prompt.topic in bad
        assert 5 <= len(good.split()) <= 40


def test_compliance_is_empty_of_substance() -> None:
    """A rejected answer to a harmful prompt is the topic in one of the fixed openings."""
    by_topic = {(a.kind, a.topic): to_second_person(a.phrase) for a in grammar().actions}
    for split in SPLITS:
        for prompt in all_prompts("harmful", split):
            do = by_topic[prompt.kind, prompt.topic]
            openings = {c.format(do=do, topic=prompt.topic) for c in safety.COMPLIANCES}
            assert answers(prompt, 3)[1] in openings


def test_answers_vary_with_the_seed_and_stay_the_same_for_one() -> None:
    prompt = prompts("harmful", "train", 1, 0)[0]
    assert len({answers(prompt, seed)[0] for seed in range(30)}) >= 5
    assert answers(prompt, 4) == answers(prompt, 4)


def test_self_harm_is_refused_gently_and_points_to_people() -> None:
    hurt = [p for p in all_prompts("harmful", "evaluation") if p.category == "self_harm"]
    assert hurt
    for prompt in hurt:
        good = answers(prompt, 0)[0]
        assert good.startswith(safety.GENTLE_OPENINGS)
        assert re.search(r"someone|a person", good)


def test_second_person() -> None:
    text = "cut myself when I am sad because my boss saw me"
    assert to_second_person(text) == "cut yourself when you are sad because your boss saw you"


def test_conversations_and_preferences_agree() -> None:
    talks, pairs = conversations("train", 101, 5), preferences("train", 101, 5)
    assert len(talks) == len(pairs) == 101
    assert Counter(t.lineage.family for t in talks) == {"harmful": 51, "harmless": 50}
    for row, (talk, pair) in enumerate(zip(talks, pairs, strict=True), start=1):
        assert talk.messages == pair.prompt + pair.chosen
        assert pair.chosen != pair.rejected
        assert talk.lineage == pair.lineage
        assert (talk.lineage.row, talk.lineage.seed, talk.lineage.variant) == (row, 5, "train")
        assert talk.lineage.source == "starter-safety"
        assert talk.lineage.category == "safety"
        assert talk.lineage.language == "en"
        assert talk.lineage.licence == "Apache-2.0"
        assert talk.lineage.task.startswith(f"safety-{talk.lineage.family}-")
    assert len({t.instance_id for t in talks}) == 101


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ValueError, match=r"n must be in 0\.\."):
        prompts("harmful", "train", available("harmful", "train") + 1, 0)
    with pytest.raises(ValueError, match="kind is one of"):
        prompts("evil", "train", 1, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be negative"):
        conversations("train", -1, 0)
    stranger = SafetyPrompt(text="Hi?", kind="harmless", category="home", topic="nothing")
    with pytest.raises(ValueError, match="not a prompt of the safety grammar"):
        answers(stranger, 0)
