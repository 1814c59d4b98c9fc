"""The OpenAI protocol as pure functions: requests to payloads, responses to completions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from regimen.protocols import Completion, Finish, Request
from regimen.records import Message

CHAT, TEXT = "chat/completions", "completions"
_FINISH: Mapping[str, Finish] = {"length": "length", "max_tokens": "length"}
SHOWN_CHARACTERS = 200


class Answer(NamedTuple):
    """A completion and the tokens that the endpoint charges for.

    ``fatal``: no other request can succeed either.
    """

    completion: Completion
    prompt_tokens: int = 0
    completion_tokens: int = 0
    fatal: bool = False


def kind_of(request: Request) -> str:
    """Path of the endpoint that takes the request: chat for messages, plain for a text."""
    return CHAT if request.messages else TEXT


def payload_of(
    request: Request, model: str, extra: Mapping[str, Any], limit_name: str
) -> dict[str, Any]:
    """The JSON body. ``extra`` wins over what the request says."""
    body: dict[str, Any] = {"model": model}
    if request.messages:
        body["messages"] = [_message(message) for message in request.messages]
    else:
        body["prompt"] = _sendable(request.text)
    body |= {
        limit_name: request.max_new_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    }
    if request.stop:
        body["stop"] = list(request.stop)
    return body | dict(extra)


def _sendable(text: str) -> str:
    """The text with half surrogate pairs, which UTF-8 cannot hold, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _message(message: Message) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": _sendable(message.text)}
    if message.tool_calls:
        sent["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return sent


def failed(error: str, *, fatal: bool = False) -> Answer:
    """An answer that is none, and why."""
    return Answer(Completion(text="", finish="error", error=error), fatal=fatal)


def read_answer(body: str) -> Answer:
    """The completion in a response of status 200; an error when there is none in it."""
    try:
        data = json.loads(body)
    except json.JSONDecodeError:
        return failed(f"the endpoint's answer is not JSON: {_short(body)}")
    choice = _first_choice(data)
    if choice is None:
        return failed(f"the endpoint's answer has no choices: {_short(body)}")
    message = choice.get("message")
    text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
    prompt_tokens, completion_tokens = _tokens(data)
    reason = choice.get("finish_reason")
    if not isinstance(text, str) or reason == "content_filter":
        problem = f"the endpoint sent no text (finish_reason {reason!r})"
        return Answer(failed(problem).completion, prompt_tokens, completion_tokens)
    completion = Completion(
        text=text, finish=_FINISH.get(str(reason), "stop"), tokens=completion_tokens
    )
    return Answer(completion, prompt_tokens, completion_tokens)


def _first_choice(data: Any) -> Mapping[str, Any] | None:
    choices = data.get("choices") if isinstance(data, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else None


def _tokens(data: Mapping[str, Any]) -> tuple[int, int]:
    usage = data.get("usage")
    found = usage if isinstance(usage, Mapping) else {}
    counts = [found.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (n if isinstance(n, int) else 0 for n in counts)
    return prompt, completion


def refusal_of(status: int, body: str) -> str:
    """One sentence for a response that is no answer, with the endpoint's own message if short."""
    message = body
    try:
        data = json.loads(body)
    except json.JSONDecodeError:
        data = None
    error = data.get("error") if isinstance(data, Mapping) else None
    if isinstance(error, Mapping) and isinstance(error.get("message"), str):
        message = error["message"]
    return f"the endpoint answered with status {status}: {_short(message)}"


def _short(text: str) -> str:
    line = " ".join(text.split()) or "(empty)"
    return line if len(line) <= SHOWN_CHARACTERS else line[:SHOWN_CHARACTERS] + " ..."
