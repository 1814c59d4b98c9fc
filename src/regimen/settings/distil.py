"""Settings of ``tune.distil``: learning what another model predicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from regimen.settings.base import Conflict, Section, Share, Text

DIVERGENCES = {"forward_kl": 0.0, "reverse_kl": 1.0}
"""The beta of the generalised Jensen-Shannon divergence that each name stands for."""

_SAMPLING = ("max_new_tokens", "sampling_temperature", "top_p")


class DistilSettings(Section):
    """A teacher whose distribution of every next token is learnt."""

    teacher: Text
    """Directory of the teacher: a model, or an adapter, with the student's vocabulary."""

    divergence: Literal["forward_kl", "reverse_kl", "jsd"] = "forward_kl"
    """What is made small: KL(teacher || student), which covers all that the teacher says;
    KL(student || teacher), which avoids what it does not say; the generalised Jensen-Shannon
    divergence between them."""

    beta: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of ``jsd``: the teacher's share of the mixture, near 0 as the forward KL divergence and near
    1 as the reverse one; 0.5 when not given."""

    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    """What both models' logits are divided by."""

    sft_weight: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """Weight of the likelihood of the tokens that are there, which is added."""

    on_policy: Share = 0.0
    """Share of the micro-batches in which the student's own answers, as it is then, stand in place
    of the data's last ones."""

    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Longest of these answers in tokens."""

    sampling_temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Sampling temperature of these answers."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sample them from the likeliest tokens that have this share of the probability."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the teacher's weights in memory."""

    @property
    def teacher_share(self) -> float:
        """The beta of the divergence: 0 is the forward and 1 the reverse KL divergence."""
        return DIVERGENCES.get(self.divergence, 0.5 if self.beta is None else self.beta)

    def conflicts(self) -> Iterator[Conflict]:
        """``beta`` is of one divergence; sampling is for own answers."""
        if self.beta is not None and self.divergence != "jsd":
            yield Conflict(
                what=f"is for 'divergence: jsd', and it is {self.divergence}",
                at=("beta",),
                fix="Set 'divergence: jsd', or remove it.",
            )
        for name in _SAMPLING:
            if name in self.model_fields_set and not self.on_policy:
                yield Conflict(
                    what="is for the student's own answers, and there are none",
                    at=(name,),
                    fix="Set 'on_policy' above 0, or remove it.",
                )


def of_distilling(section: Any) -> Iterator[Conflict]:
    """What a tuning with a teacher has no place for; ``section`` is that of ``tune``."""
    distil: DistilSettings | None = section.distil
    if distil is None:
        return
    for name in ("label_smoothing", "z_loss"):
        if getattr(section, name):
            yield Conflict(
                what="is for learning given tokens, and a teacher's distribution is learnt",
                at=(name,),
                fix="Remove it, or 'distil'.",
            )
    if section.memory.budget is not None:
        yield Conflict(
            what="does not count the teacher",
            at=("memory", "budget"),
            fix="Remove it, and choose the arrangement by hand.",
        )
    if not distil.on_policy:
        return
    reasons = {
        "text": (section.text is not None, "has no prompts to answer"),
        "replay": (section.replay is not None, "has no prompts to answer"),
        "rows_per_prefix": (section.rows_per_prefix > 1, "makes rows of several answers"),
        "mask": (section.mask == "all", "leaves no prompt in front of what is learnt"),
    }
    for name, (given, what) in reasons.items():
        if given:
            yield Conflict(
                what=f"{what}, and distil.on_policy has the student answer the rows' prompts",
                at=(name,),
                fix="Remove it, or set distil.on_policy to 0.",
            )
