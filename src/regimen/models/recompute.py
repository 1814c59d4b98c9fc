"""Layers computed again in the backward pass (Chen et al. 2016, arXiv 1604.06174).

transformers' layers ask a function of their own to call them; ``Recompute`` is that function. It
remembers which rows are read, so that the last layer stays as small the second time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from regimen.models.fused import reading, rows_read


class _Again:
    """``reading`` that may be entered more than once, as a graph may be gone through."""

    def __init__(self, rows: Tensor | None) -> None:
        self.rows = rows
        self.inner: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        self.inner.append(reading(self.rows))
        self.inner[-1].__enter__()

    def __exit__(self, *raised: Any) -> None:
        self.inner.pop().__exit__(*raised)


class Recompute:
    """Calls a layer, keeps what goes in, and computes the rest again in the backward pass.

    Args:
        pack, unpack: what is kept in the place of a tensor that goes in, and the way back; the
            tensor itself when not given.
    """

    def __init__(
        self,
        pack: Callable[[Tensor], Any] | None = None,
        unpack: Callable[[Any], Tensor] | None = None,
    ) -> None:
        self.pack, self.unpack = pack, unpack

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        """As ``torch.utils.checkpoint``, without re-entrant autograd."""
        rows = rows_read()
        with self._hooks():
            return checkpoint(
                function,
                *args,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), _Again(rows)),
            )

    def _hooks(self) -> AbstractContextManager[Any]:
        if self.pack is None or self.unpack is None:
            return nullcontext()
        return torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack)

    def __deepcopy__(self, memo: Any) -> Recompute:
        return self


def forgets_rows(backbone: Any) -> bool:
    """Whether a layer is computed again by somebody who no longer knows which rows are read."""
    return any(
        getattr(module, "gradient_checkpointing", False)
        and not isinstance(getattr(module, "_gradient_checkpointing_func", None), Recompute)
        for module in backbone.modules()
    )
