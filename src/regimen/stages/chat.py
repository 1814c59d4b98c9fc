"""``chat``: a conversation in the terminal with what a run ended with, through the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen import console
from regimen.adapters.files import is_adapter
from regimen.errors import RunError, TokenError
from regimen.generation.local import LocalGenerator
from regimen.models.hardware import set_up
from regimen.protocols import Request
from regimen.records import Message
from regimen.stages.models import load

HELP = "One line is one message. /reset begins a new conversation, /quit ends."


@dataclass(slots=True)
class Chat:
    """A conversation and the model that answers.

    Args:
        generator: a local model; its template is the one that training rendered with.
        system: the system message of every conversation, if any.
        max_new_tokens: of an answer; fewer where the context ends before.
        temperature: 0 is greedy.
        top_p: share of the probability that is sampled from.
        seed: of the first answer; each later one has the next.
    """

    generator: LocalGenerator
    system: str = ""
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    messages: list[Message] = field(default_factory=list)
    answers: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the conversation, not the system message."""
        self.messages = [Message(role="system", content=self.system)] if self.system else []

    def answer(self, text: str) -> str:
        """The model's answer to the next message; both are remembered.

        Raises:
            TokenError: the template refuses the conversation, or it no longer fits the context.
                Nothing is remembered then.
        """
        asked = (*self.messages, Message(role="user", content=text))
        prompt = len(self.generator.renderer.prompt(asked))
        room = self.generator.max_length - prompt
        if room < 1:
            raise TokenError(
                "The conversation no longer fits the model's context.",
                slug="chat-too-long",
                got=f"{prompt} tokens with this message",
                expected=f"fewer than {self.generator.max_length}",
                fix="Type /reset to begin a new conversation.",
            )
        request = Request(
            id="answer",
            messages=asked,
            max_new_tokens=min(self.max_new_tokens, room),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed + self.answers,
        )
        ((_, done),) = self.generator.generate([request])
        self.messages = [*asked, Message(role="assistant", content=done.text)]
        self.answers += 1
        self.tokens += done.tokens
        return done.text + (f" [cut at {done.tokens} tokens]" if done.finish == "length" else "")


def chat(
    place: Path,
    *,
    system: str = "",
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    kv_cache: str = "full",
) -> Mapping[str, Any]:
    """Answer lines of standard input until it ends or says /quit.

    Args:
        place: a run directory, a stage of it, or the folder of a model or an adapter.
        system: see ``Chat``; so are the others.
        kv_cache: how keys and values are kept, ``full`` or ``int8``.

    Returns:
        The model's folder, how many answers it gave, their tokens, and the last conversation.

    Raises:
        RunError: there is no trained model at ``place``.
        ModelError: it cannot be loaded.
    """
    folder = model_folder(place)
    hardware = set_up()
    it = load(str(folder))
    generator = LocalGenerator(
        "chat",
        it.language_model,
        it.tokenizer,
        it.renderer,
        rows=1,
        bf16=hardware.bf16,
        kv_cache=kv_cache,
    )
    talk = Chat(generator, system, max_new_tokens, temperature, top_p, seed)
    console.line(f"{folder}. {HELP}")
    while (text := console.ask("> ")) is not None:
        text = text.strip()
        if text == "/quit":
            break
        if text == "/reset":
            talk.reset()
            console.line("A new conversation.")
        elif text.startswith("/"):
            console.line(HELP)
        elif text:
            try:
                console.line(talk.answer(text))
            except TokenError as problem:
                console.error(problem)
    return {
        "model": str(folder),
        "answers": talk.answers,
        "tokens": talk.tokens,
        "messages": [{"role": one.role, "content": one.text} for one in talk.messages],
    }


def model_folder(place: Path) -> Path:
    """The model of a run: aligned if it was, else what the last tuning ended with.

    Raises:
        RunError: none is there.
    """
    if (place / "config.json").is_file() or is_adapter(str(place)):
        return place
    tunings = sorted(place.glob("tune-*"), key=lambda path: (len(path.name), path.name))
    for stage in (place, place / "align", *reversed(tunings), place / "tune"):
        if (stage / "manifest.json").is_file() and (stage / "final").is_dir():
            return stage / "final"
    raise RunError(
        "There is no trained model here.",
        slug="model-not-in-run",
        got=str(place) + ("" if place.is_dir() else " (no such folder)"),
        expected="a run directory with a finished 'tune' or 'align', or a model's folder",
        fix="Run `regimen run` with its settings first, or name the folder of a model.",
    )
