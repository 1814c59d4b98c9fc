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
    "qwen2": {**SMALL, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    "gemma3_text": {**SMALL, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8},
    "phi3": {**SMALL, "sliding_window": 4, "pad_token_id": 0, "eos_token_id": 0},
    "gpt_neox": {key: size for key, size in SMALL.items() if key != "num_key_value_heads"},
    "phi": SMALL,
    "olmo2": {**SMALL, "eos_token_id": 0},
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
    "opt": {
        "vocab_size": 61,
        "hidden_size": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "word_embed_proj_dim": 32,
        "dropout": 0.0,
    },
    "mixtral": {**SMALL, "num_local_experts": 3, "num_experts_per_tok": 2},
    "qwen2_moe": {
        **SMALL,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "use_sliding_window": True,
        "sliding_window": 4,
        "layer_types": ["sliding_attention"] * 2,
    },
    "gpt_oss": {
        **SMALL,
        "head_dim": 8,
        "num_local_experts": 3,
        "num_experts_per_tok": 2,
        "sliding_window": 4,
        "eos_token_id": 0,
    },
    "deepseek_v3": {
        **SMALL,
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 6,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
    },
    "cohere2": {**SMALL, "logit_scale": 0.5, "sliding_window": 4, "eos_token_id": 0},
    "granite": {**SMALL, "logits_scaling": 4.0},
}
PADDED = {
    "bloom": {"vocab_size": 61, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": {
        "vocab_size": 61,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    "mamba": {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "jamba": {
        **SMALL,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
    },
    "lfm2": {**SMALL, "layer_types": ["conv", "full_attention"]},
}
"""Those that take no flat batches: attention of their own, a recurrent state, or convolutions."""


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
