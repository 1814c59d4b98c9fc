"""A frozen linear layer in LLM.int8's codes whose product is that of the dequantised weight.

bitsandbytes' own layer multiplies by the dequantised weight while it trains on a CPU, and rounds
activations too in evaluation and on CUDA. There, columns with an outlier in any row of the batch
are taken out of the rounding, so that a row's result depends on its neighbours. The layer here
has one result, whatever the mode, the device and the batch.

Shape letters: T tokens (and leading dimensions), I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import bitsandbytes
import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST = 127.0
"""The largest code: a row's scale is what it stands for."""


class _Product(torch.autograd.Function):
    """x W^T + b with W = codes * scale / 127; nothing but the codes is kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any, x_TI: Tensor, codes_OI: Tensor, scale_O: Tensor, bias_O: Tensor | None
    ) -> Tensor:
        ctx.codes, ctx.scale = codes_OI, scale_O
        bias_O = bias_O if bias_O is None else bias_O.to(x_TI.dtype)
        return F.linear(x_TI, weight(codes_OI, scale_O, x_TI.dtype), bias_O)

    @staticmethod
    def backward(ctx: Any, grad_TO: Tensor) -> tuple[Tensor, None, None, None]:
        return grad_TO @ weight(ctx.codes, ctx.scale, grad_TO.dtype), None, None, None


def weight(codes_OI: Tensor, scale_O: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight that codes stand for (O, I): vector-wise absmax (Dettmers et al. 2022, eq. 4)."""
    return codes_OI.to(dtype).mul_((scale_O / LARGEST)[:, None])


class Linear8bitLt(bitsandbytes.nn.Linear8bitLt):  # type: ignore[misc,name-defined]
    """bitsandbytes' layer, for which PEFT and transformers look, with the product of this file."""

    def keep_codes(self) -> None:
        """Put codes and scales where PEFT looks for them; harmless to repeat."""
        scale = self.state.SCB if self.weight.SCB is None else self.weight.SCB
        self.weight.CB, self.weight.SCB = None, scale
        self.state.CB, self.state.SCB = self.weight.data, scale

    def forward(self, x: Tensor) -> Tensor:
        """(T, I) to (T, O), in the type of ``x``, or in autocast's."""
        if self.weight.SCB is None or self.state.CB is not self.weight.data:
            self.keep_codes()
        kind = x.device.type
        low = x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x
        with torch.autocast(kind, enabled=False):
            out: Tensor = _Product.apply(  # type: ignore[no-untyped-call]
                low, self.weight.data, self.weight.SCB, self.bias
            )
        return out
