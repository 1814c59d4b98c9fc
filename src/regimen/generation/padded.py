"""Generation for models that take no ragged batches: transformers' own loop, our choice of ids.

Prompts of one length run together, so nothing is padded: a recurrent state (Mamba, hybrids) would
read padding as text. Slower than the engine, with the same choice of ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from regimen.generation.rows import Continuation, Decode, Prompt, Row, choose
from regimen.generation.vocabulary import Scores


class _Choice(LogitsProcessor):
    """Chooses the next ids as the engine does and leaves transformers no other choice."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.chosen: list[tuple[int, float]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (R, V) in which only the chosen ids are left."""
        self.chosen = choose(Scores.of(scores.float()), self.rows)
        ids = torch.tensor([[token] for token, _ in self.chosen], device=scores.device)
        return torch.full_like(scores, float("-inf")).scatter(1, ids, 0.0)


class _Ends(StoppingCriteria):
    """Gives each row its id and tells which rows have ended."""

    def __init__(self, choice: _Choice, stop_ids: frozenset[int], decode: Decode | None) -> None:
        self.choice, self.stop_ids, self.decode = choice, stop_ids, decode

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Whether each row has ended: (R,) booleans."""
        for row, (token, logp) in zip(self.choice.rows, self.choice.chosen, strict=True):
            if not row.finish:
                row.take(token, logp, self.stop_ids, self.decode)
        ended = [bool(row.finish) for row in self.choice.rows]
        return torch.tensor(ended, device=input_ids.device)


def generate_padded(
    model: Any,
    prompts: Sequence[Prompt],
    stop_ids: frozenset[int],
    *,
    rows: int,
    bf16: bool,
    decode: Decode | None,
) -> Iterator[tuple[str, Continuation]]:
    """Yield ``(prompt.id, continuation)``, shortest prompts first."""
    ordered = sorted(prompts, key=lambda p: len(p.ids))
    start = 0
    while start < len(ordered):
        length = len(ordered[start].ids)
        group = [Row(p) for p in ordered[start : start + rows] if len(p.ids) == length]
        start += len(group)
        choice = _Choice(group)
        ids = torch.tensor([row.prompt.ids for row in group], device=model.device)
        with (
            torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=bf16),
            _no_settings_of_its_own(model),
        ):
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=max(row.prompt.max_new_tokens for row in group),
                logits_processor=LogitsProcessorList([choice]),
                stopping_criteria=StoppingCriteriaList([_Ends(choice, stop_ids, decode)]),
            )
        for row in group:
            yield row.prompt.id, row.done()


@contextmanager
def _no_settings_of_its_own(model: Any) -> Iterator[None]:
    """Sampling, penalties and stop ids that a checkpoint brings along are not what was asked."""
    before = model.generation_config
    bare = GenerationConfig(do_sample=False, pad_token_id=0)  # type: ignore[no-untyped-call]
    model.generation_config = bare
    try:
        yield
    finally:
        model.generation_config = before
