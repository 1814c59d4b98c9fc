"""Reward models as an ``AnswerScorer``: they score the answers of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regimen import console
from regimen.adapters.files import base_path, is_adapter, load_adapter, load_base
from regimen.alignment.reward_rows import marked
from regimen.alignment.reward_spec import (
    RewardSpec,
    combined,
    members_of,
    read_spec,
    weights_of,
)
from regimen.errors import TokenError
from regimen.models.forward import LanguageModel, prepare
from regimen.models.loading import load_tokenizer
from regimen.models.scoring import load_scores, with_scores
from regimen.protocols import AnswerScore
from regimen.records import Item, Message
from regimen.settings.preferences import RewardModelSettings
from regimen.tokens.rendering import RenderedAnswers, Renderer
from regimen.tokens.store import token_rows
from regimen.training.measure import measured_scores

Asked = Sequence[tuple[Item, Sequence[str]]]
_CHUNK = 256
"""Prompts whose answers are rendered and scored at a time."""


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A reward model that is loaded, with what its scores mean."""

    language_model: LanguageModel
    tokenizer: Any
    renderer: Renderer
    spec: RewardSpec


def load_reward(path: str, *, dtype: str = "float32") -> RewardModel:
    """The folder ``final`` of an ``align`` with a reward method: a model, or an adapter.

    Raises:
        ModelError: it holds no reward model, or weights are missing.
        AdapterError: the adapter's base is another one.
    """
    spec = read_spec(Path(path))
    tokenizer = load_tokenizer(path)
    if is_adapter(path):
        base, _ = load_base(base_path(path), tokenizer, dtype=dtype)
        scoring = with_scores(base, spec.names, seed=0, pad_id=spec.pad_id)
        network = load_adapter(scoring, path)
    else:
        network = load_scores(path, dtype=dtype)
    network.eval()
    return RewardModel(prepare(network), tokenizer, Renderer(tokenizer), spec)


class RewardScores:
    """Scores by reward models; several are an ensemble of all their members.

    Prompts are read once for all their answers. An answer that cannot be rendered, is nothing but
    padding or does not fit the context has no score and says why.

    Raises:
        ModelError: a folder holds no reward model, or none with these dimensions.
    """

    def __init__(self, section: RewardModelSettings) -> None:
        self.section = section
        for path in section.models:
            weights_of(read_spec(Path(path)), section.weights or {})

    @property
    def name(self) -> str:
        """What the lineage records: the folder, and how many others there are."""
        first, *others = self.section.models
        return f"reward:{first}" + (f"+{len(others)}" if others else "")

    @cached_property
    def models(self) -> tuple[RewardModel, ...]:
        """Every model, loaded at the first question."""
        return tuple(load_reward(path) for path in self.section.models)

    def scores(self, asked: Asked) -> list[list[AnswerScore]]:
        """As ``AnswerScorer``."""
        return [[one for one, _ in own] for own in self.with_disagreement(asked)]

    def with_disagreement(self, asked: Asked) -> list[list[tuple[AnswerScore, float]]]:
        """Scores, each with the standard deviation over the members of the ensemble."""
        found: list[list[tuple[AnswerScore, float]]] = []
        with console.progress(len(asked), "reward", "prompts") as bar:
            for start in range(0, len(asked), _CHUNK):
                piece = asked[start : start + _CHUNK]
                found += self._piece(piece)
                bar.advance(len(piece))
        return found

    def _piece(self, asked: Asked) -> list[list[tuple[AnswerScore, float]]]:
        by_model = [self._members(one, asked) for one in self.models]
        out = []
        for place, (_, answers) in enumerate(asked):
            own = []
            for number in range(len(answers)):
                said = [found[place][number] for found in by_model]
                error = next((one for one in said if isinstance(one, str)), "")
                if error:
                    own.append((AnswerScore(error=error), 0.0))
                    continue
                members_1M = torch.cat([one for one in said if isinstance(one, Tensor)])[None]
                value, apart = combined(members_1M, self.section.combine)
                own.append((AnswerScore.of(float(value)), float(apart)))
            out.append(own)
        return out

    def _members(self, model: RewardModel, asked: Asked) -> list[list[Tensor | str]]:
        """What each member of a model says of each answer, (M,), or why it says nothing."""
        rendered = [list(_rows(model, item, answers)) for item, answers in asked]
        rows = [row for own in rendered for row in own if isinstance(row, RenderedAnswers)]
        measured = iter(
            measured_scores(
                model.language_model,
                replace(token_rows(rows), scored=True),
                tokens_per_batch=self.section.tokens_per_batch,
                bf16=self.section.bf16,
            )
        )
        found: list[list[Tensor | str]] = []
        for (_, answers), own in zip(asked, rendered, strict=True):
            scored: list[Tensor | str] = []
            for row in own:
                if isinstance(row, str):
                    scored.append(row)
                    continue
                member_NM = members_of(model.spec, next(measured), self.section.weights or {})
                marks = [int(sum(weights)) for weights in row.weights]
                # of steps, the worst one: an answer is no better than its weakest step
                scored += [one.amin(0) for one in torch.split(member_NM, marks)]
            assert len(scored) == len(answers)
            found.append(scored)
        return found


def _rows(
    model: RewardModel, item: Item, answers: Sequence[str]
) -> Iterator[RenderedAnswers | str]:
    """The answers that can be scored in rows that share their prompt, the reasons of the others.

    The order is that of the answers: a reason stands where its answer would.
    """
    context, together = model.language_model.context_length, list[RenderedAnswers]()
    for answer in answers:
        turns = (Message(role="assistant", content=answer),)
        try:
            row = model.renderer.answers(item.messages, (turns,))
            own = marked(
                *(row, (turns,), model.tokenizer, model.spec.pad_id),
                steps=model.spec.method == "reward_process",
            )
        except TokenError as error:
            yield from _joined(together)
            yield error.render()
            continue
        if own is None or own.longest > context:
            yield from _joined(together)
            yield (
                "no token of the answer can be scored"
                if own is None
                else f"{own.longest} tokens, context of {context}"
            )
        else:
            together.append(own)
    yield from _joined(together)


def _joined(rows: list[RenderedAnswers]) -> Iterator[RenderedAnswers]:
    """Rows of one prompt as one row; the list is empty afterwards."""
    if rows:
        answers = tuple(answer for row in rows for answer in row.answers)
        weights = tuple(marks for row in rows for marks in row.weights)
        yield RenderedAnswers(rows[0].prompt, answers, weights=weights)
    rows.clear()
