"""The twelve cells of gpu.py: what is computed, at which shape, and who is asked to do it.

Shapes are those of published models, weights are drawn. Rows have the lengths of instruction data,
of HH-RLHF's pairs, or fill packs. A step has the same rows on every side, and a micro-batch of a
step about as many tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gpu_shapes import SHAPES, TINY_SHAPE
from work import LORA

Kind = Literal["sft", "dpo", "grpo", "generate", "head"]
Lengths = Literal["instructions", "packs", "pairs", "groups", "none"]

IDS_DRAWN = 32_000
"""Ids of the rows are below it, so that the peers' tokenizer need not be larger."""


@dataclass(frozen=True, slots=True)
class Side:
    """Who does a cell: a script, its settings, and seconds that a process may take.

    ``library`` is what the side stands for in ratios; sides of one library are its entries, of
    which the fastest is quoted. ``expected`` seconds must be left to begin. Sides that are
    ``later`` wait until those of all cells that something is claimed of have run.
    """

    name: str
    script: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    library: str = ""
    limit: float = 120.0
    expected: float = 40.0
    later: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell.

    Args:
        per_step: rows, packs, pairs or prompts of a step; prompts of a generation.
        parts: micro-batches of a step on regimen's side.
        steps: of a process, the first ``warm`` of which are not counted.
        length: of a pack; new tokens of a generation; rows of a head.
        shared: share of the tokens of pairs that are prompts'; None for HH-RLHF's lengths.
        compared: whether the first losses of all sides must agree.
    """

    name: str
    about: str
    kind: Kind
    shape: str
    lengths: Lengths
    sides: tuple[Side, ...]
    per_step: int
    parts: int = 4
    steps: int = 8
    warm: int = 2
    length: int = 4096
    lora: bool = False
    quantise: str = ""
    checkpointing: bool = False
    compiled: bool = False
    shared: float | None = None
    compared: bool = True
    model: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """Of the weights: what is trained whole is kept in fp32 and multiplied in bf16."""
        frozen = self.lora or self.kind in ("generate", "head")
        return "bfloat16" if frozen else "float32"

    @property
    def facts(self) -> dict[str, Any]:
        """What a side must know beside the rows."""
        return {
            "kind": self.kind,
            "model": {**SHAPES[self.shape], **self.model},
            "dtype": self.dtype,
            # transformers' SDPA path leaves the cap of scores out
            "attention": "eager" if self.shape == "gemma2" else "sdpa",
            "lora": LORA if self.lora else None,
            "quantise": self.quantise,
            "checkpointing": self.checkpointing,
            "compiled": self.compiled,
            "per_step": self.per_step,
            "parts": self.parts,
            "steps": self.steps,
            "length": self.length,
            "learning_rate": 1e-4 if self.lora else 1e-5,
        }


def ours(**more: Any) -> Side:
    """regimen's side."""
    limit = more.pop("limit", 150.0)
    return Side("regimen", "regimen_gpu.py", more, "regimen", limit)


def transformers(**settings: Any) -> Side:
    """transformers and PEFT in a plain loop of padded batches."""
    script = "peers/transformers_gpu.py"
    return Side("transformers", script, settings, "transformers", later=True)


def trl(*, liger: bool = False, name: str = "", limit: float = 150.0, **settings: Any) -> Side:
    """TRL's trainer, with Liger's kernels or without; ``rows`` of a micro-batch."""
    library = "trl_liger" if liger else "trl"
    more = {"use_liger_kernel": True} if liger else {}
    label = f"{library}, {name}" if name else library
    later = bool(name) or not liger
    return Side(label, "peers/trl_gpu.py", {**settings, **more}, library, limit, later=later)


def beside_trl(**settings: Any) -> tuple[Side, Side]:
    """TRL with Liger's kernels, which the claims are about, then without."""
    return trl(liger=True, **settings), trl(**settings)


def padded(rows: int) -> tuple[Side, ...]:
    """All sides of rows of instruction lengths, ``rows`` of them in a peer's micro-batch."""
    return (
        ours(),
        *beside_trl(rows=rows),
        transformers(rows=rows // 2),
    )


_WITHOUT = {"gradient_checkpointing": True}
_GENERATE = "peers/transformers_gpu.py"
_HEAD = "gpu_head.py"

CELLS: Mapping[str, Cell] = {
    cell.name: cell
    for cell in (
        Cell(
            name="lora_8b",
            about="LoRA of 8 B, packs of 4,096 tokens",
            kind="sft",
            shape="8b",
            lengths="packs",
            per_step=4,
            lora=True,
            sides=(
                ours(),
                *beside_trl(rows=1),
                transformers(rows=1),
            ),
        ),
        Cell(
            name="sft_full_1.5b",
            about="all weights of 1.5 B, instruction lengths",
            kind="sft",
            shape="1.5b",
            lengths="instructions",
            per_step=128,
            sides=(*padded(16), trl(liger=True, name="larger batches", rows=32)),
        ),
        Cell(
            name="dpo_1.5b",
            about="DPO of 1.5 B, the lengths of HH-RLHF's pairs",
            kind="dpo",
            shape="1.5b",
            lengths="pairs",
            per_step=64,
            steps=6,
            sides=(ours(), *beside_trl(rows=16), trl(liger=True, name="larger batches", rows=32)),
        ),
        Cell(
            name="nf4_lora_8b",
            about="LoRA on 8 B in NF4, packs of 4,096 tokens, layers computed again",
            kind="sft",
            shape="8b",
            lengths="packs",
            per_step=2,
            parts=2,
            steps=6,
            lora=True,
            quantise="nf4",
            checkpointing=True,
            sides=(ours(), *beside_trl(rows=1, **_WITHOUT)),
        ),
        Cell(
            name="head",
            about="the head alone: 16,384 rows, a vocabulary of 248,320",
            kind="head",
            shape="none",
            lengths="none",
            per_step=1,
            length=16_384,
            steps=13,
            warm=3,
            sides=tuple(
                Side(name, _HEAD, {"side": name}, library, 90.0, 25.0)
                for name, library in (
                    ("regimen", "regimen"),
                    ("regimen, nll", "regimen_nll"),
                    ("products", "products"),
                    ("cut_cross_entropy", "cut_cross_entropy"),
                    ("cut_cross_entropy, all gradients", "cut_cross_entropy_exact"),
                    ("liger", "liger"),
                    ("torch", "torch"),
                )
            ),
        ),
        Cell(
            name="lora_1.5b",
            about="LoRA of 1.5 B, instruction lengths",
            kind="sft",
            shape="1.5b",
            lengths="instructions",
            per_step=128,
            lora=True,
            sides=padded(32),
        ),
        Cell(
            name="sft_full_0.5b",
            about="all weights of 0.5 B, instruction lengths",
            kind="sft",
            shape="0.5b",
            lengths="instructions",
            per_step=128,
            sides=padded(32),
        ),
        Cell(
            name="grpo_1.5b",
            about="update of GRPO on 1.5 B: 8 prompts, 8 answers each, given advantages",
            kind="grpo",
            shape="1.5b",
            lengths="groups",
            per_step=8,
            steps=6,
            compared=False,
            sides=(ours(), *beside_trl(rows=16)),
        ),
        Cell(
            name="generate_1.5b",
            about="256 prompts of 1.5 B continued by 128 tokens, greedy",
            kind="generate",
            shape="1.5b",
            lengths="instructions",
            per_step=256,
            length=128,
            steps=3,
            warm=1,
            compared=False,
            sides=(
                ours(),
                Side("transformers", _GENERATE, {"batch": 256}, "transformers", 150.0),
                Side(
                    "transformers, static cache",
                    _GENERATE,
                    {"batch": 256, "cache_implementation": "static"},
                    "transformers",
                    150.0,
                ),
            ),
        ),
        Cell(
            name="dpo_prefix_1.5b",
            about="DPO of 1.5 B, prompts 80% of the tokens: read once, or once for each answer",
            kind="dpo",
            shape="1.5b",
            lengths="pairs",
            per_step=32,
            steps=6,
            shared=0.8,
            sides=(
                ours(),
                Side("separate", "regimen_gpu.py", {"separate": True}, "separate", 150.0),
            ),
        ),
        Cell(
            name="lora_gemma2",
            about="LoRA of 2.6 B with capped scores and windows, packs of 8,192 tokens",
            kind="sft",
            shape="gemma2",
            lengths="packs",
            per_step=2,
            parts=2,
            steps=6,
            length=8192,
            lora=True,
            sides=(
                ours(),
                *beside_trl(rows=1, **_WITHOUT),
            ),
        ),
        Cell(
            name="lora_1.5b_compiled",
            about="LoRA of 1.5 B, packs of 4,096 tokens, compiled",
            kind="sft",
            shape="1.5b",
            lengths="packs",
            per_step=4,
            lora=True,
            compiled=True,
            sides=(
                ours(limit=240.0),
                *beside_trl(rows=1, limit=240.0, torch_compile=True),
            ),
        ),
    )
}
"""By name, in the order in which they run: what most is claimed of first."""


def tiny(cell: Cell) -> Cell:
    """The same at a shape that a CPU computes in a second."""
    some = {k: TINY_SHAPE[k] for k in ("vocab_size", "hidden_size")}
    more = some if cell.kind == "head" else {**TINY_SHAPE, "head_dim": 32, "sliding_window": 16}
    return replace(
        cell,
        sides=tuple(_few(side) for side in cell.sides),
        model=more,
        per_step=4 if cell.lengths != "groups" else 2,
        parts=2,
        steps=3,
        warm=1,
        length={"head": 64, "generate": 4}.get(cell.kind, 64),
    )


def _few(side: Side) -> Side:
    settings = dict(side.settings)
    for name, most in (("rows", 2), ("batch", 4)):
        if name in settings:
            settings[name] = min(settings[name], most)
    return replace(side, settings=settings)
