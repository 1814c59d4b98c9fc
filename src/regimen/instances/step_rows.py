"""Rows with an answer in steps and a label for each step, for models that score steps.

``steps`` (TRL's ``completions``) are texts, ``labels`` are true or false, or chances in 0..1 (Wang
et al. 2024, *Math-Shepherd*, arXiv 2312.08935). A step is a line: one of several lines becomes one
line, which is in ``lineage.verdicts`` as ``step_lines_joined:2``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from regimen.instances.row_records import Values, explicit_prompt, number_of
from regimen.instances.turns import Unusable, kind_of, with_system
from regimen.records import Lineage, Stepwise


def stepwise_row(values: Values, lineage: Lineage, weight: float) -> Stepwise:
    """A row with ``prompt``, ``steps`` and ``labels``.

    Raises:
        Unusable: without a question, steps that are not texts, or not one label for each.
    """
    column = "steps" if values.get("steps") is not None else "completions"
    given, labels = values.get(column), values.get("labels")
    texts = isinstance(given, list | tuple) and all(isinstance(one, str) for one in given)
    if not texts or not given:
        fix = "Write the steps as a list of texts."
        raise Unusable("not_steps", f"{column} is {kind_of(given)}", fix)
    if not isinstance(labels, list | tuple) or len(labels) != len(given):
        fix = "Write one label for each step."
        got = f"{len(given)} steps, labels is {kind_of(labels)}"
        raise Unusable("steps_without_labels", got, fix)
    if not all(one.strip() for one in given):
        fix = "Remove the step with its label, or write it."
        raise Unusable("empty_step", f"a step of {column} says nothing", fix)
    asked = with_system(explicit_prompt(values), values.get("system"), values.get("tools"))
    if not asked or asked[-1].role not in ("user", "tool"):
        fix = "Name the column with the question: columns: {prompt: ...}."
        raise Unusable("no_prompt", "the row has steps and no question before them", fix)
    joined = sum(len(one.strip().splitlines()) > 1 for one in given)
    verdicts = (f"step_lines_joined:{joined}",) if joined else ()
    return Stepwise(
        prompt=tuple(asked),
        steps=tuple(" ".join(map(str.strip, one.strip().splitlines())) for one in given),
        labels=tuple(map(_label, labels)),
        lineage=replace(lineage, verdicts=(*lineage.verdicts, *verdicts)),
        weight=weight,
    )


def _label(value: Any) -> float:
    number = float(value) if isinstance(value, bool) else number_of(value)
    if number is None or not 0 <= number <= 1:
        fix = "Write true or false for each step, or a chance between 0 and 1."
        raise Unusable("bad_step_label", f"a label is {value!r}", fix)
    return number
