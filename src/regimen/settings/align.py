"""Settings of ``align``: learning from preferences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag, field_validator, model_validator

from regimen.settings.align_methods import (
    FORMS,
    REWARDS,
    Hyperparameters,
    LossSettings,
    MethodName,
)
from regimen.settings.base import Conflict, Text
from regimen.settings.raft import RaftSettings as RaftSettings
from regimen.settings.raft import of_raft
from regimen.settings.training import ModelSettings, TrainingSettings, goes_on

Losses = Annotated[tuple[LossSettings, ...], Strict(False), Field(min_length=1)]


def _how_written(value: Any) -> str:
    """Which of the two forms of ``method`` a value has; so that only its problems are told."""
    return "sum" if isinstance(value, list | tuple) else "name"


class AlignSettings(TrainingSettings, Hyperparameters):
    """Alignment of the tuned model with the preferences of ``build``."""

    method: Annotated[
        Annotated[MethodName, Tag("name")] | Annotated[Losses, Tag("sum")],
        Discriminator(_how_written),
    ] = "dpo"
    """The method, with its hyper-parameters beside it; or a list of losses, each with a ``name``, a
    ``weight`` and its own hyper-parameters, whose weighted sum is learnt."""

    model: ModelSettings | None = None
    """The model to start from; what ``tune`` ended with when not given."""

    data: Text | None = None
    """A directory of ``build`` or a file of preferences; the pipeline's when not given."""

    reference: Literal["frozen_start"] = "frozen_start"
    """The reference policy: the model as this stage found it, frozen."""

    raft: RaftSettings | None = None
    """Of ``method: raft``: prompts, the score, rounds and sampling."""

    overflow: Literal["drop", "truncate"] = "drop"
    """What happens to a pair longer than ``max_length``: it is left out, or the oldest turns of its
    prompt are. Answers stay whole, because the preference is about them whole."""

    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-6
    """Peak learning rate; 1e-4 for rewards when not given, because their head is new."""

    @model_validator(mode="before")
    @classmethod
    def _new_heads_learn(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("method") in REWARDS:
            return {"learning_rate": 1e-4, **data}
        return data

    @field_validator("model", mode="before")
    @classmethod
    def _goes_on(cls, model: Any) -> Any:
        return None if model is None else goes_on(model)

    @property
    def rewards(self) -> bool:
        """Whether a model that scores answers is trained, not one that gives them."""
        return self.method in REWARDS

    @property
    def losses(self) -> tuple[LossSettings, ...]:
        """What is learnt as a weighted sum: one loss for a method; none for conditioned tuning."""
        if isinstance(self.method, tuple):
            return self.method
        if self.method not in FORMS:
            return ()
        # the fields were checked; a copy would lose the name's type
        return (LossSettings.model_validate({"name": self.method, **self.given()}),)

    @property
    def form(self) -> str:
        """The rows that are learnt from: pairs, labelled, ranked, or any of these."""
        forms = [FORMS[loss.name] for loss in self.losses]
        return next((form for form in forms if form != "any"), "any")

    def conflicts(self) -> Iterator[Conflict]:
        """Alignment starts from a trained model; hyper-parameters are of the method."""
        yield from self.optimisation_conflicts()
        yield from self._loss_conflicts()
        yield from of_raft(self)
        yield from self._base_conflicts()
        if self.model is not None and self.model.config is not None:
            yield Conflict(
                what="describes a fresh model, and alignment starts from a trained one",
                at=("model", "config"),
                fix="Use model.path.",
            )

    def _base_conflicts(self) -> Iterator[Conflict]:
        """What a model that scores is trained on."""
        if not self.rewards:
            return
        for name in ("quantise", "quantisation_aware"):
            if getattr(self, name) is not None:
                yield Conflict(
                    what="is not for models that score",
                    at=(name,),
                    fix="Remove it, or start from a smaller model.",
                )
        if self.memory.stream:
            yield Conflict(
                what="is not for models that score",
                at=("memory", "stream"),
                fix="Remove it, or start from a smaller model.",
            )

    def _loss_conflicts(self) -> Iterator[Conflict]:
        """One method's hyper-parameters, or one form of rows for all losses."""
        if not isinstance(self.method, tuple):
            yield from self.method_conflicts(self.method)
            return
        for name in self.given():
            yield Conflict(
                what="stands beside a list of losses, which have their own",
                at=(name,),
                fix="Move it into the loss that it is for.",
            )
        forms = {FORMS[loss.name]: loss.name for loss in self.method}
        forms.pop("any", None)
        if len(forms) > 1:
            told = " and ".join(f"{name} ({form})" for form, name in sorted(forms.items()))
            yield Conflict(
                what=f"sums losses over different rows: {told}",
                at=("method",),
                fix="Sum losses that learn from the same rows.",
            )
