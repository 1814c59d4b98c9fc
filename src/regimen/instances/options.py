"""Options of a row: their order, their labels, and the answer that goes with them.

Shuffling belongs to the engine, with a seed and a check, never to the code of templates: three
templates of a published collection lose the right answer in one of 24 orders that they write out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from regimen.instances.draws import Draws
from regimen.instances.task_rows import is_missing
from regimen.instances.words import normalise, tokens


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def _roman(place: int) -> str:
    ones = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
    return "x" * ((place + 1) // 10) + ones[(place + 1) % 10]


def _number(place: int) -> str:
    return str(place + 1)


@dataclass(frozen=True, slots=True)
class Style:
    """How an option is written: ``before`` + label + ``after`` + option.

    ``label`` gives the label of a place, None for a bullet, which is no label. An answer by label
    is written as ``answer`` says, with the label for ``{}``.
    """

    before: str
    after: str
    label: Callable[[int], str] | None = None
    answer: str = "{}"
    most: int = 26

    def line(self, place: int, option: str) -> str:
        """The option as the prompt shows it."""
        return f"{self.before}{self.label(place) if self.label else ''}{self.after}{option}"

    def label_at(self, place: int) -> str:
        """The label as an answer gives it; empty for a bullet."""
        return self.answer.format(self.label(place)) if self.label else ""


# The styles of FLAN v2 (arXiv 2301.13688), by how the first option looks.
STYLES: Mapping[str, Style] = {
    "dash": Style("- ", ""),
    "star": Style("* ", ""),
    "line": Style("", ""),
    "(A)": Style("(", ") ", _letter, "({})"),
    "A.": Style("", ". ", _letter),
    "A)": Style("", ") ", _letter),
    "(a)": Style("(", ") ", lambda place: _letter(place).lower(), "({})"),
    "a.": Style("", ". ", lambda place: _letter(place).lower()),
    "1.": Style("", ". ", _number, most=10_000),
    "(1)": Style("(", ") ", _number, "({})", most=10_000),
    "(i)": Style("(", ") ", _roman, "({})", most=39),
}
MIXED = "mixed"
BULLETS = tuple(name for name, style in STYLES.items() if style.label is None)
_LONGEST_LABEL = 12
"""No label of a style has more characters, whatever stands around it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The options of a row as they are shown.

    Place p shows option ``permutation[p]`` of the row; ``position`` is the answer's place.
    ``style`` is a name of ``STYLES``. ``answer`` is what is learned, ``accepted`` all that counts
    as right for it in an evaluation.
    """

    options: tuple[str, ...]
    permutation: tuple[int, ...]
    position: int
    style: str
    answer: str
    accepted: tuple[str, ...]

    def block(self, heading: str) -> str:
        """The options below a heading, one a line."""
        style = STYLES[self.style]
        lines = [style.line(place, option) for place, option in enumerate(self.options)]
        return "\n".join([heading, *lines])

    @property
    def labelled(self) -> bool:
        """Whether the answer is a label."""
        return STYLES[self.style].label is not None


def options_of(row: Mapping[str, Any], fixed: Sequence[str]) -> tuple[str, ...]:
    """The options of a row, else those of its task; empty where there are none.

    A value that is missing (None, NaN) is blank, so that the others keep their places.
    """
    own = row.get("options")
    for values in (own, fixed):
        if isinstance(values, list | tuple):
            texts = tuple("" if is_missing(value) else str(value) for value in values)
            if any(text.strip() for text in texts):
                return texts
    return ()


def place_of(answers: Sequence[str], options: Sequence[str]) -> int | None:
    """The place of the first accepted answer among the options; None where none of them is there.

    Equal texts go before those that are equal after folding case, width and white space.
    """
    for answer in answers:
        if answer in options:
            return list(options).index(answer)
    folded = [normalise(option) for option in options]
    for answer in map(normalise, answers):
        if answer and answer in folded:
            return folded.index(answer)
    return None


def show_options(
    options: Sequence[str],
    answer: int,
    draws: Draws,
    *,
    shuffled: bool = True,
    style: str = "dash",
    answer_as: str = "label",
) -> Shown:
    """The options in the order and under the labels of this row; blank ones are left out.

    Args:
        options: as the row has them.
        answer: place of the right one.
        draws: of the row.
        shuffled: permute them; else they stay as given.
        style: a name of ``STYLES``, or ``mixed``: one drawn for each row. A style with too few
            labels gives way to ``1.``, and one whose labels are options themselves to ``dash``:
            below ``A. B`` and ``B. A`` nobody knows what the answer A means.
        answer_as: what is learned where options have labels: ``label``, ``text`` or ``both``.
    """
    places = [place for place, option in enumerate(options) if option.strip()]
    order = draws.shuffled("option_order", places) if shuffled else places
    shown = tuple(options[place] for place in order)
    short = tuple(options[place] for place in places if len(options[place]) <= _LONGEST_LABEL)
    style = _usable(drawn_style(style, draws), len(places), short)
    position = order.index(answer)
    text, label = options[answer], STYLES[style].label_at(position)
    learned = {"label": label, "text": text, "both": f"{label} {text}"}[answer_as]
    accepted = [text]
    if not label:
        learned = text
    else:
        # an option that stands there twice is right under both labels
        twins = (place for place, option in enumerate(shown) if option == text)
        labels = [label, *map(STYLES[style].label_at, twins)]
        accepted += [*labels, *(f"{one} {text}" for one in labels)]
    accepted = list(dict.fromkeys((learned, *accepted)))
    return Shown(shown, tuple(order), position, style, learned, tuple(accepted))


def drawn_style(style: str, draws: Draws) -> str:
    """The style; for ``mixed`` the one that the row draws."""
    return list(STYLES)[draws.index("option_labels", len(STYLES))] if style == MIXED else style


@lru_cache(maxsize=4096)
def _usable(style: str, total: int, short: tuple[str, ...]) -> str:
    """The style, or the one that takes its place for ``total`` options, of which some are short."""
    if STYLES[style].label is not None and total > STYLES[style].most:
        style = "1."
    label = STYLES[style].label
    if label is None or not short:
        return style
    labels = {tuple(tokens(label(place))) for place in range(total)}
    return "dash" if any(tuple(tokens(option)) in labels for option in short) else style
