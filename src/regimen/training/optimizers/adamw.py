"""AdamW: torch's fused one, and those that keep their state in 8 or 4 bits or in paged memory."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from regimen.errors import MissingExtraError, TrainingError
from regimen.training.optimizers.kinds import Groups

Betas = tuple[float, float]

COMPILED_FROM = 10_000_000
"""Trained parameters from which torchao's step is compiled on a CPU."""


def adamw(groups: Groups, *, betas: Betas, eps: float) -> torch.optim.Optimizer:
    """torch's, in one pass over each tensor (Loshchilov and Hutter 2017)."""
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, fused=True)


def from_bitsandbytes(name: str, *, paged: bool = False) -> Callable[..., torch.optim.Optimizer]:
    """The constructor of one of bitsandbytes' (Dettmers et al. 2021).

    Raises:
        MissingExtraError: bitsandbytes is not installed.
        TrainingError: ``paged``, and a parameter is not on a CUDA device.
    """

    def make(groups: Groups, *, betas: Betas, eps: float) -> torch.optim.Optimizer:
        groups = list(groups)
        if paged:
            _needs_cuda(groups)
        library = _library("bitsandbytes", "bitsandbytes.optim")
        # its schedule of steps needs a rate above 0 at the start
        made: torch.optim.Optimizer = getattr(library, name)(groups, lr=1e-9, betas=betas, eps=eps)
        return made

    return make


def from_torchao(name: str) -> Callable[..., torch.optim.Optimizer]:
    """The constructor of one of torchao's.

    Its step is compiled for each shape, at the first step. On a CPU it runs as it is written where
    there is no C++ compiler, or fewer than ``COMPILED_FROM`` parameters: compilation takes as long
    as many of their steps.

    Raises:
        MissingExtraError: torchao is not installed.
    """

    def make(groups: Groups, *, betas: Betas, eps: float) -> torch.optim.Optimizer:
        base: Any = getattr(_library("torchao", "torchao.optim"), name)

        class Stepped(base):  # type: ignore[misc]
            def step(self, closure: Any = None) -> None:
                for group in self.param_groups:
                    # it takes the rate as a tensor only, so that a new one compiles nothing anew
                    group["lr"] = torch.tensor(float(group["lr"]))
                stance = "default" if _is_compiled(self.param_groups) else "force_eager"
                with torch.compiler.set_stance(stance), warnings.catch_warnings():
                    # that its tensors do not say how a compiled step of theirs is cached
                    warnings.filterwarnings("ignore", message=".*_stable_hash_for_caching")
                    super().step()

        Stepped.__name__ = Stepped.__qualname__ = name
        made: torch.optim.Optimizer = Stepped(groups, lr=0.0, betas=betas, eps=eps)
        return made

    return make


def _is_compiled(groups: list[dict[str, Any]]) -> bool:
    every = [p for group in groups for p in group["params"]]
    if any(p.device.type != "cpu" for p in every):
        return True
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    return compiler is not None and sum(p.numel() for p in every) >= COMPILED_FROM


def _needs_cuda(groups: list[dict[str, Any]]) -> None:
    elsewhere = {p.device.type for group in groups for p in group["params"]} - {"cuda"}
    if elsewhere:
        raise TrainingError(
            "A paged optimizer needs a CUDA device: only there can state move to the CPU's memory "
            "page by page.",
            slug="paged-needs-cuda",
            got=f"parameters on {', '.join(sorted(elsewhere))}",
            fix="Use the same optimizer without paging: optimizer: adamw or adamw_8bit.",
        )


def _library(name: str, module: str) -> Any:
    """A module of an optional library, which says nothing while it is imported."""
    if find_spec(name) is None:
        raise MissingExtraError(
            f"This optimizer needs {name}.", slug=f"missing-{name}", fix=f"pip install {name}"
        )
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of extensions for devices that are not here
    try:
        return import_module(module)
    finally:
        logging.disable(before)
