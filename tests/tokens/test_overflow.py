"""Rows that are too long: what is cut, what stays, and that nothing is lost unseen."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.records import Message
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.overflow import (
    cut_text,
    end_of_turn,
    exchanges,
    fit_conversation,
    latest_turns,
    pieces,
    truncated,
    windows,
)
from regimen.tokens.rendering import Rendered, Renderer, ensure_chat_tokens

WORDS = "the cat sat on a mat . where is it ? here you are , thank you very much indeed"
TOKENIZER = train_tokenizer([WORDS] * 50, 320)
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
POLICIES = ("drop", "truncate", "split")
MASKS = ("assistant", "last_turn", "all")


def user(text):
    return Message(role="user", content=text)


def answer(text, **changes):
    return Message(role="assistant", content=text, **changes)


def learnt(rows):
    return [i for row in rows for i, w in zip(row.ids, row.weights, strict=True) if w]


def text_of(row):
    return TOKENIZER.decode(row.ids)


TEXT = st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=14).map(" ".join)


@st.composite
def conversations(draw):
    messages = [Message(role="system", content=draw(TEXT))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 5))):
        messages.append(user(draw(TEXT)))
        if draw(st.integers(0, 4)) == 0:  # a tool was asked before the answer was given
            messages += [answer("call"), Message(role="tool", content=draw(TEXT))]
        messages.append(answer(draw(TEXT), train=draw(st.sampled_from([None, None, False]))))
    return messages


@st.composite
def rows(draw):
    size = draw(st.integers(1, 60))
    ids = draw(st.lists(st.integers(10, 99), min_size=size, max_size=size))
    weights = [0.0, *draw(st.lists(st.sampled_from([0.0, 0.5]), min_size=size, max_size=size))]
    return Rendered(tuple(ids), tuple(weights[:size]), name="it")


@given(conversations(), st.integers(12, 80), st.sampled_from(POLICIES), st.sampled_from(MASKS))
def test_rows_fit_and_what_is_learnt_is_learnt_or_counted_as_lost(chat, limit, policy, mask):
    renderer = Renderer(TOKENIZER, policy=mask)
    whole = renderer.conversation(chat)
    fitted = fit_conversation(renderer, chat, limit, policy)
    assert fitted.longest == max(len(row.ids) for row in whole)
    assert fitted.supervised == len(learnt(whole))
    assert fitted.lost == fitted.supervised - len(learnt(fitted.rows)) >= 0
    for row in fitted.rows:
        assert len(row.ids) <= limit
        assert row.weights[0] == 0.0
        assert row.supervised
    if fitted.longest <= limit:
        assert fitted.lost == 0
    elif policy == "drop":
        assert fitted.rows == ()


@given(conversations(), st.integers(12, 80), st.sampled_from(MASKS[:2]))
def test_a_split_learns_every_token_once_and_reads_what_stood_before_it(chat, limit, mask):
    renderer = Renderer(TOKENIZER, policy=mask)
    (whole,) = renderer.conversation(chat)
    split = fit_conversation(renderer, chat, limit, "split").rows
    assert learnt(split) == learnt([whole])
    ids = list(whole.ids)
    head, _ = exchanges(chat)
    start = TOKENIZER.decode(renderer.conversation(head)[0].ids).rstrip() if head else ""
    opening = TOKENIZER(start, add_special_tokens=False)["input_ids"]
    for row in split:
        own = list(row.ids)
        cuts = [k for k in range(len(opening) + 1) if own[:k] == opening[len(opening) - k :]]
        # a stretch of the conversation, behind its system message or what fits of that
        assert any(ids[i : i + len(own) - k] == own[k:] for k in cuts for i in range(len(ids))), (
            text_of(row)
        )


@given(conversations(), st.integers(12, 80), st.sampled_from(MASKS[:2]))
def test_a_truncated_row_is_a_beginning_that_ends_a_turn(chat, limit, mask):
    renderer = Renderer(TOKENIZER, policy=mask)
    (whole,) = renderer.conversation(chat)
    for row in fit_conversation(renderer, chat, limit, "truncate").rows:
        if len(whole.ids) > limit:
            assert row.ids[:-1] == whole.ids[: len(row.ids) - 1]
            assert row.ids[-1] == END
            assert row.weights[-1] > 0
            assert row.weights[-2] > 0, "an answer has a token before its end"


@given(conversations(), st.integers(12, 80))
def test_a_conversation_that_is_learnt_whole_is_cut_like_text(chat, limit):
    renderer = Renderer(TOKENIZER, policy="all")
    (whole,) = renderer.conversation(chat)
    if len(whole.ids) <= limit:
        return
    split = fit_conversation(renderer, chat, limit, "split").rows
    starts = range(0, len(whole.ids), limit)
    kept = [a for a in starts if any(whole.weights[a + 1 : a + limit])]
    assert [row.ids for row in split] == [whole.ids[a : a + limit] for a in kept]
    (cut,) = fit_conversation(renderer, chat, limit, "truncate").rows
    assert cut.ids == whole.ids[: len(cut.ids)]


@given(rows(), st.integers(8, 30))
def test_windows_hold_every_supervised_token_once_with_what_stands_before(row, limit):
    parts = windows(row, limit)
    assert learnt(parts) == learnt([row])
    for number, part in enumerate(parts):
        assert len(part.ids) <= limit
        assert part.name == "it"
        if number and len(row.ids) > limit:
            assert part.weights[: limit // 4] == (0.0,) * len(part.weights[: limit // 4])
            assert len(part.ids) == limit or part.ids == row.ids[: len(part.ids)]


@given(rows(), st.integers(8, 30))
def test_pieces_are_the_row_one_after_another(row, limit):
    parts = pieces(row, limit)
    assert [i for part in parts for i in part.ids] == list(row.ids)
    lost = sum(1 for start in range(0, len(row.ids), limit) if row.weights[start])
    assert len(learnt(parts)) == len(learnt([row])) - lost


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(2, 12), st.sampled_from(POLICIES))
def test_a_text_is_dropped_begun_or_cut_into_pieces(ids, limit, policy):
    parts = cut_text(np.asarray(ids, dtype=np.int32), limit, policy)
    assert all(2 <= len(part) <= limit for part in parts)
    joined = [int(i) for part in parts for i in part]
    if len(ids) <= limit:
        assert joined == (ids if len(ids) > 1 else [])
    elif policy == "split":
        assert joined == (ids if len(ids) % limit != 1 else ids[:-1])
    else:
        assert joined == (ids[:limit] if policy == "truncate" else [])


ROW = Rendered((1, 2, 3, 4, 5, 6, 7, 8, 9), (0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("limit", "end", "ids", "weights"),
    [
        (9, (0,), ROW.ids, ROW.weights),  # fits
        (8, (0,), (1, 2, 3, 4, 5, 6, 7, 0), (*ROW.weights[:7], 1.0)),
        (8, (), ROW.ids[:8], ROW.weights[:8]),
        (7, (0,), (1, 2, 3, 4), ROW.weights[:4]),  # no token of the answer would stay
        (8, (90, 0), (1, 2, 3, 4), ROW.weights[:4]),
        (6, (0,), (1, 2, 3, 4), ROW.weights[:4]),  # between two answers
        (3, (0,), (), ()),
    ],
)
def test_where_a_row_is_cut(limit, end, ids, weights):
    row = truncated(ROW, limit, end)
    assert (row.ids, row.weights) == (ids, weights)


def test_the_end_of_a_turn_is_what_the_template_puts_after_an_answer():
    assert end_of_turn(Renderer(TOKENIZER)) == (END,)
    bare = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"  # noqa: E501
    assert end_of_turn(Renderer(TOKENIZER, template=bare)) == tuple(
        TOKENIZER("\n", add_special_tokens=False)["input_ids"]
    )


def test_a_split_stands_at_turns_of_the_user_and_keeps_the_system_message():
    chat = [Message(role="system", content="sat")]
    for word in ("cat", "mat", "you"):
        chat += [user(f"where is the {word} ?"), answer(f"{word} here")]
    renderer = Renderer(TOKENIZER)
    (whole,) = renderer.conversation(chat)
    two = renderer.conversation(chat[:5])[0]
    split = fit_conversation(renderer, chat, len(two.ids), "split").rows
    assert len(split) == 2
    for row, first in zip(split, ("cat", "mat"), strict=True):
        assert text_of(row).startswith(
            f"<|im_start|>system\nsat<|im_end|>\n<|im_start|>user\nwhere is the {first}"
        )
    # the second exchange is read again, and learnt in the first row alone
    assert "mat here" in text_of(split[1])
    assert TOKENIZER.decode(learnt(split[1:])) == "you here<|im_end|>"
    assert learnt(split) == learnt([whole])


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last and m.reasoning_content %}"
    "[think]{{ m.reasoning_content }}[/think]{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_of_one_row_per_turn_loses_its_oldest_turns_first():
    chat = []
    for word in ("cat", "mat", "you", "indeed"):
        chat += [user(f"where is the {word} ?"), answer(f"{word} here", reasoning="hm")]
    renderer = Renderer(TOKENIZER, template=THINKING)
    whole = renderer.conversation(chat)
    limit = len(whole[1].ids)
    fitted = fit_conversation(renderer, chat, limit, "split")
    assert fitted.lost == 0
    assert learnt(fitted.rows) == learnt(whole)
    assert max(len(row.ids) for row in fitted.rows) <= limit
    assert renderer.notes == {"unstable template: one row per assistant turn": 2}


def test_exchanges_keep_tools_with_the_question_that_they_are_for():
    turns = [
        Message(role="system", content="s"),
        user("a"),
        answer("call"),
        Message(role="tool", content="r"),
        answer("b"),
        user("c"),
        user("d"),
        answer("e"),
    ]
    head, found = exchanges(turns)
    assert [m.text for m in head] == ["s"]
    assert [[m.text for m in part] for part in found] == [["a", "call", "r", "b"], ["c", "d", "e"]]


@given(conversations(), st.integers(1, 9))
def test_the_latest_turns_are_as_many_as_fit(chat, most):
    found = latest_turns(chat, lambda turns: len(turns) <= most)
    head, parts = exchanges(chat)
    if found is None:
        assert len(head) + len(parts[-1]) > most
    else:
        assert len(found) <= most
        assert found[: len(head)] == list(head)
        assert list(chat[len(chat) - len(found) + len(head) :]) == found[len(head) :]
        left = len(parts) - len(exchanges(found)[1])
        assert left == 0 or len(found) + len(parts[left - 1]) > most


SHARED = Path(os.environ.get("REGIMEN_SHARED", Path(__file__).parents[2] / ".." / "shared"))


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["qwen2.5", "minimind", "mistral-minueza", "gpt2", "phi-2"])
def test_real_templates_are_split_and_truncated_alike(name):
    if not (SHARED / "tokenizers" / name).is_dir():
        pytest.skip("needs the shared tokenizers")
    from regimen.models.loading import load_tokenizer

    tokenizer = load_tokenizer(str(SHARED / "tokenizers" / name))
    renderer = Renderer(tokenizer)
    ensure_chat_tokens(tokenizer, renderer)
    chat = []
    for word in ("cat", "mat", "you", "indeed"):
        chat += [user(f"where is the {word} ?"), answer(f"{word} here " * 9)]
    whole = renderer.conversation(chat)
    (end, *_) = end_of_turn(renderer)
    for limit in range(24, max(len(row.ids) for row in whole), 17):
        split = fit_conversation(renderer, chat, limit, "split")
        assert learnt(split.rows) == learnt(whole)
        assert max(len(row.ids) for row in split.rows) <= limit
        for row in fit_conversation(renderer, chat, limit, "truncate").rows:
            assert row.ids[-len(end_of_turn(renderer))] == end
