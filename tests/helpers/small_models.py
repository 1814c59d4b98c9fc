"""Small random models of many architectures."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
MODELS = {
    "llama": SMALL,
    "llama tied": {**SMALL, "tie_word_embeddings": True},
    "qwen3": {**SMALL, "head_dim": 8},
    "mistral": {**SMALL, "sliding_window": 4},
    "gemma2": {**SMALL, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8},
    "gpt2": {
        "vocab_size": 61,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
    "gpt_oss": {
        **SMALL,
        "head_dim": 8,
        "num_local_experts": 3,
        "num_experts_per_tok": 2,
        "sliding_window": 4,
    },
    "granite": {**SMALL, "logits_scaling": 4.0},
}


def make(name, fields, seed=1):
    torch.manual_seed(seed)
    kind = name.split()[0]
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **fields), attn_implementation="eager"
    )
    for parameter in model.parameters():  # default initialisation makes attention almost uniform
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()
