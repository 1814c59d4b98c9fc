"""Lints on rows: answers, repetitions, options, and answers that stand in the input."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from regimen.instances.lints.columns import Columns, among, labels, next_others
from regimen.instances.lints.findings import Finding, Severity, found, listed, quote
from regimen.instances.lints.spaces import Space, bare
from regimen.instances.words import normalise

MAJORITY = 0.9
ENOUGH_ROWS = 5
"""Rows from which a regularity is no chance."""
COPIED_SHARE = 0.9
"""Share of inputs that end with their answer from which the place gives it away, not chance."""
COMPLIANCE = 0.9
"""Share of rows that a listing of options must hold for before the others are found fault with."""

_MARKED = re.compile(
    r"^\W*(?:correct |right |gold |expected )?(?:answer|label|output|target|solution|response|"
    r"réponse|respuesta|antwort|risposta|resposta|ответ|答案|答え|答|回答|标签|输出|الإجابة|الجواب|"
    r"उत्तर)(?: is)?\s*[:：=]\s*(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_LISTED = re.compile(r"^[ \t]*[(\[]?([A-Z])[)\].:][ \t]*(\S.*)$", re.MULTILINE)


def empty_outputs(c: Columns) -> Iterator[Finding]:
    """Rows without an answer."""
    empty = [i for i, answers in enumerate(c.answers) if not answers]
    if empty:
        yield found(c.task.name, "empty_outputs", empty, len(c), "no output, or a blank one")


def entropy(counts: Counter[str]) -> float:
    """Entropy of the distribution of counts, in bits."""
    total = counts.total()
    return abs(sum(n / total * math.log2(total / n) for n in counts.values()))


def label_balance(c: Columns) -> Iterator[Finding]:
    """One answer for all rows, or for nearly all."""
    answers = c.first
    numbers = [i for i, accepted in enumerate(c.answers) if accepted]
    counts = Counter(map(normalise, answers))
    if len(answers) > 1 and len(counts) == 1:
        severity: Severity = "error" if len(answers) >= ENOUGH_ROWS else "note"
        detail = f"entropy 0 bits: always {quote(answers[0])}"
        yield found(c.task.name, "label_entropy_zero", numbers, len(c), detail, severity=severity)
        return
    known = labels(answers)
    if known is None or len(answers) < 2 * ENOUGH_ROWS:
        return
    label, most = known.most_common(1)[0]
    if most > MAJORITY * len(answers):
        detail = (
            f"{quote(label)} answers {most / len(answers):.0%}; entropy {entropy(known):.2f} bits "
            f"over {len(known)} labels"
        )
        rows = [i for i in numbers if normalise(c.answers[i][0]) == label]
        yield found(c.task.name, "label_imbalance", rows, len(c), detail)


def duplicates(c: Columns) -> Iterator[Finding]:
    """Equal inputs with other answers, and equal inputs with an answer in common."""
    groups: dict[str, list[int]] = {}
    for i, key in enumerate(c.keys):
        if c.inputs[i].strip() and c.answers[i]:
            groups.setdefault(key, []).append(i)
    conflicting: list[int] = []
    repeated: list[int] = []
    exact = False
    for rows in groups.values():
        if len(rows) < 2:
            continue
        sets = [frozenset(map(normalise, c.answers[i])) for i in rows]
        # some answer that all rows accept settles the group at once
        if len(set(sets)) == 1 or frozenset.intersection(*sets):
            repeated += rows[1:]
            continue
        apart = [i for i, one in zip(rows, sets, strict=True) if not _met(one, sets)]
        conflicting += apart or rows
        repeated += rows[1:] if not apart else [i for i in rows if i not in set(apart)][1:]
        raw = {" ".join(c.inputs[i].split()) for i in rows}
        exact = exact or len(raw) < len(rows)
    if conflicting:
        yield _conflict(c, sorted(conflicting), exact)
    if repeated:
        detail = "inputs that an earlier row has, with an answer in common"
        yield found(c.task.name, "repeated_inputs", sorted(repeated), len(c), detail)


def _met(one: frozenset[str], sets: Sequence[frozenset[str]]) -> bool:
    """Whether a row shares an answer with another of its group."""
    return sum(bool(one & other) for other in sets) > 1


def _conflict(c: Columns, rows: list[int], exact: bool) -> Finding:
    """For labels an error; free text may have several right answers."""
    is_label = labels(c.first) is not None
    severity: Severity = "error" if is_label else "note"
    by_key: dict[str, int] = {}
    pair = (rows[0], rows[-1])
    for i in rows:
        if c.keys[i] in by_key:
            pair = (by_key[c.keys[i]], i)
            break
        by_key[c.keys[i]] = i
    detail = f"{quote(c.inputs[pair[0]])} is answered " + " and ".join(
        quote(c.answers[i][0]) for i in pair
    )
    if not exact:
        severity, detail = "note", f"{detail}; inputs equal but for case or form"
    return found(c.task.name, "conflicting_duplicates", rows, len(c), detail, severity=severity)


def answers_and_options(c: Columns) -> Iterator[Finding]:
    """Answers that are none of the row's or task's options, or none of those the input lists."""
    outside = [
        i
        for i, (answers, options) in enumerate(zip(c.answers, c.options, strict=True))
        if options and answers and not any(among(answer, options) for answer in answers)
    ]
    of = sum(
        bool(options and answers) for options, answers in zip(c.options, c.answers, strict=True)
    )
    if outside:
        i = outside[0]
        detail = f"{quote(c.answers[i][0])} is none of {listed(c.options[i])}"
        yield found(c.task.name, "answer_outside_options", outside, of, detail)
        return
    lists = {i: listing for i, text in enumerate(c.inputs) if (listing := listed_options(text))}
    lists = {i: listing for i, listing in lists.items() if c.answers[i]}
    wrong = [
        i
        for i, listing in lists.items()
        if not any(_among_listed(answer, listing) for answer in c.answers[i])
    ]
    if wrong and len(lists) >= ENOUGH_ROWS and len(wrong) <= (1 - COMPLIANCE) * len(lists):
        detail = f"{quote(c.answers[wrong[0]][0])} is none of the options that the input lists"
        yield found(c.task.name, "answer_outside_options", wrong, len(lists), detail)


def listed_options(text: str) -> tuple[str, ...]:
    """The texts of ``(A) ...``, ``(B) ...`` on lines of their own, from A on; none if not so."""
    if "\n" not in text:
        return ()
    run: list[str] = []
    best: list[str] = []
    for letter, option in _LISTED.findall(text):
        run = [*run, option] if letter == chr(ord("A") + len(run)) else []
        run = [option] if not run and letter == "A" else run
        best = run if len(run) >= len(best) else best
    return tuple(best) if len(best) > 1 else ()


def _among_listed(answer: str, listing: Sequence[str]) -> bool:
    parts = [part for part in re.split(r"[,;/&\s]+", answer) if part]
    return among(answer, listing) or all(among(part, listing) for part in parts)


def answers_and_space(c: Columns, space: Space | None) -> Iterator[Finding]:
    """Answers that the definition does not allow.

    A few odd rows among many right ones are found in any space. If most rows are outside, the
    reading of the definition is the likelier mistake, unless it lists the answers in one place and
    every answer of the task is a label outside of it.
    """
    if space is None or not c.first:
        return
    verdicts = {
        i: any(map(space.allows, answers)) for i, answers in enumerate(c.answers) if answers
    }
    outside = [i for i, allowed in verdicts.items() if not allowed]
    known = labels(c.first)
    few = 0 < len(outside) <= len(verdicts) / 2
    other = len(outside) == len(verdicts) and space.explicit and known is not None
    if few or (other and all(len(label.split()) < 3 for label in known or ())):
        odd = list(dict.fromkeys(c.answers[i][0] for i in outside))
        detail = f"the definition names {space}; rows answer {listed(odd)}"
        yield found(c.task.name, "answer_outside_stated_space", outside, len(verdicts), detail)


def answers_in_inputs(c: Columns) -> Iterator[Finding]:
    """Inputs that end with their answer, or say it behind a word such as "Answer:"."""
    rows = [i for i, answers in enumerate(c.answers) if answers and c.inputs[i].strip()]
    others = next_others([normalise(c.answers[i][0]) for i in rows])
    # a wording that ends all inputs, such as "yes or no?", gives nothing away
    ends = [
        i
        for i, other in zip(rows, others, strict=True)
        if _ends_with(c.inputs[i], c.answers[i][0])
        and not _ends_with(c.inputs[rows[other]], c.answers[i][0])
    ]
    marked = [
        i
        for i in rows
        if any(bare(text) == bare(c.answers[i][0]) for text in _MARKED.findall(c.inputs[i]))
    ]
    different = len({normalise(c.answers[i][0]) for i in ends}) > 1
    if len(ends) >= ENOUGH_ROWS and different and len(ends) >= COPIED_SHARE * len(rows):
        detail = f"the input of {len(ends) / len(rows):.0%} of the rows ends with the answer"
        yield found(c.task.name, "answer_in_input", ends, len(rows), detail)
    elif len({normalise(c.answers[i][0]) for i in marked}) > 1:
        detail = f"the input of {len(marked) / len(rows):.0%} of the rows says which the answer is"
        yield found(c.task.name, "answer_in_input", marked, len(rows), detail)


def _ends_with(text: str, answer: str) -> bool:
    """Whether a longer text ends with the answer as whole words."""
    # the end is enough: inputs may be long
    plain, end = bare(text.rstrip()[-2 * len(answer) - 40 :]), bare(answer)
    if not end or not plain.endswith(end) or len(plain) == len(end):
        return False
    before = plain[-len(end) - 1]
    return not (before.isalnum() and end[0].isalnum()) or before > "\u2e7f"
