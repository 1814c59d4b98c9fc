"""Small networks between the layers of the base: bottleneck adapters of three kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from regimen.adapters.spec import Spec, needs_modules
from regimen.adapters.targets import attention_outputs, feedforward_modules, feedforward_outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck(Spec):
    """A network of two layers with few units between, added to what a part of a layer gives.

    Args:
        placement: ``houlsby``: after attention and after the feed-forward network (Houlsby et al.
            2019); ``pfeiffer``: after the feed-forward network (Pfeiffer et al. 2020);
            ``parallel``: beside it, over its input (He et al. 2021, section 4).
        inner: units.
        activation: ``relu``, ``gelu``, ``silu`` or ``tanh``.
        scale: of what is added.
    """

    merges: ClassVar[bool] = False
    part: ClassVar[str] = "bottleneck_"

    placement: str = "pfeiffer"
    inner: int = 64
    activation: str = "relu"
    scale: float = 1.0

    def config(self, model: Any) -> Any:
        """As ``Spec``."""
        from regimen.adapters.bottleneck import config_for

        if self.placement == "parallel":
            found = feedforward_modules(model)
        else:
            found = feedforward_outputs(model)
            found += attention_outputs(model) if self.placement == "houlsby" else []
        names = needs_modules(
            found, method="a bottleneck adapter", what="feed-forward network", model=model
        )
        return config_for(
            names,
            inner=self.inner,
            activation=self.activation,
            parallel=self.placement == "parallel",
            scale=self.scale,
        )
