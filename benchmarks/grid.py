"""The peers' committed grids: every way in which a peer is run on a work.

Every entry but a peer's defaults has the same maximum length, the same rows in each optimizer step
and the same optimizer. `defaults` is the peer as it comes: only what a run of a given length on a
CPU needs is set (the output directory, no reporting, the number of steps, `use_cpu`), and what the
work is about (the adapter of `sft_lora`). A grid is run in the type of numbers that the machine
multiplies faster, and one of its entries in the other as well. Entries that promise most come
first: later ones are left after their second step if they are slower than half the best so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from align_grid import align_defaults, align_grid
from entries import KEEP_BLOCKS, Configuration, Rows, equal, named
from work import MAX_LENGTH
from works import Work

ROWS_OF_DEFAULTS = 8
"""Rows of an optimizer step where SFTConfig is left alone."""

_GROUPED = {"train_sampling_strategy": "group_by_length"}
_FREE = {"padding_free": True, "max_length": None}
_PACKED = {"packing": True}
_BEST = "batch 4, grouped by length"

_SHAPES: tuple[Rows, ...] = (
    (_BEST, 4, _GROUPED),
    ("batch 8, grouped by length", 8, _GROUPED),
    ("batch 4, padding-free", 4, _FREE),
    ("packed, 1 pack", 1, _PACKED),
    ("batch 2, grouped by length", 2, _GROUPED),
    ("batch 2", 2, {}),
    ("batch 1, plain AdamW", 1, {"optim": "adamw_torch"}),
    ("batch 1, allocator as it is", 1, {"keep_blocks": False}),
    ("batch 1, checkpointing", 1, {"gradient_checkpointing": True}),
    ("batch 1, compiled", 1, {"torch_compile": True}),
    ("batch 32, grouped by length", 32, _GROUPED),
)
_SHAPES_135M: tuple[Rows, ...] = (
    (_BEST, 4, _GROUPED),
    ("batch 4, padding-free", 4, _FREE),
    ("packed, 1 pack", 1, _PACKED),
    ("batch 2, grouped by length", 2, _GROUPED),
    ("batch 1, checkpointing", 1, {"gradient_checkpointing": True}),
    ("batch 8, grouped by length", 8, _GROUPED),
    ("batch 1, compiled", 1, {"torch_compile": True}),
)
_SHAPES_EVAL: tuple[Rows, ...] = (
    (_BEST, 4, _GROUPED),
    ("batch 8, grouped by length", 8, _GROUPED),
    ("batch 16, grouped by length", 16, _GROUPED),
    ("batch 4, padding-free", 4, _FREE),
    ("batch 2, padding-free", 2, _FREE),
    ("packed, 1 pack", 1, {"packing": True, "eval_packing": True}),
    ("batch 2, grouped by length", 2, _GROUPED),
    ("batch 1", 1, {}),
    ("batch 1, allocator as it is", 1, {"keep_blocks": False}),
    ("batch 4, grouped by length, Trainer", 4, {"trainer": "transformers", **_GROUPED}),
    ("batch 1, Trainer", 1, {"trainer": "transformers"}),
    ("batch 32, grouped by length", 32, _GROUPED),
    ("batch 1, compiled", 1, {"torch_compile": True}),
    ("batch 4, padding-free, compiled", 4, {"torch_compile": True, **_FREE}),
)


def grid(work: Work, bf16: bool) -> tuple[Configuration, ...]:
    """All entries of a work, for a machine whose products are faster in bf16, or in fp32."""
    if work.aligns:
        return align_grid(work, bf16)
    shapes = _SHAPES_135M if work.name == "sft_full_135m" else _SHAPES
    if work.evaluates:
        made = [_evaluating(row, bf16) for row in _SHAPES_EVAL]
        return (*made, _evaluating(_SHAPES_EVAL[0], not bf16))
    made = [_training(work, row, bf16) for row in shapes]
    made.append(_training(work, shapes[0], not bf16))
    return (*made, *_litgpt(work, bf16), *_llamafactory(work, bf16))


def defaults(work: Work) -> Configuration:
    """TRL as it comes."""
    if work.aligns:
        return align_defaults()
    script = "trl_eval.py" if work.evaluates else "trl_sft.py"
    return Configuration("defaults", {"use_cpu": True}, {}, "trl", script, 0, True)


def quick_best(work: Work, bf16: bool) -> Configuration:
    """Stands for the grid in a quick run."""
    return grid(work, bf16)[0]


def _training(work: Work, row: Rows, bf16: bool) -> Configuration:
    """TRL's SFTTrainer. Packs of ``MAX_LENGTH`` tokens hold about the tokens of a step's rows."""
    name, batch, more = row
    settings = equal(work) | {"bf16": bf16, "gradient_checkpointing": False} | dict(more)
    keep_blocks = settings.pop("keep_blocks", True)
    packed = settings.get("packing", False)
    settings["per_device_train_batch_size"] = batch
    settings["gradient_accumulation_steps"] = work.rows_per_step // (8 if packed else 1) // batch
    same = settings["train_sampling_strategy"] == "sequential" and not packed
    environment = KEEP_BLOCKS if keep_blocks else {}
    return Configuration(named(name, bf16), settings, environment, compared=None if same else 0)


def _evaluating(row: Rows, bf16: bool) -> Configuration:
    """``evaluate()`` of TRL's or transformers' trainer; the rows are the same in any order."""
    name, batch, more = row
    settings: dict[str, Any] = {
        "use_cpu": True,
        "bf16": bf16,
        "max_length": MAX_LENGTH,
        "train_sampling_strategy": "sequential",
        "per_device_eval_batch_size": batch,
        "prediction_loss_only": True,
    } | dict(more)
    environment = KEEP_BLOCKS if settings.pop("keep_blocks", True) else {}
    compared = 0 if settings.get("eval_packing") else None  # a packed row is cut at its pack's end
    name = named(name, bf16)
    return Configuration(name, settings, environment, script="trl_eval.py", compared=compared)


def _litgpt(work: Work, bf16: bool) -> Iterator[Configuration]:
    """LitGPT's fine-tuning. Its rate follows a cosine from 0, so only first losses are compared."""
    if "litgpt" not in work.peers:
        return
    common = {"precision": "bf16-mixed" if bf16 else "32-true", "lr": work.learning_rate}
    for batch in (2, 1):
        settings = common | {"micro_batch_size": batch, "global_batch_size": work.rows_per_step}
        name = named(f"batch {batch}", bf16)
        yield Configuration(name, settings, KEEP_BLOCKS, "litgpt", "litgpt_sft.py", 1)
    yield Configuration("defaults", {}, {}, "litgpt", "litgpt_sft.py", 0, True)


def _llamafactory(work: Work, bf16: bool) -> Iterator[Configuration]:
    """LLaMA-Factory's trainer, which is transformers' with its own collator and templates."""
    if "llamafactory" not in work.peers:
        return
    settings = equal(work) | {
        "bf16": bf16,
        "disable_gradient_checkpointing": True,
        "train_sampling_strategy": "group_by_length",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": work.rows_per_step // 4,
    }
    settings["cutoff_len"] = settings.pop("max_length")
    script = "llamafactory_sft.py"
    yield Configuration(named(_BEST, bf16), settings, KEEP_BLOCKS, "llamafactory", script, 0)
    yield Configuration("defaults", {"use_cpu": True}, {}, "llamafactory", script, 0, True)
