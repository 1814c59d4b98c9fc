"""Answers that show their steps as training writes them: the answer alone, and the steps.

The phrases are those of ``instances.wordings``, so what is cut off is what the engine puts there
and nothing else: answers of several lines, or with a full stop, stay whole. What other models write
is read by ``extraction``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from regimen.instances.wordings import WORDINGS
from regimen.judging.rules import exact


def _any(phrases: Sequence[str]) -> str:
    return "|".join(map(re.escape, dict.fromkeys(phrases)))


_THEREFORE = re.compile(rf"\n(?:{_any([one.therefore for one in WORDINGS.values()])})(?=\s)")
_BECAUSE = re.compile(rf"\n(?:{_any([one.because for one in WORDINGS.values()])})(?=\s|$)")


def step_ends(text: str) -> tuple[int, ...]:
    """Where the steps of an answer end, in characters from its beginning.

    A step is a line that is not empty, without the blanks at its end; the line with the answer is
    one too.

    >>> step_ends("1: fox.\\n\\nNumber 1: fox. ")
    (7, 23)
    """
    found, start = [], 0
    for line in text.splitlines(keepends=True):
        if line.strip():
            found.append(start + len(line.rstrip()))
        start += len(line)
    return tuple(found)


def steps_of(text: str) -> tuple[str, ...]:
    """The steps of an answer, without the blanks around them.

    >>> steps_of("1: fox, 2: owl.\\nNumber 2: owl.\\n\\nThe answer is OWL")
    ('1: fox, 2: owl.', 'Number 2: owl.', 'The answer is OWL')
    """
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def without_steps(text: str) -> str:
    """The answer of a text with steps before or after it; a text without them is its own answer.

    >>> without_steps("1: fox, 2: owl. Number 2: owl.\\nThe answer is OWL")
    'OWL'
    >>> without_steps("OWL\\nExplanation: 1: fox, 2: owl. Number 2: owl.")
    'OWL'
    """
    answer = _BECAUSE.split(text, maxsplit=1)[0]
    return _THEREFORE.split(answer)[-1].strip()


def steps_exact(answer: str, references: Sequence[str]) -> float:
    """``exact`` on the answer without its steps."""
    return exact(without_steps(answer), references)
