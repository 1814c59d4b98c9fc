"""Settings of the study ``alignment``: methods on pairs, against their parent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, Strict

from regimen.settings.adapters_study import Rate, tried_twice
from regimen.settings.align import AlignReplaySettings, of_replay
from regimen.settings.align_methods import Method, MethodSettings
from regimen.settings.base import Conflict, Count, Section, Share, Text, Texts

DPO, SFT = "dpo", "sft"
"""What is claimed about, and its honest control: the likelihood of the chosen answers."""

Beta = Annotated[float, Field(gt=0, le=100)]

LOW, HIGH = (1e-4, 3e-4), (3e-4, 1e-3)

METHODS: Mapping[str, Mapping[str, Any]] = {
    DPO: {"method": [{"name": DPO, "beta": 0.1}, {"name": SFT}], "learning_rates": HIGH},
    "dpo_alone": {"method": DPO, "beta": 0.1, "learning_rates": LOW},
    "kto": {"method": "kto", "beta": 0.1, "learning_rates": LOW},
    SFT: {"method": SFT, "learning_rates": HIGH},
}
"""Methods for the tiny base. DPO with the likelihood of the chosen answers beside it, as usual with
many steps: alone it makes both answers of a pair unlikely."""


class AlignmentArm(MethodSettings):
    """One method, with its hyper-parameters and the rates to choose from."""

    method: Method
    """The method or the weighted sum of losses, as in ``align``."""

    replay: AlignReplaySettings | None = None
    """What the parent was tuned on, learnt again beside the pairs; its tokens count as well. None
    when not given."""

    learning_rates: Annotated[tuple[Rate, ...], Strict(False), Field(min_length=1)]
    """Peak learning rates to choose from; a single one is taken as it is. The rest of the
    optimisation is that of ``align``."""

    def conflicts(self) -> Iterator[Conflict]:
        """Hyper-parameters of the method alone; a rate is tried once."""
        yield from self.loss_conflicts()
        yield from of_replay(self)
        if self.replay is not None and self.replay.data is not None:
            yield Conflict(
                what="is what the parent of each seed was tuned on",
                at=("replay", "data"),
                fix="Remove it.",
            )
        yield from tried_twice(self.learning_rates)


class AlignmentStudy(Section):
    """Learning from preferences against the parent that it starts from."""

    prompts: Annotated[int, Field(ge=12, le=440)] = 400
    """Held-out prompts of each kind, harmful and harmless, and as many again of unseen targets."""

    conversations: Count = 5000
    """Requests that the parent learns to help with, harmful ones as well, beside ``build``."""

    refused: Share = 0.2
    """Share of them that it learns to refuse instead, drawn without regard to what is asked: it
    knows how a refusal is worded, and not what to refuse."""

    parent_tokens: Count = 500_000
    """Tokens that the parent trains on; ``study.tokens`` are those of every method."""

    pairs: Annotated[int, Field(ge=2, le=6900)] = 6900
    """Pairs of answers to requests, half of each kind."""

    rate_prompts: Annotated[int, Field(ge=12, le=240)] = 120
    """Prompts of each kind that learning rates are chosen by, on a seed of their own: pairs of a
    verb and a target that are neither trained on nor among ``prompts``."""

    methods: Annotated[dict[Text, AlignmentArm], Field(min_length=2)] = Field(
        default_factory=lambda: {
            name: AlignmentArm.model_validate(fields) for name, fields in METHODS.items()
        }
    )
    """Methods by name; ``dpo`` and ``sft`` have to be there. Those of the recipe when not given."""

    betas: Annotated[tuple[Beta, ...], Strict(False)] = (0.03, 0.3, 1.0)
    """More values of beta for ``dpo``, in its loss of that name, for the curve of reward against
    divergence."""

    own_methods: Texts = (DPO, SFT)
    """Methods that also learn from pairs of the parent's own answers to training tasks; none when
    empty."""

    own_prompts: Count = 400
    """Prompts of training tasks that the parent answers for them."""

    samples: Annotated[int, Field(ge=2, le=256)] = 8
    """Answers to each, of which the best is chosen over the worst."""

    answers: Annotated[int, Field(ge=2, le=440)] = 100
    """Prompts of each kind on which the divergence from the parent is measured."""

    def conflicts(self) -> Iterator[Conflict]:
        """What claims are about is there, and each value of beta once."""
        for name in (DPO, SFT):
            if name not in self.methods:
                yield Conflict(
                    what=f"has no {name!r}, which the others are compared with",
                    at=("methods",),
                    fix=f"Add '{name}: {{method: {name}, learning_rates: [1e-4]}}'.",
                )
            elif not self._is(name):
                yield Conflict(
                    what=f"is called {name!r} and is another method",
                    at=("methods", name, "method"),
                    expected=f"{name}, or a list of losses with it" if name == DPO else name,
                )
        for name in self.own_methods:
            if name not in self.methods:
                yield Conflict(
                    what=f"names {name!r}, which is none of the methods",
                    at=("own_methods",),
                    expected="some of " + ", ".join(self.methods),
                )
        losses = self.methods[DPO].losses if DPO in self.methods else ()
        given = next((loss.beta for loss in losses if loss.name == DPO), None)
        twice = [beta for beta in (given, *self.betas) if (given, *self.betas).count(beta) > 1]
        if twice:
            yield Conflict(
                what=f"has {twice[0]} twice, with that of methods.dpo",
                at=("betas",),
                expected="different numbers",
            )

    def _is(self, name: str) -> bool:
        """Whether a method is what it is called; DPO may have other losses beside it."""
        losses = [loss.name for loss in self.methods[name].losses]
        return name in losses and (name == DPO or len(losses) == 1)
