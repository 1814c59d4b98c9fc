"""A local model as ``Likelihoods``: how likely answers are under the training-time template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from regimen.errors import TokenError
from regimen.protocols import Alternatives, AnswerLogps
from regimen.records import Message
from regimen.stages.models import LazyGenerator
from regimen.tokens.rendering import Rendered, Renderer
from regimen.tokens.sharing import RenderedShared
from regimen.training.measure import continuation_logps


class LocalLikelihoods:
    """Log-probabilities of answers with a model in this process.

    The ids are those of training: of a conversation, with the end of the assistant's turn; of
    plain text, the prompt and each answer tokenised apart. A prompt is read once for its answers.

    Args:
        generator: the model with its renderer, loaded at the first question.
        tokens_per_batch: tokens that the model reads at once.
        chunk: prompts whose answers are rendered and measured at a time.
    """

    def __init__(
        self, generator: LazyGenerator, *, tokens_per_batch: int = 8192, chunk: int = 256
    ) -> None:
        self.generator, self.tokens_per_batch, self.chunk = generator, tokens_per_batch, chunk

    @property
    def name(self) -> str:
        """The generator's."""
        return self.generator.name

    def answer_logps(self, asked: Sequence[Alternatives]) -> Iterator[tuple[str, AnswerLogps]]:
        """In order. A template that refuses, or a prompt beyond the context, is an error there."""
        loaded = self.generator.loaded
        context = loaded.language_model.context_length
        for start in range(0, len(asked), self.chunk):
            piece = asked[start : start + self.chunk]
            rendered = [_rendered(loaded.renderer, one, context) for one in piece]
            rows = [row for row in rendered if isinstance(row, RenderedShared)]
            measured = iter(
                continuation_logps(
                    loaded.language_model,
                    rows,
                    bf16=self.generator.bf16,
                    tokens_per_batch=self.tokens_per_batch,
                )
            )
            for one, row in zip(piece, rendered, strict=True):
                if isinstance(row, str):
                    yield one.id, AnswerLogps(error=row)
                    continue
                found = next(measured)
                yield (
                    one.id,
                    AnswerLogps(
                        logps=tuple(each.logp for each in found),
                        tokens=tuple(each.tokens for each in found),
                    ),
                )


def _rendered(renderer: Renderer, asked: Alternatives, context: int) -> RenderedShared | str:
    """The ids of a prompt and its answers, or why there are none."""
    try:
        prompt, answers = _ids(renderer, asked)
    except TokenError as error:
        return error.render()
    if not prompt or not all(answers):
        return "the prompt or an answer has no tokens"
    longest = max(map(len, answers), default=0)
    # the last token of an answer is predicted and not read
    if len(prompt) + longest - 1 > context:
        return f"prompt of {len(prompt)} tokens, answer of {longest}, context of {context}"
    return RenderedShared(prompt, tuple(Rendered(ids, (1.0,) * len(ids)) for ids in answers))


def _ids(
    renderer: Renderer, asked: Alternatives
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    if asked.messages:
        turns = [[Message(role="assistant", content=answer)] for answer in asked.answers]
        return renderer.answered(asked.messages, turns)
    return renderer.text_ids(asked.text), tuple(map(renderer.text_ids, asked.answers))
