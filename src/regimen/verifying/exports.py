"""Contracts of what is written: merged = adapter, exported = trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from regimen.adapters.files import is_adapter
from regimen.adapters.spec import quiet
from regimen.memory.quantisation.aware import settle
from regimen.models.forward import prepare
from regimen.training.checkpoints import save_model
from regimen.verifying.outcomes import LOGITS, Measurement, Outcome, logit_difference, not_run
from regimen.verifying.outcomes import not_applicable as does_not_apply
from regimen.verifying.plain import kept_places, logits_alone
from regimen.verifying.subject import Subject, scratch, trained_logits, wake_adapter

ENOUGH = 10
"""A change of logits must be this many tolerances, or its absence could not be seen."""


def merged(subject: Subject) -> Outcome:
    """The saved adapter merged into its base, as the next stage starts, against PEFT's forward."""
    if isinstance(subject.merge, str):
        return does_not_apply(subject.merge)
    opened = subject.open()
    network = opened.network.eval()
    wake_adapter(network)
    kept_K = kept_places(network, subject.rows)
    theirs_KV = logits_alone(network, subject.rows, kept_K)
    with network.disable_adapter():
        effect = logit_difference(logits_alone(network, subject.rows, kept_K), theirs_KV)
    if effect < ENOUGH * LOGITS:
        return not_run(f"the adapter moves the logits by {effect:.1g} of their size only")
    with scratch() as folder:
        save_model(network, opened.tokenizer, folder)
        del opened, network  # the merged model takes their place in memory
        ours_KV = trained_logits(prepare(subject.merge(folder).eval()), subject.rows, kept_K)
    difference = logit_difference(ours_KV, theirs_KV)
    return Outcome((Measurement(f"logits, moved {effect:.1%} by the adapter", difference, LOGITS),))


def exported(subject: Subject) -> Outcome:
    """The trained model in memory against what transformers or PEFT load from what it wrote.

    "Trained" are weights that have all moved, by 5% of their size, as training might move them.
    """
    opened = subject.open()
    network = opened.network.eval()
    kept_K = kept_places(network, subject.rows)
    before_KV = logits_alone(network, subject.rows, kept_K)
    move_weights(network)
    settle(network)  # weights that are trained through their rounded values are saved as those
    dtype = None if hasattr(network, "peft_config") else subject.save_dtype
    round_weights(network, dtype)
    model = prepare(network)
    ours_KV = trained_logits(model, subject.rows, kept_K)
    effect = logit_difference(before_KV, ours_KV)
    if effect < ENOUGH * LOGITS:
        return not_run(f"moved weights change the logits by {effect:.1g} of their size only")
    with scratch() as folder:
        save_model(model.model, opened.tokenizer, folder, dtype=subject.save_dtype)
        del opened, network, model  # what is loaded takes their place in memory
        loaded = load_plainly(folder, subject.quantisation).eval()
        theirs_KV = logits_alone(loaded, subject.rows, kept_K)
    by = "peft" if hasattr(loaded, "peft_config") else "transformers"
    difference = logit_difference(ours_KV, theirs_KV)
    return Outcome(
        (Measurement(f"logits in {by}, moved {effect:.1%}", difference, LOGITS),),
        reason=f"the weights in memory were rounded to {dtype} first, as on disk" if dtype else "",
    )


def load_plainly(folder: Path, quantisation: Any = None) -> Any:
    """A model or adapter folder in fp32, as the libraries' own classes open it."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    opens: Any = AutoPeftModelForCausalLM if is_adapter(str(folder)) else AutoModelForCausalLM
    more = {} if quantisation is None else {"quantization_config": quantisation}
    with quiet():
        return opens.from_pretrained(str(folder), dtype=torch.float32, **more)


@torch.no_grad()
def move_weights(network: Any, share: float = 0.05, seed: int = 0) -> None:
    """Move every trainable weight at random, by a share of its tensor's root mean square."""
    wake_adapter(network, seed)
    draw = torch.Generator().manual_seed(seed + 1)
    for _, parameter in sorted(network.named_parameters()):
        if parameter.requires_grad:
            step = torch.randn(parameter.shape, generator=draw).to(parameter)
            parameter.add_(share * parameter.square().mean().sqrt() * step)


@torch.no_grad()
def round_weights(network: Any, dtype: str | None) -> None:
    """Give the weights the values that they will have on disk."""
    if dtype is None:
        return
    for parameter in network.parameters():
        if parameter.is_floating_point():
            parameter.copy_(parameter.to(getattr(torch, dtype)))
