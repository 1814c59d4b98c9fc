"""What both sides of a work read, written to disk once: a model, rows of ids, a tokenizer.

Llamas with random weights, and rows with the lengths of instruction data. Everything follows from
the constants below and fixed seeds; works.py says which work reads what.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

MODEL: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 32_000,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""15 M parameters."""
MODEL_135M: dict[str, Any] = MODEL | {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
"""The shape of SmolLM2-135M."""
LORA: dict[str, Any] = {
    "r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.0,
    "target_modules": "all-linear",
}
MAX_LENGTH = 1024
BETAS = (0.9, 0.95)

# Log-normal fit to 5,000 alpaca rows in alpaca's usual prompt, tokens of a 32k byte-fallback BPE:
# mean and deviation of the log length of prompt and completion, and the correlation of the two.
PROMPT_LOG = (4.018, 0.281)
COMPLETION_LOG = (3.646, 1.116)
CORRELATION = -0.286
SHORTEST = (16, 2)
SEED = 20_240
NEW_TOKENS = 64
PROMPTS = 64
"""The work `generate`: how many prompts, and how many tokens after each."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as flat ``ids``; row ``r`` has ``lengths[r]``, the first ``prompts[r]`` unlearnt."""

    ids: np.ndarray
    lengths: np.ndarray
    prompts: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def starts(self) -> np.ndarray:
        """Where each row begins, and the end of the last."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def supervised(self) -> np.ndarray:
        """Supervised tokens of each row: its completion."""
        return self.lengths - self.prompts

    def take(self, numbers: Sequence[int]) -> Rows:
        """Some rows, in the order given."""
        starts, some = self.starts, np.asarray(numbers, dtype=np.int64)
        places = [np.arange(starts[row], starts[row + 1]) for row in some]
        return Rows(self.ids[np.concatenate(places)], self.lengths[some], self.prompts[some])

    def digest(self) -> str:
        """A short name of the content."""
        parts = (self.ids.astype("<i4"), self.lengths.astype("<i4"), self.prompts.astype("<i4"))
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


def row_lengths(count: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """Prompt and completion lengths of ``count`` rows, together at most ``MAX_LENGTH``."""
    normal = np.random.default_rng([seed, 0]).standard_normal((count, 2))
    second = CORRELATION * normal[:, 0] + (1 - CORRELATION**2) ** 0.5 * normal[:, 1]
    prompt = np.exp(PROMPT_LOG[0] + PROMPT_LOG[1] * normal[:, 0]).round().astype(np.int64)
    completion = np.exp(COMPLETION_LOG[0] + COMPLETION_LOG[1] * second).round().astype(np.int64)
    prompt = prompt.clip(SHORTEST[0], MAX_LENGTH // 2)
    return prompt, np.minimum(completion.clip(SHORTEST[1]), MAX_LENGTH - prompt)


def draw_rows(count: int, seed: int = SEED, vocabulary: int = MODEL["vocab_size"]) -> Rows:
    """``count`` rows; a smaller count gives the first of a larger one's rows.

    Ids follow Zipf's law, so that the loss falls within a few steps and says something.
    """
    prompts, completions = row_lengths(count, seed)
    lengths = prompts + completions
    return Rows(drawn_ids(lengths, seed, vocabulary), lengths, prompts)


def drawn_ids(lengths: np.ndarray, seed: int, vocabulary: int) -> np.ndarray:
    """Ids of rows, one row behind the other: each begins and ends with its token for that."""
    share = 1.0 / (np.arange(3, vocabulary) + 2.7)
    edges = np.cumsum(share / share.sum())
    uniform = np.random.default_rng([seed, 1]).random(int(lengths.sum()))
    ids = (3 + np.searchsorted(edges, uniform).clip(0, vocabulary - 4)).astype(np.int32)
    ends = np.cumsum(lengths)
    ids[ends - lengths] = MODEL["bos_token_id"]
    ids[ends - 1] = MODEL["eos_token_id"]
    return ids


def write(
    directory: Path,
    rows: Rows,
    model: Mapping[str, Any] = MODEL,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write ``model/``, ``tokenizer/``, ``rows.npz`` and ``work.json``: all that a side reads.

    ``facts`` of the work, for ``work.json``; where they name an adapter, ``adapter/`` as well.
    """
    write_rows(directory, rows, int(model["vocab_size"]), facts or {})
    _write_model(directory / "model", model, scores=(facts or {}).get("aligns") == "reward")
    if facts and facts.get("lora"):
        _write_adapter(directory, facts["lora"])


def write_rows(directory: Path, rows: Rows, vocabulary: int, facts: Mapping[str, Any]) -> None:
    """Write what ``write`` does, without a model and its adapter."""
    np.savez(directory / "rows.npz", ids=rows.ids, lengths=rows.lengths, prompts=rows.prompts)
    (directory / "work.json").write_text(json.dumps(dict(facts)))
    _write_tokenizer(directory / "tokenizer", vocabulary)


def read(directory: Path) -> Rows:
    """The rows that ``write`` wrote."""
    with np.load(directory / "rows.npz") as arrays:
        return Rows(arrays["ids"], arrays["lengths"], arrays["prompts"])


def facts_of(directory: Path) -> dict[str, Any]:
    """What ``write`` wrote about the work."""
    return dict(json.loads((directory / "work.json").read_text()))


def prompts(rows: Rows) -> list[tuple[int, ...]]:
    """What the work `generate` continues: the prompts of the rows."""
    starts = rows.starts
    return [
        tuple(rows.ids[a : a + n].tolist())
        for a, n in zip(starts, rows.prompts.tolist(), strict=False)
    ]


def sequences(rows: Rows, packs: Sequence[int] = ()) -> tuple[list[list[int]], list[list[int]]]:
    """Ids and labels of each row, -100 where nothing is learnt; as transformers reads them.

    With ``packs``, so many rows each become one sequence.
    """
    ids = [rows.ids[a:b].tolist() for a, b in pairwise(rows.starts.tolist())]
    labels = [[-100] * p + row[p:] for p, row in zip(rows.prompts.tolist(), ids, strict=True)]
    if not packs:
        return ids, labels
    ends = [0, *np.cumsum(packs).tolist()]
    first, second = (
        [list(chain.from_iterable(each[a:b])) for a, b in pairwise(ends)] for each in (ids, labels)
    )
    return first, second


def _write_model(directory: Path, model: Mapping[str, Any], *, scores: bool = False) -> None:
    """A model that predicts tokens, or one that gives a text a score."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    torch.manual_seed(SEED)
    fields = dict(model) | ({"num_labels": 1} if scores else {})
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    kind: Any = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    kind.from_config(config, dtype=torch.float32).save_pretrained(directory)


def _write_adapter(directory: Path, lora: Mapping[str, Any]) -> None:
    """The adapter's initial weights, which both sides start from: A is drawn at random."""
    from regimen.adapters.methods import add_adapter
    from regimen.models.loading import ModelSpec, load_model

    model = load_model(ModelSpec(path=str(directory / "model")))
    add_adapter(model, lora_spec(lora), seed=SEED).save_pretrained(directory / "adapter")


def lora_spec(lora: Mapping[str, Any]) -> Any:
    """The adapter of a work, which PEFT's names describe for all sides."""
    from regimen.adapters.lora import Lora

    return Lora(
        r=lora["r"],
        alpha=lora["lora_alpha"],
        dropout=lora["lora_dropout"],
        target_modules=lora["target_modules"],
    )


def _write_tokenizer(directory: Path, vocabulary: int) -> None:
    """A tokenizer of whole words ``w3`` ...: trainers ask for one, though the rows are ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", *(f"w{i}" for i in range(3, vocabulary))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=MAX_LENGTH,
    ).save_pretrained(directory)
