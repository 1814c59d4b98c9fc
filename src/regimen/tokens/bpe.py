"""Train a byte-level BPE tokenizer for a fresh model (Sennrich et al. 2016; Radford et al. 2019).

Digits stay single tokens: numbers are then spelled the same way wherever they stand. Blanks may be
kept apart from words too: the usual pre-tokenisation joins a blank to the word behind it, so a word
has one spelling after a blank and another at a line start or in quotes, and a small model must
learn each pair of spellings before it can copy a word from one place to the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")


# A run of letters; a digit; marks with the blank on either side; line ends; any other blank.
_BARE_WORDS = r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+ ?|[\r\n]+|\s"


def train_tokenizer(texts: Iterable[str], vocabulary: int, bare_words: bool = False) -> Any:
    """A fast tokenizer with ``vocabulary`` entries and no chat template.

    ``<|endoftext|>`` begins and ends documents; the two ChatML markers are reserved for tuning.
    With ``bare_words`` no token holds both a letter and a blank, so that a word is the same tokens
    wherever it stands; prose then takes about a third more tokens.

    Raises:
        ValueError: fewer entries than the 256 bytes and the special tokens need.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocabulary < 256 + len(SPECIAL):
        raise ValueError(f"a byte-level vocabulary has at least {256 + len(SPECIAL)} entries")
    tokenizer = Tokenizer(models.BPE())
    first = (
        pre_tokenizers.Split(Regex(_BARE_WORDS), behavior="isolated")
        if bare_words
        else pre_tokenizers.Digits(individual_digits=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [first, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not bare_words)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[0],
        pad_token=SPECIAL[3],
        additional_special_tokens=list(SPECIAL[1:3]),
        clean_up_tokenization_spaces=False,
    )
