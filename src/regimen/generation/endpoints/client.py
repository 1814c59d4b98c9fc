"""A remote model as a ``Generator``: the OpenAI protocol, retries, a cache, limits, cost.

The public side is synchronous. Requests run in an event loop in a thread of its own, so that
answers can be used while others are still on their way, inside a notebook's running loop too.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from regimen.errors import GenerationError
from regimen.generation.endpoints.cache import ResponseCache, request_key
from regimen.generation.endpoints.usage import Usage
from regimen.generation.endpoints.wire import (
    Answer,
    failed,
    kind_of,
    payload_of,
    read_answer,
    refusal_of,
)
from regimen.protocols import Completion, Request

# The server is busy, broken or slow; anything else will not get better by asking again.
RETRIED = frozenset((408, 409, 425, 429, *range(500, 600)))
# The key, the address or the model's name is wrong: no request of this run can succeed.
FATAL = frozenset((401, 403, 404))


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a remote model is and how it may be asked.

    Args:
        url: base, such as ``http://127.0.0.1:8000/v1``.
        model: its name there.
        api_key: sent as a bearer token; never shown, stored or hashed.
        concurrency: requests under way at once.
        timeout: seconds for one attempt.
        attempts: tries of one request, the first included.
        first_wait: seconds before the second try; it doubles, with jitter, up to ``max_wait``.
        max_wait: longest wait in seconds. A server that asks for more is not asked again.
        prompt_price: money per million tokens of prompts.
        completion_price: money per million generated tokens.
        extra: more fields of the request's body, such as ``{"presence_penalty": 2}``.
        limit_name: the field that limits new tokens; some servers say ``max_completion_tokens``.
    """

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    concurrency: int = 4
    timeout: float = 120.0
    attempts: int = 6
    first_wait: float = 1.0
    max_wait: float = 60.0
    prompt_price: float = 0.0
    completion_price: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)
    limit_name: str = "max_tokens"

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.attempts < 1:
            raise ValueError("concurrency and attempts must be 1 or more")
        if not self.url.startswith(("http://", "https://")):
            raise GenerationError(
                "The endpoint's address is not a web address.",
                slug="endpoint-url",
                got=self.url,
                expected="the base of an OpenAI-compatible server, as http://127.0.0.1:8000/v1",
                fix="Add http:// or https:// before it.",
            )
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise GenerationError(
                "The endpoint's key holds characters that no key has.",
                slug="endpoint-key",
                got=f"{len(self.api_key)} characters, some not printable ASCII",
                expected="the key as the endpoint's owner gave it",
                fix="Set the variable that holds the key again; look for a line break at its end.",
            )


class _TryAgain(Exception):
    """A failure that may pass. ``after`` is how many seconds the server asks to wait."""

    def __init__(self, problem: str, after: float | None = None) -> None:
        super().__init__(problem)
        self.after = after


@dataclass(frozen=True, slots=True)
class _Job:
    """One body to send, for every request that has it."""

    key: str
    kind: str
    payload: Mapping[str, Any]
    ids: list[str]


_Outbox = queue.SimpleQueue[tuple[_Job, Answer] | None]


class EndpointGenerator:
    """Answers requests by asking an endpoint, each different request once.

    What cannot be answered comes back with ``finish="error"`` and the reason.

    Args:
        endpoint: where and how to ask.
        cache: a directory for answers, shared between runs; None asks every time.
    """

    def __init__(self, endpoint: Endpoint, cache: Path | str | None = None) -> None:
        self.endpoint = endpoint
        self.cache = ResponseCache(cache) if cache is not None else None
        self.usage = Usage()

    @property
    def name(self) -> str:
        """What the lineage records as the generator: the model, without the address."""
        return self.endpoint.model

    @property
    def cost(self) -> float:
        """Money spent since this object was made, at the endpoint's prices."""
        return self.usage.cost(self.endpoint.prompt_price, self.endpoint.completion_price)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        """Yield a completion for every request as it comes in; what is on disk comes first."""
        waiting: list[_Job] = []
        for job in self._jobs(requests):
            known = self.cache.get(job.key) if self.cache else None
            if known is None:
                waiting.append(job)
                continue
            self.usage.cached += 1
            yield from ((name, known) for name in job.ids)
        if waiting:
            yield from self._ask_all(waiting)

    def _jobs(self, requests: Sequence[Request]) -> list[_Job]:
        jobs: dict[str, _Job] = {}
        for request in requests:
            kind, end = kind_of(request), self.endpoint
            payload = payload_of(request, end.model, end.extra, end.limit_name)
            key = request_key(kind, payload)
            jobs.setdefault(key, _Job(key, kind, payload, [])).ids.append(request.id)
        return list(jobs.values())

    def _ask_all(self, jobs: Sequence[_Job]) -> Iterator[tuple[str, Completion]]:
        """Run the event loop in a thread; count, store and hand on answers as they come.

        Leaving early cancels what is on its way; what has arrived is stored all the same.
        """
        outbox: _Outbox = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        main = loop.create_task(self._run(jobs, outbox))
        main.add_done_callback(lambda _: outbox.put(None))
        thread = threading.Thread(
            target=loop.run_until_complete, args=(asyncio.wait([main]),), name="endpoint"
        )
        thread.start()
        try:
            while (arrived := outbox.get()) is not None:
                self._account(*arrived)
                yield from ((name, arrived[1].completion) for name in arrived[0].ids)
        finally:
            loop.call_soon_threadsafe(main.cancel)
            thread.join()
            loop.close()
            while not outbox.empty():
                if (arrived := outbox.get()) is not None:
                    self._account(*arrived)
        main.result()

    async def _run(self, jobs: Sequence[_Job], outbox: _Outbox) -> None:
        waiting = iter(jobs)
        fatal: list[str] = []

        async def worker(client: httpx.AsyncClient) -> None:
            for job in waiting:
                answer = failed(f"not asked: {fatal[0]}") if fatal else await self._ask(client, job)
                if answer.fatal:
                    fatal.append(answer.completion.error)
                outbox.put((job, answer))

        end = self.endpoint
        headers = {"Authorization": f"Bearer {end.api_key}"} if end.api_key else {}
        base = end.url.rstrip("/") + "/"
        async with (
            httpx.AsyncClient(base_url=base, headers=headers, timeout=end.timeout) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(min(end.concurrency, len(jobs))):
                group.create_task(worker(client))

    def _account(self, job: _Job, answer: Answer) -> None:
        self.usage.prompt_tokens += answer.prompt_tokens
        self.usage.completion_tokens += answer.completion_tokens
        if answer.completion.finish == "error":
            self.usage.errors += 1
            return
        self.usage.asked += 1
        if self.cache:
            self.cache.put(job.key, job.payload, answer.completion)

    async def _ask(self, client: httpx.AsyncClient, job: _Job) -> Answer:
        end = self.endpoint
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_TryAgain),
                stop=stop_after_attempt(end.attempts),
                wait=self._wait,
                reraise=True,
            ):
                with attempt:
                    self.usage.retries += attempt.retry_state.attempt_number > 1
                    return await self._attempt(client, job)
        except _TryAgain as problem:
            return failed(f"{problem} ({end.attempts} attempts at most)")
        raise AssertionError("retrying ends with an answer or an error")

    def _wait(self, state: RetryCallState) -> float:
        """What the server asks for, else a doubling wait with jitter."""
        end = self.endpoint
        problem = state.outcome.exception() if state.outcome else None
        if isinstance(problem, _TryAgain) and problem.after is not None:
            return problem.after
        grow = wait_exponential(multiplier=end.first_wait, max=end.max_wait)
        return float(grow(state) + wait_random(0, end.first_wait)(state))

    async def _attempt(self, client: httpx.AsyncClient, job: _Job) -> Answer:
        try:
            response = await client.post(job.kind, json=dict(job.payload))
        except httpx.TimeoutException as error:
            raise _TryAgain(f"no answer within {self.endpoint.timeout:g} s") from error
        except httpx.TransportError as error:
            raise _TryAgain(f"{self.endpoint.url} cannot be reached: {error}") from error
        except httpx.RequestError as error:
            return failed(f"the endpoint's answer cannot be read: {error}")
        if response.status_code == httpx.codes.OK:
            return read_answer(response.text)
        problem = refusal_of(response.status_code, response.text)
        if response.status_code not in RETRIED:
            return failed(problem, fatal=response.status_code in FATAL)
        after = retry_after(response.headers.get("Retry-After", ""), time.time())
        if after is not None and after > self.endpoint.max_wait:
            return failed(f"{problem} (it asks to wait {after:.0f} s)")
        raise _TryAgain(problem, after)


def retry_after(header: str, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait (RFC 9110: seconds or a date).

    Args:
        header: its value; empty when absent.
        now: seconds since 1970, from which a date is counted.
    """
    text = header.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date without a zone is in UTC (RFC 9110, section 5.6.7).
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.fromtimestamp(now, UTC)).total_seconds())
