"""How a task is covered: what its encodings write for its rows, its answers, its lints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from regimen.console import Progress
from regimen.curation.balance import PositionBalance
from regimen.instances.encodings import FormattingSpec
from regimen.instances.lints.columns import labels
from regimen.instances.lints.findings import SEVERITIES, Finding
from regimen.instances.lints.rows import entropy
from regimen.instances.lints.tasks import lint_task
from regimen.instances.lints.templates import Render, lint_rendered
from regimen.instances.task_rows import FormattingFailure, accepted_outputs
from regimen.instances.words import normalise
from regimen.records import Row, Task, stable_hash
from regimen.stages.show_encodings import (
    SETTINGS,
    Formatter,
    Variant,
    bare,
    by_definition,
    by_template,
)

Numbered = Sequence[tuple[int, Row]]
AT_ONCE = 64
"""Rows after which the progress moves."""


@dataclass(slots=True)
class _Account:
    """What an encoding made of the rows; ``first`` is the first failure of each kind."""

    rows: int = 0
    prompts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    different: set[str] = field(default_factory=set)
    failed: Counter[str] = field(default_factory=Counter)
    first: dict[str, FormattingFailure] = field(default_factory=dict)
    learned: list[str] = field(default_factory=list)

    def report(self, name: str) -> dict[str, Any]:
        """For tables and JSON; lengths are in characters."""
        made = len(self.prompts)
        failed = {
            error: {"count": self.failed[error], "row": one.row, "got": one.got, "fix": one.fix}
            for error, one in sorted(self.first.items())
        }
        return {
            "name": name,
            "rows": self.rows,
            "instances": made,
            "failed": failed,
            "prompt": spread(self.prompts),
            "answer": spread(self.answers),
            "distinct_prompts": len(self.different) / made if made else None,
        }


def spread(lengths: Sequence[int]) -> dict[str, int]:
    """Median, 95% quantile (both by nearest rank) and longest; empty for no lengths."""
    if not lengths:
        return {}
    order = sorted(lengths)
    ranks = {"median": 0.5, "p95": 0.95, "longest": 1.0}
    return {name: order[math.ceil(q * len(order)) - 1] for name, q in ranks.items()}


def covered(task: Task, spec: FormattingSpec | None) -> list[Variant]:
    """The encodings that the coverage counts: the settings', the definition, all templates."""
    plain = FormattingSpec(max_characters=spec.max_characters if spec else 4000)
    found = [Variant(SETTINGS, task, spec)] if spec is not None else []
    found += [by_definition(task, plain)]
    return found + [by_template(task, one, plain) for one in task.templates]


def coverage(
    task: Task, numbered: Numbered, make: Formatter, spec: FormattingSpec | None, bar: Progress
) -> dict[str, Any]:
    """What the encodings of a task write for rows of it.

    Args:
        task: the task.
        numbered: rows that are looked at, with their numbers.
        make: formats them.
        spec: formatting of a settings file, if there is one.
        bar: advances by one for each row in each encoding.

    Returns:
        ``rows`` and ``examples`` (counts), ``encodings`` (one report each), ``answers`` (labels
        with counts and entropy in bits, or how many differ and their lengths), ``positions`` of
        the right option (``PositionBalance.report``). ``rows.all`` is None where a function makes
        them.
    """
    balance = PositionBalance()
    accounts: dict[str, _Account] = {}
    for variant in covered(task, spec):
        account = accounts.setdefault(_free(variant.name, accounts), _Account())
        _count(account, variant, numbered, make, balance, bar)
    answers = [given[0] for _, row in numbered if (given := accepted_outputs(row))]
    written = next((one.learned for one in reversed(accounts.values()) if one.learned), [])
    return {
        "rows": {
            "all": None if task.generator is not None else len(task.instances),
            "looked_at": len(numbered),
            "held_out": len(task.held_out),
        },
        "examples": {"positive": len(task.positive), "negative": len(task.negative)},
        "encodings": [account.report(name) for name, account in accounts.items()],
        "answers": answer_balance(answers or written),
        "positions": balance.report(),
    }


def _free(name: str, taken: dict[str, _Account]) -> str:
    """The name, with a number where it is taken."""
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _count(
    account: _Account,
    variant: Variant,
    numbered: Numbered,
    make: Formatter,
    balance: PositionBalance,
    bar: Progress,
) -> None:
    name = variant.name
    for start in range(0, len(numbered), AT_ONCE):
        some = numbered[start : start + AT_ONCE]
        for made in make(variant, some):
            if isinstance(made, FormattingFailure):
                account.failed[made.error] += 1
                account.first.setdefault(made.error, made)
                continue
            prompt, answer = (message.text for message in made.messages)
            account.prompts.append(len(prompt))
            account.answers.append(len(answer))
            account.different.add(stable_hash(prompt))
            account.learned.append(answer)
            balance.add([name], [made.lineage.verdicts])
        account.rows += len(some)
        bar.advance(len(some))


def answer_balance(answers: Sequence[str]) -> dict[str, Any]:
    """The labels of answers with their counts, or how many differ.

    Returns:
        ``answers`` (how many), ``different``, ``characters`` (``spread``), and for answers that are
        labels (``lints.columns.labels``) ``labels`` ({label: count}, most frequent first) and
        ``entropy`` in bits.
    """
    spelled: dict[str, str] = {}
    for answer in answers:
        spelled.setdefault(normalise(answer), answer)
    report: dict[str, Any] = {
        "answers": len(answers),
        "different": len(spelled),
        "characters": spread([len(answer) for answer in answers]),
    }
    known = labels(answers)
    if known is not None:
        report["labels"] = {spelled[label]: count for label, count in known.items()}
        report["entropy"] = entropy(known)
    return report


def findings_of(task: Task, numbered: Numbered, render: Render) -> list[Finding]:
    """The lints of a task on some of its rows, worst first; findings have the rows' own numbers."""
    numbers = [number for number, _ in numbered]
    found = [
        replace(one, rows=tuple(numbers[place] for place in one.rows))
        for one in lint_task(bare(task), [row for _, row in numbered])
    ]
    if task.templates:
        found += lint_rendered(task, render, numbered)
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))
