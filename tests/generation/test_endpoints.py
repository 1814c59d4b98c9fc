"""The endpoint client against a small local server: pytest tests/generation/test_endpoints.py"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from regimen.generation.endpoints import Endpoint, EndpointGenerator, Usage
from regimen.protocols import Generator, Request
from regimen.records import Message

Reply = tuple[int, dict[str, str], str]


class QuietServer(ThreadingHTTPServer):
    """A client that gave up is part of these tests, not worth a trace."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Server:
    """Replies by a function of (number of the request, path, body); keeps what it was asked."""

    def __init__(self, reply: Callable[[int, str, dict[str, Any]], Reply]) -> None:
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.asked.append((self.path, body, dict(self.headers)))
                    number = len(outer.asked)
                    outer.busy += 1
                    outer.most_busy = max(outer.most_busy, outer.busy)
                status, headers, text = reply(number, self.path, body)
                with outer.lock:
                    outer.busy -= 1
                data = text.encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = QuietServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(reply: Callable[[int, str, dict[str, Any]], Reply]) -> Server:
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def answer(text: str | None, finish: str = "stop", prompt: int = 7, completion: int = 3) -> Reply:
    body = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
    }
    return 200, {}, json.dumps(body)


def echo(_: int, path: str, body: dict[str, Any]) -> Reply:
    return answer("echo " + body["messages"][-1]["content"])


def ask(name: str, text: str | None = None, **sampling: Any) -> Request:
    messages = (Message(role="user", content=text or name),)
    return Request(id=name, messages=messages, **sampling)


def client(server: Server, cache: Path | None = None, **options: Any) -> EndpointGenerator:
    options = {"first_wait": 0.001, "attempts": 3, "timeout": 10.0} | options
    return EndpointGenerator(Endpoint(url=server.url, model="small", **options), cache)


def test_every_request_is_answered_and_sent_in_the_protocol(serve: Callable[..., Server]) -> None:
    server = serve(echo)
    generator = client(server, api_key="secret", extra={"presence_penalty": 2})
    assert isinstance(generator, Generator)
    assert generator.name == "small"
    system = Message(role="system", content="Be brief.")
    request = Request(
        id="a",
        messages=(system, Message(role="user", content="hi")),
        max_new_tokens=5,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop=("\n",),
    )
    ((name, completion),) = generator.generate([request])
    assert (name, completion.text, completion.finish, completion.tokens) == (
        "a",
        "echo hi",
        "stop",
        3,
    )
    path, body, headers = server.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "stop": ["\n"],
        "presence_penalty": 2,
    }
    assert "secret" not in repr(generator.endpoint)


def test_plain_text_goes_to_the_completions_endpoint(serve: Callable[..., Server]) -> None:
    def reply(_: int, path: str, body: dict[str, Any]) -> Reply:
        return 200, {}, json.dumps({"choices": [{"text": path + body["prompt"]}]})

    ((_, completion),) = client(serve(reply)).generate([Request(id="t", text="Once")])
    assert completion.text == "/v1/completionsOnce"
    assert completion.finish == "stop"


def test_too_many_requests_then_success(serve: Callable[..., Server]) -> None:
    def reply(number: int, path: str, body: dict[str, Any]) -> Reply:
        return (429, {"Retry-After": "0"}, "{}") if number < 3 else echo(number, path, body)

    server = serve(reply)
    generator = client(server)
    assert dict(generator.generate([ask("a")]))["a"].text == "echo a"
    assert len(server.asked) == 3
    assert generator.usage == Usage(asked=1, retries=2, prompt_tokens=7, completion_tokens=3)


def test_a_server_that_stays_broken_is_an_error_that_names_the_status(
    serve: Callable[..., Server],
) -> None:
    server = serve(lambda *_: (503, {}, json.dumps({"error": {"message": "out of memory"}})))
    generator = client(server)
    completion = dict(generator.generate([ask("a")]))["a"]
    assert completion.finish == "error"
    assert "503" in completion.error
    assert "out of memory" in completion.error
    assert len(server.asked) == 3
    assert generator.usage.errors == 1


def test_a_long_wait_that_the_server_asks_for_is_an_error_at_once(
    serve: Callable[..., Server],
) -> None:
    server = serve(lambda *_: (429, {"Retry-After": "3600"}, "{}"))
    completion = dict(client(server).generate([ask("a")]))["a"]
    assert "3600 s" in completion.error
    assert len(server.asked) == 1


def test_a_bad_request_is_not_repeated_and_harms_no_other(serve: Callable[..., Server]) -> None:
    def reply(number: int, path: str, body: dict[str, Any]) -> Reply:
        if body["messages"][-1]["content"] == "bad":
            return 400, {}, json.dumps({"error": {"message": "too long"}})
        return echo(number, path, body)

    server = serve(reply)
    found = dict(client(server).generate([ask("bad"), ask("good")]))
    assert found["bad"].finish == "error"
    assert "too long" in found["bad"].error
    assert found["good"].text == "echo good"
    assert len(server.asked) == 2


def test_a_wrong_key_stops_asking_but_answers_everyone(serve: Callable[..., Server]) -> None:
    server = serve(lambda *_: (401, {}, json.dumps({"error": {"message": "bad key"}})))
    found = dict(client(server, concurrency=1).generate([ask(str(n)) for n in range(20)]))
    assert len(found) == 20
    assert all("bad key" in completion.error for completion in found.values())
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<html>proxy</html>", "not JSON: <html>proxy</html>"),
        ("", "not JSON: (empty)"),
        ("[]", "no choices"),
        ('{"choices": []}', "no choices"),
        ('{"choices": ["text"]}', "no choices"),
        ('{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}', "no text"),
        ('{"choices": [{"text": "x", "finish_reason": "content_filter"}]}', "content_filter"),
    ],
)
def test_malformed_answers_are_errors_and_never_cached(
    serve: Callable[..., Server], tmp_path: Path, text: str, problem: str
) -> None:
    server = serve(lambda *_: (200, {}, text))
    for _ in range(2):
        completion = dict(client(server, tmp_path).generate([ask("a")]))["a"]
        assert completion.finish == "error"
        assert problem in completion.error
    assert len(server.asked) == 2
    assert list(tmp_path.rglob("*.json")) == []


def test_no_server_is_an_error_that_names_the_address(serve: Callable[..., Server]) -> None:
    server = serve(echo)
    server.http.server_close()
    completion = dict(client(server, attempts=2).generate([ask("a")]))["a"]
    assert completion.finish == "error"
    assert server.url in completion.error


def test_a_slow_server_is_an_error_that_names_the_limit(serve: Callable[..., Server]) -> None:
    release = threading.Event()

    def reply(number: int, path: str, body: dict[str, Any]) -> Reply:
        release.wait(10)
        return echo(number, path, body)

    server = serve(reply)
    generator = client(server, timeout=0.05, attempts=2)
    completion = dict(generator.generate([ask("a")]))["a"]
    release.set()
    assert "no answer within 0.05 s" in completion.error
    assert (generator.usage.retries, generator.usage.errors) == (1, 1)


def test_a_cached_answer_makes_no_request(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(echo)
    first = dict(client(server, tmp_path).generate([ask("a"), ask("b")]))
    again = client(server, tmp_path)
    # Other ids, the same requests: the key is the request alone.
    assert dict(again.generate([ask("x", "a"), ask("y", "b")])) == {
        "x": first["a"],
        "y": first["b"],
    }
    assert len(server.asked) == 2
    assert again.usage == Usage(cached=2)


@pytest.mark.parametrize(
    "change", [{"temperature": 0.3}, {"seed": 1}, {"max_new_tokens": 9}, {"stop": ("x",)}]
)
def test_other_sampling_is_another_request(
    serve: Callable[..., Server], tmp_path: Path, change: dict[str, Any]
) -> None:
    server = serve(echo)
    generator = client(server, tmp_path)
    list(generator.generate([ask("a")]))
    list(generator.generate([ask("a", **change)]))
    assert len(server.asked) == 2


def test_a_damaged_cache_file_is_asked_for_again(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(echo)
    list(client(server, tmp_path).generate([ask("a")]))
    (path,) = tmp_path.rglob("*.json")
    path.write_text('{"completion": {"te')
    assert dict(client(server, tmp_path).generate([ask("a")]))["a"].text == "echo a"
    assert json.loads(path.read_text())["completion"]["text"] == "echo a"


def test_equal_requests_of_one_call_are_asked_once(serve: Callable[..., Server]) -> None:
    server = serve(echo)
    found = dict(client(server).generate([ask("a", "same"), ask("b", "same")]))
    assert {name: one.text for name, one in found.items()} == {"a": "echo same", "b": "echo same"}
    assert len(server.asked) == 1


def test_the_order_of_arrival_does_not_matter_and_answers_come_early(
    serve: Callable[..., Server],
) -> None:
    last_answered = threading.Event()

    def reply(number: int, path: str, body: dict[str, Any]) -> Reply:
        if body["messages"][-1]["content"] == "first":
            assert last_answered.wait(60)
        return echo(number, path, body)

    arrived = []
    for name, completion in client(serve(reply)).generate([ask("first"), ask("last")]):
        arrived.append((name, completion.text))
        last_answered.set()  # the first is answered only after the last was handed on
    assert arrived == [("last", "echo last"), ("first", "echo first")]


def test_no_more_than_the_limit_at_once(serve: Callable[..., Server]) -> None:
    two = threading.Barrier(2, timeout=60)

    def reply(number: int, path: str, body: dict[str, Any]) -> Reply:
        two.wait()  # an answer comes when two are asked for
        return echo(number, path, body)

    server = serve(reply)
    found = dict(client(server, concurrency=2).generate([ask(str(n)) for n in range(10)]))
    assert {name: one.text for name, one in found.items()} == {
        str(n): f"echo {n}" for n in range(10)
    }
    assert server.most_busy == 2


def test_leaving_early_ends_the_thread_and_keeps_what_arrived(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    generator = client(serve(echo), tmp_path, concurrency=1)
    results = generator.generate([ask(str(n)) for n in range(50)])
    next(results)
    results.close()
    assert all(thread.name != "endpoint" for thread in threading.enumerate())
    assert len(list(tmp_path.rglob("*.json"))) == generator.usage.asked >= 1


def test_it_works_inside_a_running_event_loop(serve: Callable[..., Server]) -> None:
    generator = client(serve(echo))

    async def notebook() -> str:
        return dict(generator.generate([ask("a")]))["a"].text

    assert asyncio.run(notebook()) == "echo a"


def test_cost_counts_what_was_asked_now(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(lambda *_: answer("x", "length", prompt=1_000, completion=500))
    generator = client(server, tmp_path, prompt_price=2.0, completion_price=8.0)
    assert dict(generator.generate([ask("a")]))["a"].finish == "length"
    list(generator.generate([ask("a")]))
    assert generator.cost == pytest.approx(0.002 + 0.004)


def test_half_a_surrogate_pair_is_sent_as_a_question_mark(serve: Callable[..., Server]) -> None:
    assert dict(client(serve(echo)).generate([ask("a", "x\ud800y")]))["a"].text == "echo x?y"
