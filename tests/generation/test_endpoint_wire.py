"""Payloads, answers and waits, without a server: pytest tests/generation/test_endpoint_wire.py"""

from __future__ import annotations

import subprocess
import sys
from email.utils import formatdate
from pathlib import Path

import pytest

from regimen.errors import GenerationError
from regimen.generation.endpoints import Endpoint
from regimen.generation.endpoints.cache import ResponseCache, request_key
from regimen.generation.endpoints.client import retry_after
from regimen.generation.endpoints.wire import payload_of, read_answer
from regimen.protocols import Request
from regimen.records import Message, ToolCall


def ask(name: str, text: str = "") -> Request:
    return Request(id=name, messages=(Message(role="user", content=text or name),))


@pytest.mark.parametrize(
    ("options", "slug"),
    [
        ({"url": "localhost:8000"}, "endpoint-url"),
        ({"url": "http://x", "api_key": "k\n"}, "endpoint-key"),
        ({"url": "http://x", "api_key": "schlüssel"}, "endpoint-key"),
    ],
)
def test_endpoints_that_cannot_work_are_refused(options: dict[str, str], slug: str) -> None:
    with pytest.raises(GenerationError) as caught:
        Endpoint(model="m", **options)  # type: ignore[arg-type]
    assert caught.value.slug == slug
    assert options.get("api_key", "(no key)") not in str(caught.value)


def test_retry_after_reads_seconds_and_dates() -> None:
    now = 1_700_000_000.0
    assert retry_after("", now) is None
    assert retry_after("soon", now) is None
    assert retry_after("2.5", now) == 2.5
    assert retry_after(formatdate(now + 30, usegmt=True), now) == 30
    assert retry_after(formatdate(now - 30, usegmt=True), now) == 0


def test_the_key_is_the_payload_and_the_kind() -> None:
    first = payload_of(ask("a"), "m", {"x": 1, "y": 2}, "max_tokens")
    second = payload_of(ask("b", "a"), "m", {"y": 2, "x": 1}, "max_tokens")
    assert request_key("chat", first) == request_key("chat", second)
    assert request_key("chat", first) != request_key("text", first)
    assert request_key("chat", first) != request_key("chat", first | {"model": "n"})


def test_tool_calls_are_sent_as_functions() -> None:
    call = ToolCall(name="add", arguments='{"a": 1}', id="c1")
    request = Request(id="a", messages=(Message(role="assistant", content="", tool_calls=(call,)),))
    (sent,) = payload_of(request, "m", {}, "max_tokens")["messages"]
    assert sent["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ]


def test_missing_usage_counts_no_tokens() -> None:
    found = read_answer('{"choices": [{"text": "x"}], "usage": null}')
    assert (found.completion.text, found.prompt_tokens, found.completion_tokens) == ("x", 0, 0)


def test_an_empty_cache_has_no_answer(tmp_path: Path) -> None:
    assert ResponseCache(tmp_path / "none").get("ab" * 20) is None


def test_endpoints_load_no_torch() -> None:
    script = "import sys, regimen.generation.endpoints; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
