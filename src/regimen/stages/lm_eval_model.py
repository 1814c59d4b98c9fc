"""A loaded model as lm-eval's ``LM``: its requests through our renderer, head reducer and engine.

Only imported where lm-eval is installed (the extra ``lm-eval``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from regimen.errors import EvaluationError
from regimen.evaluation.lm_eval_requests import (
    Generation,
    Ids,
    fit_left,
    generation,
    shared_rows,
)
from regimen.generation.engine import Engine
from regimen.generation.local import cut_at
from regimen.generation.rows import Prompt
from regimen.records import Message
from regimen.stages.models import Loaded
from regimen.tokens.rendering import stop_ids
from regimen.training.measure import continuation_logps

DEFAULT_LENGTH = 2048
"""Of the context, where neither config nor tokenizer says it; as lm-eval has it."""

UNSET = 10**9
"""Tokenizers that know no limit say a number above this."""

CHUNK = 256
"""Contexts that are measured between two steps of the progress bar."""


class RegimenLM(TemplateLM):  # type: ignore[misc]  # lm-eval has no types
    """One model for lm-eval.

    Plain text is tokenised as lm-eval's own ``HFLM`` does: context and continuation together, with
    the special tokens that the tokenizer adds. With ``chat``, a prompt has the ids of training:
    turns are tokenised apart, and a continuation begins where the assistant's turn begins.

    Args:
        name: what errors call the model.
        loaded: the model with its renderer.
        chat: prompts are conversations under the renderer's template.
        bf16: autocast to bf16.
        rows: continuations generated at once.
        tokens_per_batch: tokens that the model reads at once for likelihoods.
        max_gen_toks: longest answer where a task does not say.
        seed: of sampled answers.
        advance: called with the number of requests that are done.
    """

    def __init__(
        self,
        name: str,
        loaded: Loaded,
        *,
        chat: bool,
        bf16: bool = False,
        rows: int = 32,
        tokens_per_batch: int = 8192,
        max_gen_toks: int = 256,
        seed: int = 0,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.name, self.loaded, self.chat, self.bf16 = name, loaded, chat, bf16
        self.rows, self.tokens_per_batch = rows, tokens_per_batch
        self.max_gen_toks, self.seed, self.advance = max_gen_toks, seed, advance
        self.tokenizer = loaded.tokenizer
        self.truncated = {"loglikelihood": 0, "generate_until": 0}
        self._prompts: dict[str, Ids] = {}

    @property
    def eot_token_id(self) -> int:
        """The id that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The id before a text that nothing stands before."""
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def max_length(self) -> int:
        """Ids that the model reads at most."""
        config = self.loaded.language_model.model.config
        own = getattr(config, "max_position_embeddings", None)
        known = own or self.tokenizer.model_max_length
        return int(known) if known and known < UNSET else DEFAULT_LENGTH

    @property
    def tokenizer_name(self) -> str:
        """Names the tokenizer and the template in lm-eval's caches."""
        return f"regimen-{self.name}".replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template that the renderer uses, for lm-eval's records."""
        return self.loaded.renderer.template if chat_template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as text, by our renderer; its ids are kept for the request that follows.

        Without ``add_generation_prompt`` the last turn is the beginning of the answer.

        Raises:
            TokenError: the template refuses the conversation.
        """
        messages = [
            Message(role=turn["role"], content=turn["content"])  # type: ignore[arg-type]
            for turn in chat_history
        ]
        begun = ""
        if not add_generation_prompt:
            begun = messages.pop().text
        text = self.loaded.renderer.prompt_text(messages) + begun
        ids = self.loaded.renderer.prompt(messages)
        self._prompts[text] = ids + (self.loaded.renderer.text_ids(begun) if begun else ())
        return text

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Ids of a plain text, with what the tokenizer adds unless the text begins with it."""
        if add_special_tokens is None and string.startswith(
            str(self.tokenizer.decode([self.prefix_token_id]))
        ):
            add_special_tokens = False
        more = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer.encode(string, **more))

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of a context and what goes on from it."""
        if not self.chat:
            found: tuple[list[int], list[int]] = super()._encode_pair(context, continuation)
            return found
        return list(self._context(context)), list(self.loaded.renderer.text_ids(continuation))

    def _context(self, text: str) -> Ids:
        if not self.chat:
            return tuple(self.tok_encode(text))
        return self._prompts.get(text) or self.loaded.renderer.text_ids(text)

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """log p of each continuation (nats) and whether it is what greedy decoding would say."""
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        fitted = [fit_left(context, rest, self.max_length) for _, context, rest in requests]
        self.truncated["loglikelihood"] += sum(one.lost > 0 for one in fitted)
        rows, places = shared_rows([(one.context, one.continuation) for one in fitted])
        measured = []
        for start in range(0, len(rows), CHUNK):
            piece = rows[start : start + CHUNK]
            measured += continuation_logps(
                self.loaded.language_model,
                piece,
                bf16=self.bf16,
                tokens_per_batch=self.tokens_per_batch,
            )
            self._done(sum(len(row.rests) for row in piece))
        found = [measured[row][place] for row, place in places]
        return [(one.logp, one.greedy) for one in found]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = True
    ) -> list[float]:
        """log p (nats) of each text, in windows as long as the model's context."""
        windows: list[tuple[Any, list[int], list[int]]] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            found = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for context, rest in map(make_disjoint_window, found):
                windows.append((None, context, rest))
                owners.append(number)
        totals = [0.0] * len(requests)
        for number, (logp, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[number] += logp
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """The continuation of each context, up to the first stop string.

        Raises:
            EvaluationError: a way to generate that is not supported, or no room for a context.
        """
        asked = [generation(request.args[1], self.max_gen_toks) for request in requests]
        prompts = [
            self._prompt(number, request.args[0], wanted)
            for number, (request, wanted) in enumerate(zip(requests, asked, strict=True))
        ]
        engine = Engine(
            self.loaded.language_model,
            self._stops(),
            rows=self.rows,
            bf16=self.bf16,
            decode=self._decode,
        )
        texts = [""] * len(prompts)
        for key, found in engine.generate(prompts):
            texts[int(key)] = cut_at(self._decode(found.ids), asked[int(key)].until)
            self._done(1)
        return texts

    def _stops(self) -> tuple[int, ...]:
        """Ids that end an answer: the tokenizer's, the model's own, in a chat the end of a turn."""
        own = self.loaded.language_model.model.generation_config.eos_token_id
        found = {self.eot_token_id, *(own if isinstance(own, list) else [own])} - {None}
        if self.chat:
            found |= set(stop_ids(self.tokenizer, self.loaded.renderer))
        return tuple(sorted(found))

    def _prompt(self, number: int, text: str, wanted: Generation) -> Prompt:
        """The ids of a context, cut at the left where the answer needs the room."""
        room = self.max_length - wanted.max_tokens
        if room <= 0:
            raise EvaluationError(
                "A task asks for answers that leave no room for the question.",
                slug="no-room-to-generate",
                got=f"max_gen_toks {wanted.max_tokens}, a context of {self.max_length} tokens",
                expected="fewer tokens than the context has",
                fix="Set evaluate.lm_eval.max_gen_toks, or generation_kwargs in a task file.",
            )
        ids = self._context(text)
        self.truncated["generate_until"] += len(ids) > room
        return Prompt(
            str(number),
            ids[-room:] or (self.prefix_token_id,),
            wanted.max_tokens,
            wanted.temperature,
            wanted.top_p,
            self.seed + number,
            wanted.until,
        )

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def _done(self, requests: int) -> None:
        if self.advance is not None:
            self.advance(requests)

    def get_model_info(self) -> Mapping[str, Any]:
        """Nothing that must be fetched."""
        return {}
