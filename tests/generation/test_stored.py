"""Samples that are kept: pytest tests/generation/test_stored.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from regimen.errors import GenerationError
from regimen.generation.endpoints.cache import ResponseCache
from regimen.generation.stored import StoredGenerator
from regimen.protocols import Completion, Generator, Request
from regimen.records import Message


class Counting:
    """Answers with the seed, and stops after ``most`` answers as an interrupted run does."""

    name = "counting"

    def __init__(self, most: int = 99) -> None:
        self.most, self.asked = most, 0

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        for request in requests:
            if self.asked == self.most:
                raise GenerationError("stopped", slug="stopped")
            self.asked += 1
            finish = "error" if request.seed == 3 else "stop"
            yield request.id, Completion(text=f"{request.seed}", finish=finish, logp=-1.5)  # type: ignore[arg-type]


def requests() -> list[Request]:
    messages = (Message(role="user", content="q"),)
    return [Request(id=str(n), messages=messages, seed=n, temperature=1.0) for n in range(5)]


def test_what_is_stored_is_not_asked_again(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    first = StoredGenerator(Counting(2), cache, "weights")
    assert isinstance(first, Generator)
    with pytest.raises(GenerationError):
        list(first.generate(requests()))
    again = Counting()
    found = dict(StoredGenerator(again, cache, "weights").generate(requests()))
    assert again.asked == 3
    assert [found[str(n)].text for n in range(5)] == list("01234")
    assert found["0"] == found["1"].__class__(text="0", logp=-1.5)
    # an error is asked again, an answer under another id is not
    once = Counting()
    renamed = [replace(one, id=f"x{one.id}") for one in requests()]
    assert len(list(StoredGenerator(once, cache, "weights").generate(renamed))) == 5
    assert once.asked == 1


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 9},
        {"temperature": 0.5},
        {"top_p": 0.9},
        {"max_new_tokens": 7},
        {"stop": ("x",)},
        {"messages": (Message(role="user", content="other"),)},
    ],
)
def test_all_that_decides_an_answer_is_in_its_key(
    tmp_path: Path, change: dict[str, object]
) -> None:
    cache = ResponseCache(tmp_path)
    one = requests()[0]
    list(StoredGenerator(Counting(), cache, "weights").generate([one]))
    for identity, request in (("weights", replace(one, **change)), ("others", one)):  # type: ignore[arg-type]
        again = Counting()
        list(StoredGenerator(again, cache, identity).generate([request]))
        assert again.asked == 1
