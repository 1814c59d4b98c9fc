"""The errors of regimen, drawn as a tree.

    RegimenError                what a user sees: what, got, expected, fix
    ├── SettingsError           a settings file or override is wrong (all problems at once)
    ├── DataError               raw material cannot be read or holds nothing usable
    ├── TemplateError           a template cannot be compiled or rendered
    ├── TokenError              a conversation cannot become ids and a mask
    ├── ModelError              a model cannot be loaded, or loading it would be silently wrong
    ├── AdapterError            an adapter matches nothing or cannot be applied
    ├── TrainingError           a run cannot start, or its loss is no longer finite
    ├── GenerationError         an endpoint or the engine cannot answer
    ├── EvaluationError         a score would be meaningless (nothing changed, no items)
    ├── ContractError           an exactness contract does not hold
    ├── RunError                a run directory is missing, unfinished or another stage's
    ├── InterruptedRun          a signal ended a training, which can be gone on with
    └── MissingExtraError       an optional library is not installed

Programming errors stay ``ValueError`` and ``TypeError``: they are ours, not the user's.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class RegimenError(Exception):
    """An error that a user can act on.

    Args:
        what: one sentence that says what went wrong.
        slug: stable name of the error; ``regimen explain SLUG`` prints its page.
        got: what was found.
        expected: what would have been accepted.
        fix: what to do now.
        where: ``file:line`` or another place the user can open.
    """

    exit_status = 1
    """What the command line ends with."""

    def __init__(
        self,
        what: str,
        *,
        slug: str,
        got: str = "",
        expected: str = "",
        fix: str = "",
        where: str = "",
    ) -> None:
        self.what, self.slug, self.got = what, slug, got
        self.expected, self.fix, self.where = expected, fix, where
        super().__init__(self.render())

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors of worker processes are raised again in the process that the user sees."""
        return _again, (type(self), dict(self.__dict__))

    def render(self) -> str:
        """The error as plain text, one labelled line per part that is known."""
        lines = [f"{self.what} [{self.slug}]"]
        parts = {
            "where": self.where,
            "got": self.got,
            "expected": self.expected,
            "fix": self.fix,
        }
        lines += [f"  {label + ':':<10}{text}" for label, text in parts.items() if text]
        return "\n".join(lines)


def _again(kind: type[RegimenError], parts: dict[str, Any]) -> RegimenError:
    error = kind.__new__(kind)
    error.__dict__.update(parts)
    error.args = (error.render(),)
    return error


class SettingsError(RegimenError):
    """A settings file or an override is wrong."""


class DataError(RegimenError):
    """Raw material cannot be read, or nothing usable is in it."""


class TemplateError(RegimenError):
    """A template cannot be compiled or rendered."""


class TokenError(RegimenError):
    """A conversation cannot become ids and a loss mask."""


class ModelError(RegimenError):
    """A model cannot be loaded, or would be silently wrong."""


class AdapterError(RegimenError):
    """An adapter matches nothing or cannot be applied."""


class TrainingError(RegimenError):
    """A run cannot start or cannot go on."""


class GenerationError(RegimenError):
    """The engine or an endpoint cannot answer."""


class EvaluationError(RegimenError):
    """A score would be meaningless."""


class ContractError(RegimenError):
    """An exactness contract does not hold on the user's model and data."""


class RunError(RegimenError):
    """A run directory is missing, unfinished or belongs to another stage."""


class InterruptedRun(RegimenError):
    """A signal ended a training after a checkpoint; the same command goes on from there."""

    def __init__(self, number: int, checkpoint: str) -> None:
        self.exit_status = 128 + number
        super().__init__(
            "Training was interrupted.",
            slug="interrupted",
            got=f"signal {number}; saved as {checkpoint}",
            fix="Run the same command again: it goes on from there.",
        )


class MissingExtraError(RegimenError):
    """An optional library is not installed."""


def near(name: str, known: Iterable[str]) -> str:
    """``Did you mean 'x'?`` for the closest known name, or the list of known names."""
    names = sorted(known)
    match = get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"Did you mean {match[0]!r}?"
    return "Known: " + ", ".join(names) + "."
