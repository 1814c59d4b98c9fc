"""The gradients of an optimizer step as the loop forms them, for those who compare them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from regimen.models.buffers import kept_buffers
from regimen.models.forward import LanguageModel, base_of
from regimen.objectives.base import Objective
from regimen.tokens.ragged import RaggedBatch
from regimen.training.loop import accumulate
from regimen.training.options import LoopOptions


def step_gradients(
    model: LanguageModel, objective: Objective, batches: Sequence[RaggedBatch], options: LoopOptions
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """What the loop would log for a step over these micro-batches, and its gradients by name.

    They are those before clipping. The model keeps its mode and its weights, and no gradient stays
    in it. A trainable parameter that the loss does not reach has none.

    Raises:
        TrainingError: a loss that is not finite.
    """
    model.model.zero_grad(set_to_none=True)
    with kept_buffers(base_of(model.model).get_input_embeddings()):
        losses = accumulate(model, objective, batches, options)
        # taken before the kept blocks could be used again
        found = {n: p.grad for n, p in model.model.named_parameters() if p.grad is not None}
        model.model.zero_grad(set_to_none=True)
    return losses, found
