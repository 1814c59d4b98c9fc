"""pytest tests/tokens/test_marks.py: which token ends a part of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import TokenError
from regimen.judging.steps import step_ends, steps_of
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.marks import last_read, tokens_at

TOKENIZER = train_tokenizer(["one fox and two owls\nthe answer is an owl é 猫"] * 5, 290)


@given(
    st.lists(st.text("fox owl.é猫😀", min_size=1), min_size=1, max_size=4),
    st.sampled_from(["", "\n"]),
)
def test_the_marked_token_is_the_first_with_which_the_step_is_there(lines, blank):
    text = ("\n" + blank).join(lines)
    ends = step_ends(text)
    assert tuple(text[:end].splitlines()[-1].strip() for end in ends) == steps_of(text)
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    if TOKENIZER.decode(ids) != text:
        return  # characters that the tokenizer does not keep
    for end, place in zip(ends, tokens_at(TOKENIZER, ids, text, ends), strict=True):
        assert TOKENIZER.decode(ids[: place + 1]).startswith(text[:end])
        assert not TOKENIZER.decode(ids[:place]).startswith(text[:end])


def test_what_stands_around_the_text_is_no_part_of_it():
    ids = TOKENIZER("the answer\nowl", add_special_tokens=False)["input_ids"]
    before = TOKENIZER("fox ", add_special_tokens=False)["input_ids"]
    alone = tokens_at(TOKENIZER, ids, "the answer\nowl", (10, 14))
    within = tokens_at(TOKENIZER, before + ids, "the answer\nowl", (10, 14))
    assert [place + len(before) for place in alone] == list(within)
    with pytest.raises(TokenError, match="content-not-found"):
        tokens_at(TOKENIZER, ids, "the cat", (3,))


def test_padding_at_the_end_is_not_read():
    assert last_read((5, 0, 6, 0, 0), pad_id=0) == 2
    assert last_read((5, 6), pad_id=0) == 1
    assert last_read((0, 0), pad_id=0) == -1
