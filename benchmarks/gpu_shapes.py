"""Shapes of published models, whose weights gpu.py draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

QWEN: dict[str, Any] = {
    "model_type": "qwen2",
    "vocab_size": 151_936,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-6,
}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SHAPES: Mapping[str, dict[str, Any]] = {
    "0.5b": QWEN
    | IDS
    | {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
    "1.5b": QWEN
    | IDS
    | {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
    },
    "8b": IDS
    | {
        "model_type": "llama",
        "vocab_size": 128_256,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": False,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "gemma2": IDS
    | {
        "model_type": "gemma2",
        "vocab_size": 256_000,
        "max_position_embeddings": 8192,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 4096,
        "attention_dropout": 0.0,
    },
    "none": {"vocab_size": 248_320, "hidden_size": 4096},
}
"""Qwen2.5's 0.5 B and 1.5 B, Llama-3.1's 8 B, Gemma 2's 2.6 B; `none` is a head alone."""
TINY_SHAPE: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
