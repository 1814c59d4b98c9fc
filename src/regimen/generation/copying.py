"""Whether a model's layers are of the common form, and the copy of it that generation runs.

Names and types of the modules say what may be tried; a probe against the modules themselves, at the
first and at the last positions of the run, says whether it is the same.

Shape letters: T tokens, D width, W width of a head, P positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from regimen.generation.cache import Cache
from regimen.generation.flat import FlatNetwork, Layer
from regimen.generation.weights import joined, norm_of, weights_of
from regimen.models import attention
from regimen.models.attention import Heard
from regimen.models.blocks import SelfAttention
from regimen.models.differences import relative_difference
from regimen.models.forward import LanguageModel, backbone_of
from regimen.models.fused import GatedMlp
from regimen.models.norms import RmsNorm
from regimen.models.token_rows import matrix_of
from regimen.tokens.ragged import Plan

SAME = 1e-4
"""How far states may be from those of the modules, relative to the largest."""
NORMS = ("input_layernorm", "post_attention_layernorm")
FIXED_ANGLES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary positions whose angles do not depend on the length of the text."""


def by_modules(
    model: LanguageModel,
    cache: Cache,
    ids_T: Tensor | None,
    position_T: Tensor,
    *,
    embeddings_TD: Tensor | None = None,
) -> Tensor:
    """The same states from the model's own modules: (T, D); from embeddings instead of ids, too."""
    read = {"input_ids": ids_T, "inputs_embeds": embeddings_TD}
    given = {name: tensor[None] for name, tensor in read.items() if tensor is not None}
    with attention.active_plan(None, cache):
        out = backbone_of(model.model)(**given, position_ids=position_T[None], use_cache=False)
    hidden: Tensor = out.last_hidden_state[0]
    return hidden


@torch.inference_mode()
def flat_network(
    model: LanguageModel, positions: int, dtype: torch.dtype = torch.float32
) -> FlatNetwork | None:
    """A copy of the model's weights that runs flat, or None where it would not be the same.

    Whether it is the same is seen in fp32; then it is made in the type that is asked for.

    Args:
        model: a prepared model, in evaluation mode.
        positions: what a row of the run may hold.
        dtype: of the products.
    """
    backbone = backbone_of(model.model)
    if not _is_common(backbone):
        return None
    with attention.listening() as heard:
        expected = _probe(partial(by_modules, model), backbone, positions)
    cos, sin = _angles(backbone, positions)

    def copied(dtype: torch.dtype) -> FlatNetwork | None:
        layers = _layers(backbone, heard, dtype)
        if not layers or cos.shape[1] != layers[0].width:
            return None
        return FlatNetwork(backbone.get_input_embeddings(), layers, backbone.norm, cos, sin)

    network = copied(torch.float32)
    if network is None:
        return None
    for ours, theirs in zip(_probe(network.hidden, backbone, positions), expected, strict=True):
        if not relative_difference(ours, theirs) <= SAME:
            return None
    if dtype == torch.float32:
        return network
    del network  # before the other takes its memory
    return copied(dtype)


def _is_common(backbone: Any) -> bool:
    """Whether its modules have the names and types of the common decoder layer."""
    rotary = getattr(backbone, "rotary_emb", None)
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not isinstance(rotary, nn.Module):
        return False
    if getattr(rotary, "rope_type", "") not in FIXED_ANGLES:
        return False
    parameters = (*layers.parameters(), matrix_of(backbone.get_input_embeddings()))
    if any(p.dtype != torch.float32 or p.device.type != "cpu" for p in parameters):
        return False
    return all(_is_common_layer(layer) for layer in layers)


def _is_common_layer(layer: nn.Module) -> bool:
    parts = dict(layer.named_children())
    if set(parts) != {"self_attn", "mlp", *NORMS}:
        return False
    names = {name for name, _ in parts["self_attn"].named_children()}
    if not set(SelfAttention.NAMES) <= names <= {*SelfAttention.NAMES, *SelfAttention.NORMS}:
        return False
    norms = [parts[name] for name in NORMS]
    norms += [getattr(parts["self_attn"], name) for name in SelfAttention.NORMS if name in names]
    return (
        all(isinstance(norm, RmsNorm) for norm in norms)
        and isinstance(parts["mlp"], GatedMlp)
        and not any(m._forward_hooks or m._forward_pre_hooks for m in layer.modules())
    )


def _layers(backbone: Any, heard: Mapping[int, Heard], dtype: torch.dtype) -> tuple[Layer, ...]:
    """Copies of all layers; nothing where one has a part of another kind or width."""
    made: list[Layer] = []
    for layer in backbone.layers:
        module = getattr(layer.self_attn, "before", (layer.self_attn,))[0]
        copied = _layer(layer, heard[id(module)], dtype) if id(module) in heard else None
        if copied is None or (made and copied.width != made[0].width):
            return ()
        made.append(copied)
    return tuple(made)


def _layer(layer: Any, heard: Heard, dtype: torch.dtype) -> Layer | None:
    attend, mlp, call = layer.self_attn, layer.mlp, heard.call
    heads, key_heads = heard.query_THD.shape[1], heard.key_TKD.shape[1]
    width = heard.query_THD.shape[2]
    norms = [getattr(attend, name, None) for name in SelfAttention.NORMS]
    if width % 2 or heard.value_TKD.shape[1:] != (key_heads, width):
        return None
    if call.softcap is not None or call.sinks_H is not None:
        return None
    if any(norm is not None and len(norm.weight) != width for norm in norms):
        return None
    modules = [getattr(attend, name) for name in SelfAttention.NAMES]
    modules += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    found = [given for given in map(weights_of, modules) if given is not None]
    if len(found) < len(modules):
        return None
    query, key, value, mixed, gate, up, down = found
    query_norm, key_norm = (norm and norm_of(norm) for norm in norms)
    return Layer(
        before_mixing=norm_of(layer.input_layernorm),
        mixing=joined([query, key, value], dtype),
        query_norm=query_norm,
        key_norm=key_norm,
        mixed=joined([mixed], dtype),
        before_inner=norm_of(layer.post_attention_layernorm),
        gate=joined([gate], dtype),
        up=joined([up], dtype),
        down=joined([down], dtype),
        heads=heads,
        key_heads=key_heads,
        width=width,
        call=call,
        dtype=dtype,
    )


def _angles(backbone: Any, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of each position's angles: (P, W), fp32."""
    cos, sin = backbone.rotary_emb(torch.zeros(1, 1, 1), torch.arange(positions)[None])
    return cos[0].float(), sin[0].float()


def _probe(
    run: Callable[[Cache, Tensor, Tensor], Tensor], backbone: Any, positions: int
) -> list[Tensor]:
    """States of two short prompts and of a step after each.

    The first prompt stands where rows begin and the second where they end: some models attend
    otherwise there.
    """
    lengths = (5, 3)
    vocabulary = len(matrix_of(backbone.get_input_embeddings()))
    draw = torch.Generator().manual_seed(0)
    cache = Cache(len(lengths), max(lengths) + 1)
    row = torch.repeat_interleave(torch.arange(2), torch.tensor(lengths))
    place = torch.cat([torch.arange(n) for n in lengths])
    late = max(0, positions - lengths[1] - 1)
    plan: Plan | None = Plan(lengths, (-1, -1))
    found = []
    for _ in range(2):
        cache.point(plan, row, place)
        ids = torch.randint(vocabulary, place.shape, generator=draw)
        found.append(run(cache, ids, place + late * row))
        plan, row, place = None, torch.arange(2), torch.tensor(lengths)
    return found
