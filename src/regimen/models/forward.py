"""One forward for every causal language model: a ragged batch in, last hidden states out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regimen.errors import ModelError
from regimen.models import attention
from regimen.models.blocks import SelfAttention, self_attention
from regimen.models.compiling import compile_layers, padded_layers
from regimen.models.differences import relative_difference
from regimen.models.fused import fuse, reading
from regimen.models.head import Head, full_logits
from regimen.models.mapped import release
from regimen.models.quantised import multiplies_low
from regimen.models.recompute import forgets_rows
from regimen.models.slices import SLICED
from regimen.models.token_rows import beneath, look_up_rows, matrix_of, rows_of
from regimen.models.virtual import Virtual, is_virtual, virtual_of
from regimen.tokens.ragged import Plan, RaggedBatch, Segment, ragged_batch, to_padded

CUTS = "cuts"
"""The parameter of a score head with the free numbers behind the borders between levels."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal language model and how batches reach it.

    ``ragged`` says whether it takes flat batches; if not, ``reason`` says why and padded batches
    are used, with the same results.
    """

    model: Any
    ragged: bool
    reason: str = ""

    @property
    def device(self) -> torch.device:
        """Where its embedding is, and its batches have to be."""
        return place_of(self.model)

    @property
    def context_length(self) -> int:
        """Most tokens that the model can read; very many where its config does not say."""
        return int(getattr(self.model.config, "max_position_embeddings", 0) or 1 << 30)

    def hidden(self, batch: RaggedBatch, read_N: Tensor | None = None) -> Tensor:
        """Last hidden states (after the final norm) of every token: (T, D).

        With ``read_N``, rows in any order, only those need be right; the others may be anything.
        """
        backbone = backbone_of(self.model)
        if not self.ragged:
            return self._padded(batch, backbone)
        virtual = virtual_of(self.model) or Virtual(0)
        known = read_N is not None and not forgets_rows(backbone)
        read = torch.unique(read_N) + virtual.first if known and read_N is not None else None
        inputs = virtual.inputs(backbone.get_input_embeddings(), batch.ids_T)
        plan, places = virtual.plan(batch.plan), virtual.places(batch.position_T)
        with attention.active_plan(plan, prefix=virtual.prefix), reading(read):
            out = backbone(**inputs, position_ids=places[None], use_cache=False)
        hidden: Tensor = out.last_hidden_state.squeeze(0)
        return hidden[virtual.first :]

    def _padded(self, batch: RaggedBatch, backbone: Any) -> Tensor:
        """Last hidden states by padded rows, for a model that takes no flat batches."""
        if is_virtual(self.model):
            raise ModelError(
                "This model takes no flat batches, and so no trained positions before its rows.",
                slug="adapter-refused",
                got=f"{type(base_of(self.model)).__name__}: {self.reason}",
                fix="Choose another adapter.kind, for example lora.",
            )
        padded = to_padded(batch)
        out = backbone(input_ids=padded.ids_BL, attention_mask=padded.mask_BL, use_cache=False)
        rows: Tensor = out.last_hidden_state.flatten(0, 1).index_select(0, padded.flat_row_T)
        return rows

    def head(self) -> Head:
        """The vocabulary projection, with what is trained in the place of some of its rows."""
        return head_of(self.model)


def base_of(model: Any) -> Any:
    """The model without its PEFT wrapper (adapters stay injected)."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def place_of(model: Any) -> torch.device:
    """Where the embedding of a model is, and its ids have to be."""
    return matrix_of(base_of(model).get_input_embeddings()).device


def backbone_of(model: Any) -> Any:
    """The part below the vocabulary projection."""
    base = base_of(model)
    backbone = base.base_model
    if backbone is base:
        raise ModelError(
            "The model has no separate backbone.",
            slug="model-unsupported",
            got=type(base).__name__,
            expected="a Hugging Face causal language model",
        )
    return backbone


def head_of(model: Any) -> Head:
    """Read the vocabulary projection and its capping and scaling from module and config."""
    base = base_of(model)
    module = base.get_output_embeddings()
    if module is None and scores(base):
        return Head(base.score.weight, cuts_J=getattr(base.score, CUTS, None))
    if module is None:
        raise ModelError(
            "The model has no vocabulary projection.",
            slug="model-unsupported",
            got=type(base).__name__,
            fix="Load a causal language model.",
        )
    config = base.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    scale /= float(getattr(config, "logits_scaling", None) or 1.0)
    return Head(
        matrix_of(module),
        getattr(beneath(module), "bias", None),
        getattr(config, "final_logit_softcapping", None),
        scale,
        sliced=getattr(module, SLICED, False),
        rows=rows_of(module),
    )


def scores(base: Any) -> bool:
    """Whether a model gives scores of texts in place of likelihoods of tokens."""
    return type(base).__name__.endswith("ForSequenceClassification") and hasattr(base, "score")


def prepare(model: Any, *, compiled: bool = False) -> LanguageModel:
    """Switch a model to ragged attention if a probe shows equal results, else to padded batches.

    ``compiled`` leaves the modules as they are, for ``models.compiling.compile_layers``, and
    compiles them if they take flat batches.

    Raises:
        ModelError: layers are to be compiled, and there are none, no flat batches or no compiler.
    """
    found = _prepared(model, compiled=compiled)
    if compiled and not found.ragged:
        raise padded_layers(found.reason)
    return found


def _prepared(model: Any, *, compiled: bool) -> LanguageModel:
    base = base_of(model)
    original = base.config._attn_implementation
    look_up_rows(model)
    if original == attention.NAME:
        return LanguageModel(model, True)
    reason = _refused(base)
    if reason:
        return LanguageModel(model, False, reason)
    attention.register()
    expected = _alone(base)
    kind = place_of(model).type
    if kind in ("cpu", "cuda") and not compiled:
        fuse(base)
    _attend_by(base, attention.NAME)
    if base.config._attn_implementation != attention.NAME:
        return LanguageModel(model, False, "its attention is not exchangeable")
    probed = base if is_virtual(model) else model  # nothing stands before the probe's rows
    reason = _probe(probed, expected, forest=True) or _probe(probed, expected, forest=False)
    if reason:
        _attend_by(base, original)
        return LanguageModel(model, False, reason)
    if compiled:
        compile_layers(backbone_of(model))
    elif kind in ("cpu", "cuda"):
        before = _fuse_attention(probed)
        if before and _probe(probed, expected, forest=False):
            for name, module in before.items():
                base.set_submodule(name, module)
    return LanguageModel(model, True)


def _attend_by(base: Any, name: str) -> None:
    """Choose an attention. A model around the backbone of another has a config of its own, which
    its layers do not look at."""
    base.set_attn_implementation(name)
    backbone = base.base_model
    if backbone.config is not base.config:
        backbone.set_attn_implementation(name)


@torch.no_grad()
def _fuse_attention(model: Any) -> dict[str, torch.nn.Module]:
    """Replace self-attention where a module's queries, keys and values show what it computes.

    Returns what was there, by name.
    """
    base = base_of(model)
    wanted = set(SelfAttention.NAMES)
    candidates = {
        name: module
        for name, module in base.named_modules()
        if {n for n, _ in module.named_children()} - set(SelfAttention.NORMS) == wanted
        and not list(module.parameters(False))
    }
    inputs: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def note(name: str) -> Any:
        def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            angles, x = kwargs.get("position_embeddings"), kwargs.get("hidden_states")
            if not args and isinstance(angles, tuple) and isinstance(x, Tensor):
                inputs[name] = (x[0], angles[0][0], angles[1][0])

        return hook

    handles = [
        module.register_forward_pre_hook(note(name), with_kwargs=True)
        for name, module in candidates.items()
    ]
    prepared = LanguageModel(model, True)
    batch = ragged_batch(_probe_segments(base, forest=False)).to(prepared.device)
    with attention.listening() as heard:
        prepared.hidden(batch)
    for handle in handles:
        handle.remove()
    before = {}
    for name, module in candidates.items():
        if name in inputs and id(module) in heard:
            made = self_attention(module, *inputs[name], heard[id(module)])
            for parameter in module.parameters():
                release(parameter)  # of a streamed base: what the comparison read
            if made is not None:
                base.set_submodule(name, made)
                before[name] = module
    return before


def _refused(base: Any) -> str:
    """Why a model cannot take flat batches, from its class and config alone."""
    if getattr(type(base), "_is_stateful", False):
        return "it carries a recurrent state"
    config = base.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    other = kinds - {"full_attention", "sliding_attention"}
    return f"it has layers of kind {', '.join(sorted(other))}" if other else ""


def _probe_segments(base: Any, *, forest: bool) -> list[Segment]:
    """Two sequences and one that continues the first: as its child, or written out."""
    vocabulary = len(matrix_of(base.get_input_embeddings()))
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(vocabulary, (n,), generator=draw).tolist() for n in (7, 5, 6)]
    third = ids[2] if forest else ids[0] + ids[2]
    return [
        Segment(ids[0], [0.0] * 7),
        Segment(ids[1], [0.0] * 5),
        Segment(third, [0.0] * len(third), parent=0 if forest else -1),
    ]


@torch.no_grad()
def _alone(base: Any) -> list[Tensor]:
    """Logits of each probe segment run alone, under the model's own attention."""
    sequences = [list(s.ids) for s in _probe_segments(base, forest=False)]
    training = base.training
    base.eval()
    weight = matrix_of(base.get_input_embeddings())
    # trained vectors in fp32 beside weights in bf16 give the model's own attention both types
    low = weight.dtype in (torch.bfloat16, torch.float16)
    with torch.autocast(weight.device.type, dtype=weight.dtype if low else None, enabled=low):
        out = [_every_token(base, torch.tensor([ids], device=weight.device)) for ids in sequences]
    base.train(training)
    return [logits.float() for logits in out]


def _every_token(base: Any, ids_1L: Tensor) -> Tensor:
    """The logits of each token or, of a model whose own are of whole texts, its hidden state."""
    if scores(base):
        hidden: Tensor = base.base_model(input_ids=ids_1L, use_cache=False).last_hidden_state[0]
        return hidden
    logits: Tensor = base(input_ids=ids_1L, use_cache=False).logits[0]
    return logits


@torch.no_grad()
def _probe(model: Any, expected: list[Tensor], *, forest: bool) -> str:
    """Why the flat batch disagrees with the model alone, or nothing."""
    base = base_of(model)
    batch = ragged_batch(_probe_segments(base, forest=forest)).to(expected[0].device)
    training = base.training
    base.eval()
    some = torch.arange(0, batch.num_tokens, 2, device=expected[0].device)
    try:
        hidden = LanguageModel(model, True).hidden(batch)
        hidden[some] = LanguageModel(model, True).hidden(batch, some)[some]
    except (ModelError, TypeError, AttributeError, ValueError, RuntimeError, IndexError) as error:
        return f"the flat batch fails: {str(error).splitlines()[0]}"
    finally:
        base.train(training)
    logits = hidden.float()
    if not scores(base):
        logits = full_logits(hidden, head_of(model), torch.float32)
    together = torch.cat([expected[0], expected[1], expected[2][7 if forest else 0 :]])
    worst = relative_difference(logits, together)
    exact = hidden.dtype == torch.float32 and not multiplies_low(base)
    tolerance = 1e-3 if exact else 5e-2
    return "" if worst <= tolerance else f"its logits differ by {worst:.2g} of their size"


def plan_of(lengths: tuple[int, ...]) -> Plan:
    """A plan of independent segments."""
    return Plan(lengths, (-1,) * len(lengths))
