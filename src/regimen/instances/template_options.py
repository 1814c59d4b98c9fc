"""What a template reads of a row: its output, and options that the engine may order and label."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from regimen.instances.collections.option_order import OPTIONS, can_shuffle
from regimen.instances.template_worker import SEPARATOR
from regimen.instances.templates import compile_check, missing_columns
from regimen.records import Template

_LIST = re.compile(r"\boptions\b")


@dataclass(frozen=True, slots=True)
class Listing:
    """How a template lists the options that the engine gives it.

    ``shown``: it does. ``labelled``: by ``options_block``, so with the engine's labels; a list of
    its own has none, and nobody can answer by them. ``free``: in any order, because it says nothing
    of a single option and answers with ``output``.
    """

    shown: bool = False
    labelled: bool = False
    free: bool = False


@lru_cache(maxsize=4096)
def listing(source: str, answer: str) -> Listing:
    """What a template without choices of its own does with ``options`` and ``options_block``.

    Args:
        source: writes the prompt, and the answer too where ``answer`` is empty.
        answer: writes the answer.
    """
    names = _names(source)
    if names is None or names.isdisjoint(("options", "options_block")):
        return Listing()
    prompt, _, behind = source.partition(SEPARATOR)
    asks, answers = (names, _names(answer)) if answer else (_names(prompt), _names(behind))
    if asks is None or answers is None:
        # prompt and answer cannot be told apart
        return Listing(shown=True, labelled="options_block" in names)
    if asks.isdisjoint(("options", "options_block")):
        return Listing()
    told = "output" in answers and answers.isdisjoint(("options", "options_block"))
    whole = "options" not in asks or _lists_all(source if answer else prompt)
    return Listing(shown=True, labelled="options_block" in asks, free=told and whole)


@lru_cache(maxsize=4096)
def reads_output(prompt: str, answer: str) -> bool:
    """Whether prompt or answer is written with the row's output."""
    return any("output" in (_names(source) or ()) for source in (prompt, answer))


def _lists_all(prompt: str) -> bool:
    """Whether a prompt writes the whole list ``options`` and ties nothing to a place in it."""
    as_choices = _LIST.sub(OPTIONS, prompt)
    return can_shuffle(
        Template(name="", input=as_choices, output="x", choices="{{ x | join('|||') }}")
    )


def _names(source: str) -> set[str] | None:
    """The columns that a source needs; None where it cannot be compiled."""
    return None if compile_check(source) is not None else set(missing_columns(source, ()))


@lru_cache(maxsize=4096)
def may_shuffle(prompt: str, answer: str, choices: str) -> bool:
    """``can_shuffle``, which parses the template, asked once for each."""
    return can_shuffle(Template(name="", input=prompt, output=answer, choices=choices))
