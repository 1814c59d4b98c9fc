"""The byte-level BPE of fresh models: exact round trips, digits, words that are spelled one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.tokens.bpe import SPECIAL, train_tokenizer

TEXTS = [
    'The list: apple, banana, "cherry" [apple]\n- banana\n- été\n(cherry) 12 34. Then apple came.',
    "banana/cherry/apple = {'apple': 3}; APPLE, it's the été of 1999!",
] * 30
PLAIN = train_tokenizer(TEXTS, 420)
BARE = train_tokenizer(TEXTS, 420, bare_words=True)


@pytest.mark.parametrize("tokenizer", [PLAIN, BARE])
@given(text=st.text(st.characters(blacklist_categories=["Cs"]), max_size=60))
def test_any_text_comes_back(tokenizer: object, text: str) -> None:
    if any(marker in text for marker in SPECIAL):
        return
    ids = tokenizer(text, add_special_tokens=False).input_ids  # type: ignore[operator]
    assert tokenizer.decode(ids) == text  # type: ignore[attr-defined]


@pytest.mark.parametrize("tokenizer", [PLAIN, BARE])
def test_a_digit_is_a_token(tokenizer: object) -> None:
    assert tokenizer.tokenize("1999") == ["1", "9", "9", "9"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["apple", "banana", "été", "zebra"])
@pytest.mark.parametrize(
    "frame", ["{}", " {}", "\n{}", '"{}"', "[{}]", "- {}\n", "a, {}, b", "a/{}/b", "_{}_", "({}) "]
)
def test_a_bare_word_is_the_same_tokens_wherever_it_stands(word: str, frame: str) -> None:
    alone = BARE.tokenize(word)
    there = BARE.tokenize(frame.format(word))
    assert any(there[i : i + len(alone)] == alone for i in range(len(there)))


def test_the_usual_split_spells_a_word_in_two_ways() -> None:
    # What bare words are for; should this ever fail, the option has lost its point.
    assert PLAIN.tokenize("apple")[0] != PLAIN.tokenize(" apple")[0]


def test_no_bare_token_holds_a_letter_and_a_blank() -> None:
    for token, number in BARE.get_vocab().items():
        text = BARE.decode([number])
        if token not in SPECIAL and "\ufffd" not in text:
            assert not (any(c.isalpha() for c in text) and any(c.isspace() for c in text)), token


def test_a_vocabulary_too_small_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="260"):
        train_tokenizer(TEXTS, 200)
