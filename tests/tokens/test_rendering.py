"""pytest tests/tokens/test_rendering.py"""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import TokenError
from regimen.records import Message
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.rendering import CHATML, Renderer, ensure_chat_tokens, stop_ids

WORDS = "the cat sat on a mat . where is it ? here you are , thank you very much indeed"
TOKENIZER = train_tokenizer([WORDS] * 50, 320)


def user(text):
    return Message(role="user", content=text)


def answer(text, **changes):
    return Message(role="assistant", content=text, **changes)


def learnt(row, tokenizer=TOKENIZER):
    return tokenizer.decode([i for i, w in zip(row.ids, row.weights, strict=True) if w])


CHAT = [user("where is it ?"), answer("on a mat"), user("thank you"), answer("here you are")]


def test_the_answers_and_their_ends_are_learnt_and_nothing_else():
    row = Renderer(TOKENIZER).conversation(CHAT)[0]
    assert learnt(row) == "on a mat<|im_end|>here you are<|im_end|>"
    whole = TOKENIZER.decode(row.ids)
    assert whole.startswith("<|im_start|>user\nwhere is it ?<|im_end|>\n<|im_start|>assistant\non")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("last_turn", "here you are<|im_end|>"), ("assistant", "on a mat<|im_end|>here you are")],
)
def test_policies(policy, expected):
    assert learnt(Renderer(TOKENIZER, policy=policy).conversation(CHAT)[0]).startswith(expected)


def test_all_learns_everything_but_the_first_id_and_what_follows_the_last_turn():
    row = Renderer(TOKENIZER, policy="all").conversation(CHAT)[0]
    assert TOKENIZER.decode(row.ids[-1]) == "\n"
    assert row.supervised == len(row.ids) - 2


def test_a_turn_may_decide_for_itself_and_carry_a_weight():
    chat = [CHAT[0], answer("on a mat", train=False), CHAT[2], answer("here", weight=0.5)]
    row = Renderer(TOKENIZER).conversation(chat)[0]
    assert learnt(row) == "here<|im_end|>"
    assert {w for w in row.weights if w} == {0.5}


TEXT = st.text(alphabet="ab é.\n中<|", min_size=1, max_size=12).filter(lambda t: t.strip())


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
def test_what_generation_sees_is_a_prefix_of_what_training_sees(turns):
    chat = [m for q, a in turns for m in (user(q), answer(a))]
    renderer = Renderer(TOKENIZER)
    row = renderer.conversation(chat)[0]
    for end in range(1, len(chat), 2):
        prompt = renderer.prompt(chat[:end])
        assert row.ids[: len(prompt)] == prompt
        assert row.weights[len(prompt)] > 0
        assert not any(row.weights[len(prompt) - 3 : len(prompt)])
    assert row.supervised >= len(turns) * 2


THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last and m.reasoning_content %}"
    "[think]{{ m.reasoning_content }}[/think]{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_that_drops_earlier_reasoning_gives_one_row_per_turn():
    chat = [
        user("a"),
        answer("on", reasoning="hm"),
        user("b"),
        answer("mat", reasoning="ah"),
    ]
    renderer = Renderer(TOKENIZER, template=THINKING)
    rows = renderer.conversation(chat)
    assert [learnt(row) for row in rows] == [
        "[think]hm[/think]on<|im_end|>",
        "[think]ah[/think]mat<|im_end|>",
    ]
    assert renderer.notes


def test_a_template_that_changes_the_answer_is_an_error():
    loud = CHATML.replace("message['content']", "message['content'] | upper")
    with pytest.raises(TokenError, match="changes the content"):
        Renderer(TOKENIZER, template=loud).conversation(CHAT[:2])


STRICT = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }}{% endfor %}"
)


@pytest.mark.parametrize("template", [STRICT, "{% for m in messages %}", "{{ messages.a.b.c }}"])
def test_a_template_that_refuses_a_conversation_is_an_error_of_that_conversation(template):
    renderer = Renderer(TOKENIZER, template=template)
    with pytest.raises(TokenError, match=r"does not take this[\s\S]*user, user, assistant"):
        renderer.conversation([user("a"), user("b"), answer("c")])


def test_two_bos_tokens_are_an_error():
    doubled = "{{ '<|endoftext|><|endoftext|>' }}" + CHATML
    with pytest.raises(TokenError, match="two BOS"):
        Renderer(TOKENIZER, template=doubled).conversation(CHAT[:2])


def test_a_pair_shares_its_prompt_and_ends_its_answers():
    pair = Renderer(TOKENIZER).preference([user("where ?")], [answer("here")], [answer("a mat")])
    assert TOKENIZER.decode(pair.chosen) == "here<|im_end|>"
    assert TOKENIZER.decode(pair.rejected) == "a mat<|im_end|>"
    assert pair.prompt == Renderer(TOKENIZER).prompt([user("where ?")])


@pytest.mark.parametrize("policy", ["assistant", "last_turn"])
def test_what_a_tool_says_inside_an_answer_is_no_part_of_it(policy):
    turns = [answer("it is here"), Message(role="tool", content="a mat"), answer("on", train=False)]
    found = Renderer(TOKENIZER, policy=policy).answers([user("where ?")], [turns, [answer("me")]])
    first, second = (
        TOKENIZER.decode([i for i, w in zip(ids, own, strict=True) if w])
        for ids, own in zip(found.answers, found.every_weight, strict=True)
    )
    assert first == "it is here<|im_end|>on<|im_end|>"
    assert second == "me<|im_end|>"
    assert "a mat" in TOKENIZER.decode(found.answers[0])
    whole = Renderer(TOKENIZER).answers([user("where ?")], [[answer("here")]])
    assert whole.weights == ()
    assert whole.every_weight == ((1.0,) * len(whole.answers[0]),)


def test_nothing_asked_and_nothing_answered_are_errors_of_that_row():
    renderer = Renderer(TOKENIZER)
    for prompt, said, slug in (
        ([], [answer("a")], "nothing-asked"),
        ([answer("b")], [answer("a")], "nothing-asked"),
        ([user("q")], [user("a")], "no-answer-turn"),
    ):
        with pytest.raises(TokenError) as raised:
            renderer.answers(prompt, [said])
        assert raised.value.slug == slug
    with pytest.raises(TokenError):
        renderer.conversation([answer("a")])


def test_the_end_of_a_turn_and_of_a_text_stop_generation():
    ids = stop_ids(TOKENIZER, Renderer(TOKENIZER))
    assert set(TOKENIZER.convert_ids_to_tokens(list(ids))) == {"<|endoftext|>", "<|im_end|>"}


def test_documents_end_with_eos_and_learn_all_but_the_first_id():
    row = Renderer(TOKENIZER).document("the cat")
    assert row.ids[-1] == TOKENIZER.eos_token_id
    assert row.weights[0] == 0.0
    assert set(row.weights[1:]) == {1.0}


SHARED = Path(os.environ.get("REGIMEN_SHARED", Path(__file__).parents[2] / ".." / "shared"))


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["qwen2.5", "minimind", "mistral-minueza", "gpt2", "phi-2"])
def test_real_templates_mask_exactly_the_answers(name):
    if not (SHARED / "tokenizers" / name).is_dir():
        pytest.skip("needs the shared tokenizers")
    from regimen.models.loading import load_tokenizer

    tokenizer = load_tokenizer(str(SHARED / "tokenizers" / name))
    renderer = Renderer(tokenizer)
    ensure_chat_tokens(tokenizer, renderer)
    rows = renderer.conversation(CHAT)
    text = "".join(learnt(row, tokenizer) for row in rows)
    assert "on a mat" in text
    assert "here you are" in text
    assert "where is it" not in text
    assert "thank you" not in text
    prompt = renderer.prompt(CHAT[:1])
    assert rows[0].ids[: len(prompt)] == prompt
    assert len(stop_ids(tokenizer, renderer)) >= 1
