"""THE renderer: a conversation becomes ids and a loss mask, here and nowhere else.

Training, evaluation, alignment, serving and ``show`` all call it, so that what a model is asked is
what it was trained on. Works with any Hugging Face chat template, with or without
``{% generation %}``: the span of an assistant turn is the difference between two renderings, with
and without that turn, checked against the turn's content. The text is tokenised in pieces cut at
the borders of those spans; so the ids of a prompt are always a prefix of the ids of its training
row, also where a tokenizer would merge characters across the border.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from regimen.errors import TokenError
from regimen.records import Message
from regimen.tokens.spans import check_content, content_start, trim_after_end

MaskPolicy = Literal["assistant", "last_turn", "all"]

# For bases without a template; the format of ChatML, whose two markers most tokenizers reserve.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")


@dataclass(frozen=True, slots=True)
class Rendered:
    """Ids of one training row and the loss weight of each id (0: read, not learnt).

    ``name`` says which instance or document it came from.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    name: str = field(default="", compare=False)

    @property
    def supervised(self) -> int:
        """Number of supervised tokens."""
        return sum(1 for weight in self.weights if weight)


@dataclass(frozen=True, slots=True)
class RenderedPair:
    """A shared prompt and two answers, as ids."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    name: str = field(default="", compare=False)

    @property
    def answers(self) -> tuple[tuple[int, ...], ...]:
        """Both answers, the chosen one first."""
        return self.chosen, self.rejected

    @property
    def longest(self) -> int:
        """Tokens of the prompt with the longer answer."""
        return len(self.prompt) + max(map(len, self.answers))


@dataclass(frozen=True, slots=True)
class RenderedAnswers:
    """A shared prompt and any number of answers, as ids.

    ``weights`` are those of the answers' ids; every id is learnt where there are none.
    """

    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    name: str = field(default="", compare=False)
    weights: tuple[tuple[float, ...], ...] = field(default=(), compare=False)

    @property
    def every_weight(self) -> tuple[tuple[float, ...], ...]:
        """The weights of the answers' ids, written out."""
        return self.weights or tuple((1.0,) * len(ids) for ids in self.answers)

    @property
    def longest(self) -> int:
        """Tokens of the prompt with the longest answer."""
        return len(self.prompt) + max(map(len, self.answers))


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    weight: float


class Renderer:
    """Renders conversations for one tokenizer.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        policy: which turns are supervised where a message does not say so itself.
        template: a Jinja chat template; the tokenizer's own, else ChatML, if None.
    """

    def __init__(
        self, tokenizer: Any, *, policy: MaskPolicy = "assistant", template: str | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.policy = policy
        self.uses_chatml = template is None and not tokenizer.chat_template
        self.template = template or tokenizer.chat_template or CHATML
        self.notes: dict[str, int] = {}

    def prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids of a conversation that is ready for the assistant's turn."""
        pieces, tail = self._pieces(messages, whole=True)
        text = self._text(messages, generate=True)
        known = "".join(piece.text for piece in pieces) if tail is not None else ""
        if pieces and text.startswith(known):
            pieces = [*pieces, _Piece(text[len(known) :], 0.0)]
        else:
            pieces = [_Piece(text, 0.0)]
        return tuple(i for ids in self._encode([p.text for p in pieces]) for i in ids)

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The text of a conversation that is ready for the assistant's turn."""
        return self._text(messages, generate=True)

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Ids of plain text, without any special token."""
        return tuple(self._encode([text])[0])

    def conversation(self, messages: Sequence[Message]) -> list[Rendered]:
        """Training rows of a conversation: one, or one per turn for unstable templates.

        Raises:
            TokenError: the template drops or changes the content of a supervised turn, or the row
                starts with two BOS tokens.
        """
        pieces, tail = self._pieces(messages, whole=True)
        if tail is not None:
            return [self._row([*pieces, _Piece(tail, 0.0)])]
        self._note("unstable template: one row per assistant turn")
        rows = []
        for index, message in enumerate(messages):
            if message.role == "assistant" and self.weight_of(messages, index):
                part, tail = self._pieces(messages[: index + 1], whole=False)
                rows.append(self._row([*part, _Piece(tail or "", 0.0)]))
        return rows

    def preference(
        self,
        prompt: Sequence[Message],
        chosen: Sequence[Message],
        rejected: Sequence[Message],
    ) -> RenderedPair:
        """A prompt and two answers; the prompt's ids are shared, the answers end their turn."""
        prompt_ids, (first, second) = self.answered(prompt, (chosen, rejected))
        return RenderedPair(prompt_ids, first, second)

    def answered(
        self, prompt: Sequence[Message], answers: Sequence[Sequence[Message]]
    ) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
        """Ids of a prompt and of each answer to it, as ``answers``."""
        found = self.answers(prompt, answers)
        return found.prompt, found.answers

    def answers(
        self, prompt: Sequence[Message], answers: Sequence[Sequence[Message]]
    ) -> RenderedAnswers:
        """A prompt and each answer to it as it is learnt: up to the end of its turn.

        Every turn of the assistant in an answer is learnt; what tools say between them is read.

        Raises:
            TokenError: the template renders the prompt differently once it is answered, or changes
                the content of an answer; or an answer has no turn of the assistant.
        """
        prompt_ids = self.prompt(prompt)
        found, weights = [], []
        for answer in answers:
            if not any(turn.role == "assistant" for turn in answer):
                raise TokenError(
                    "An answer has no turn of the assistant.",
                    slug="no-answer-turn",
                    got=f"turns of {', '.join(turn.role for turn in answer) or 'nobody'}",
                    fix="Write what the assistant says as its turn.",
                )
            turns = [replace(turn, train=turn.role == "assistant", weight=1.0) for turn in answer]
            rows = self.conversation([*prompt, *turns])
            ids = rows[-1].ids
            if len(rows) != 1 or ids[: len(prompt_ids)] != prompt_ids:
                raise TokenError(
                    "The chat template renders the prompt differently once it is answered.",
                    slug="prompt-not-shared",
                    fix="Use a template whose rendering of a prompt is a prefix of the answer's.",
                )
            own = rows[-1].weights[len(prompt_ids) :]
            end = max(i for i, w in enumerate(own, start=1) if w)
            found.append(ids[len(prompt_ids) : len(prompt_ids) + end])
            weights.append(tuple(own[:end]))
        if all(all(own) for own in weights):
            weights = []
        return RenderedAnswers(prompt_ids, tuple(found), weights=tuple(weights))

    def document(self, text: str) -> Rendered:
        """Plain text for language modelling: every token supervised but the first, then EOS."""
        ids = (*self.text_ids(text), self.tokenizer.eos_token_id)
        return Rendered(ids, (0.0, *([1.0] * (len(ids) - 1))))

    def documents(self, texts: Sequence[str]) -> list[Rendered]:
        """Many plain texts at once."""
        eos = self.tokenizer.eos_token_id
        rows = [(*ids, eos) for ids in self._encode(list(texts))]
        return [Rendered(ids, (0.0, *([1.0] * (len(ids) - 1)))) for ids in rows]

    def _note(self, text: str) -> None:
        self.notes[text] = self.notes.get(text, 0) + 1

    def weight_of(self, messages: Sequence[Message], index: int) -> float:
        """Loss weight of a turn under the message's own flag, else the policy."""
        message = messages[index]
        if message.train is not None:
            return message.weight if message.train else 0.0
        last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
        learnt = message.role == "assistant" and (self.policy != "last_turn" or index == last)
        return message.weight if learnt or self.policy == "all" else 0.0

    def _text(self, messages: Sequence[Message], *, generate: bool) -> str:
        from jinja2 import TemplateError

        if not messages:
            raise TokenError(
                "An answer stands before anything that is asked.",
                slug="nothing-asked",
                fix="Begin the conversation with a turn of the user, or with a system prompt.",
            )
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    [_as_dict(m) for m in messages],
                    chat_template=self.template,
                    tokenize=False,
                    add_generation_prompt=generate,
                )
            )
        except TemplateError as error:
            raise TokenError(
                "The chat template does not take this conversation.",
                slug="template-refuses",
                got=f"{error} (roles: {', '.join(m.role for m in messages)})",
                fix="Bring the turns into the order that the template asks for, or use another.",
            ) from error

    def _pieces(
        self, messages: Sequence[Message], *, whole: bool
    ) -> tuple[list[_Piece], str | None]:
        """Alternating context and answer pieces, and the text after the last answer.

        The tail is None when the template is not prefix-stable over ``messages``. With ``whole``
        False only the last turn is cut out.
        """
        if not messages:
            return [], ""
        full = self._text(messages, generate=False)
        pieces: list[_Piece] = []
        done = 0
        turns = [i for i, m in enumerate(messages) if m.role == "assistant"]
        for index in turns if whole else turns[-1:]:
            before = self._text(messages[:index], generate=True)
            after = self._text(messages[: index + 1], generate=False)
            if not (after.startswith(before) and full.startswith(after)):
                if whole:
                    return [], None
                before = after[: content_start(after, messages[index])]
            span = trim_after_end(after[len(before) :], messages[index])
            weight = self.weight_of(messages, index)
            check_content(span, messages[index], weight)
            pieces += [_Piece(full[done : len(before)], self._context_weight())]
            pieces += [_Piece(span, weight)]
            done = len(before) + len(span)
        return pieces, full[done:]

    def _context_weight(self) -> float:
        return 1.0 if self.policy == "all" else 0.0

    def _row(self, pieces: Iterable[_Piece]) -> Rendered:
        kept = [p for p in pieces if p.text]
        ids: list[int] = []
        weights: list[float] = []
        for piece, piece_ids in zip(kept, self._encode([p.text for p in kept]), strict=True):
            ids += piece_ids
            weights += [piece.weight] * len(piece_ids)
        bos = self.tokenizer.bos_token_id
        if bos is not None and len(ids) > 1 and ids[0] == bos and ids[1] == bos:
            raise TokenError(
                "A rendered conversation starts with two BOS tokens.",
                slug="double-bos",
                got=repr(kept[0].text[:40]),
                fix="Remove the BOS token from the chat template or from the message.",
            )
        if weights:
            weights[0] = 0.0  # nothing predicts the first token
        return Rendered(tuple(ids), tuple(weights))

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.tokenizer(texts, add_special_tokens=False, verbose=False)
        return list(encoded["input_ids"])


def _as_dict(message: Message) -> dict[str, Any]:
    """A message in the form that chat templates read."""
    out: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.reasoning:
        out["reasoning_content"] = message.reasoning
    if message.tool_calls:
        out["tool_calls"] = [
            {"type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    return out


def stop_ids(tokenizer: Any, renderer: Renderer) -> tuple[int, ...]:
    """Ids that end an assistant turn: the id that closes a rendered turn, and EOS."""
    probe = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    row = renderer.conversation(probe)[-1]
    last = max((i for i, w in enumerate(row.weights) if w), default=-1)
    found = {tokenizer.eos_token_id} - {None}
    if last >= 0 and row.ids[last] in tokenizer.all_special_ids:
        found.add(row.ids[last])
    return tuple(sorted(found))


def ensure_chat_tokens(tokenizer: Any, renderer: Renderer) -> int:
    """Add the markers of ChatML that the tokenizer lacks; returns how many were added."""
    if not renderer.uses_chatml:
        return 0
    known = tokenizer.get_vocab()
    missing = [token for token in CHATML_TOKENS if token not in known]
    special = [token for token in CHATML_TOKENS if token not in tokenizer.all_special_tokens]
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": special})
    return len(missing)


def add_tokens(tokenizer: Any, tokens: Sequence[str]) -> tuple[tuple[int, ...], int]:
    """Add tokens that are found in any text as they are written; those it knows stay.

    Returns:
        the ids of all of them, in order, and how many the tokenizer lacked.
    """
    from tokenizers import AddedToken

    lacking = [
        AddedToken(token, normalized=False)
        for token in tokens
        if token not in tokenizer.get_vocab()
    ]
    tokenizer.add_tokens(lacking)
    return tuple(tokenizer.convert_tokens_to_ids(list(tokens))), len(lacking)


def adopt_template(tokenizer: Any, renderer: Renderer) -> None:
    """Write the template and the end of turn into the tokenizer that ships with the model."""
    tokenizer.chat_template = renderer.template
