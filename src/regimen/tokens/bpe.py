"""Train a byte-level BPE tokenizer for a fresh model (Sennrich et al. 2016; Radford et al. 2019).

Digits stay single tokens: numbers are then spelled the same way wherever they stand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A fast tokenizer with ``vocabulary`` entries and no chat template.

    ``<|endoftext|>`` begins and ends documents; the two ChatML markers are reserved for tuning.

    Raises:
        ValueError: fewer entries than the 256 bytes and the special tokens need.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocabulary < 256 + len(SPECIAL):
        raise ValueError(f"a byte-level vocabulary has at least {256 + len(SPECIAL)} entries")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
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
