"""Settings of ``align``: learning from preferences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from regimen.settings.align_methods import REWARDS, Method, MethodSettings
from regimen.settings.base import Conflict, Section, Text, Texts
from regimen.settings.raft import RaftSettings as RaftSettings
from regimen.settings.raft import of_raft
from regimen.settings.training import ModelSettings, TrainingSettings, goes_on


class AlignReplaySettings(Section):
    """Conversations learnt beside the preferences, so that what the model can already do stays."""

    data: Text | None = None
    """A directory of ``build`` or a file of instances, best what the model was tuned on; the
    pipeline's when not given."""

    sources: Texts = ()
    """Names of the sources in it that are replayed; all when empty."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of all tokens that go through the model."""

    weight: Annotated[float, Field(gt=0, le=1_000)] = 1.0
    """What the mean loss of a token of their answers is multiplied by, before it is added to the
    loss of the preferences."""


def of_replay(section: Any) -> Iterator[Conflict]:
    """``replay`` beside losses over answers alone; ``section`` is one with a method."""
    if section.replay is not None and not section.losses:
        yield Conflict(
            what=f"stands beside a loss over answers, and {section.method} has none",
            at=("replay",),
            fix="Remove it, or choose another method.",
        )


class AlignSettings(TrainingSettings, MethodSettings):
    """Alignment of the tuned model with the preferences of ``build``."""

    method: Method = "dpo"
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

    replay: AlignReplaySettings | None = None
    """Instances to learn again in the same steps; none when not given."""

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

    def conflicts(self) -> Iterator[Conflict]:
        """Alignment starts from a trained model; hyper-parameters are of the method."""
        yield from self.optimisation_conflicts()
        yield from self.loss_conflicts()
        yield from of_raft(self)
        yield from self._base_conflicts()
        yield from of_replay(self)
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
