"""What moved, item by item: four buckets and a sample of the answers behind them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from regimen.reports.buckets import (
    BUCKETS,
    RIGHT,
    AnswerRow,
    Change,
    changes,
    read_scores,
    sample_answers,
)
from regimen.reports.markup import Section, clipped, el, paragraph
from regimen.reports.rundata import RunData
from regimen.reports.theme import system
from regimen.reports.wording import count, percent, probability, things, title

SHOWN = ("base", "base_prompted", "tuned", "aligned")
LOOKS = {"regressed": "bad", "fixed": "good", "still wrong": "wrong", "still right": "right"}
PROMPT, ANSWER = 150, 90


def answers(run: RunData) -> Section | None:
    """Buckets base to tuned (and tuned to aligned), then about sixty items with all answers."""
    if run.answers is None:
        return None
    suites = [suite.name for suite in run.evaluation.suites] if run.evaluation else []
    scores = read_scores(run.answers, suites)
    names = {name for found in scores.values() for name in found}
    after = "tuned" if "tuned" in names else "aligned"
    if not {"base", after} <= names:
        return None
    counted = changes(scores, "base", after)
    parts = [paragraph(LEAD, class_="lead"), _bars(counted)]
    if {"tuned", "aligned"} <= names:
        parts.append(_bars(changes(scores, "tuned", "aligned")))
    rows = sample_answers(run.answers, scores, "base", after)
    parts.append(_table(rows, [name for name in SHOWN if name in names], total(counted)))
    return Section(anchor="answers", title="What moved, item by item", body=Markup().join(parts))


LEAD = (
    "Each item is in one of four buckets by what it was before and after. A score of "
    f"{percent(RIGHT)} or more counts as right. McNemar's test asks whether as many items "
    "regressed as were fixed; it takes items as independent, so the clustered intervals decide."
)


def total(counted: Sequence[Change]) -> int:
    """Items over all suites."""
    return sum(change.total for change in counted)


def _bars(counted: Sequence[Change]) -> Markup:
    first, second = (
        (system(counted[0].first).label, system(counted[0].second).label) if counted else ("", "")
    )
    rows = [_bar(change) for change in counted]
    key = el(
        "p",
        (el("span", el("i", class_=LOOKS[name].split()[0]), title(name)) for name in BUCKETS),
        class_="key buckets",
    )
    head = el("div", el("h3", f"From {first} to {second}"), key, class_="head")
    return el("div", head, rows, class_="bars")


def _bar(change: Change) -> Markup:
    pieces = [
        el(
            "span",
            count(n) if n / max(change.total, 1) > 0.05 else None,
            class_=LOOKS[name],
            style=f"flex-grow:{n}",
            title=f"{title(name)}: {things(n, 'item')}",
        )
        for name, n in change.counts.items()
        if n
    ]
    words = ", ".join(f"{count(n)} {name}" for name, n in change.counts.items())
    return el(
        "div",
        el("div", title(change.suite), class_="name"),
        el("div", pieces, class_="stack", role="img", aria_label=f"{title(change.suite)}: {words}"),
        el("div", f"{words}; McNemar {probability(change.p)}", class_="small"),
    )


def _table(rows: Sequence[AnswerRow], names: Sequence[str], items: int) -> Markup:
    if not rows:
        return paragraph("No item was answered by both systems.")
    head = ["Bucket", "Prompt", "Reference", *(title(system(name).label) for name in names)]
    # The sorting buttons come with the script: without it a header is text.
    header = el("tr", (el("th", label, scope="col", data_sort=i) for i, label in enumerate(head)))
    table = el(
        "table",
        el("caption", "Sample of answers", class_="quiet"),
        el("thead", header),
        el("tbody", (_row(row, names, rank) for rank, row in enumerate(rows))),
        class_="answers",
        id="answers-table",
    )
    return Markup().join(
        [
            el("h3", f"Answers to {things(len(rows), 'item')} of {count(items)}"),
            paragraph(
                "Drawn at random with a fixed seed, suites taking turns; regressed items first.",
                class_="small",
            ),
            _controls(rows),
            el("div", table, class_="scroll", role="region", tabindex="0",
               aria_label="Sample of answers"),
            el("p", "No answer matches.", id="answers-none", hidden=True),
        ]
    )


def _controls(rows: Sequence[AnswerRow]) -> Markup:
    """Filter buttons and a search field; hidden until the script is there to serve them."""
    present = [name for name in BUCKETS if any(row.bucket == name for row in rows)]
    buttons = [
        el("button", title(name), type="button", data_bucket=name, aria_pressed="false")
        for name in present
    ]
    every = el("button", "All", type="button", data_bucket="", aria_pressed="true")
    suites = list(dict.fromkeys(row.suite for row in rows))
    select = el(
        "select",
        el("option", "All suites", value=""),
        (el("option", title(name), value=name) for name in suites),
        id="answers-suite",
        aria_label="Suite",
    )
    search = el(
        "input", type="search", id="answers-search", placeholder="Search the text",
        aria_label="Search the text of prompts and answers",
    )
    return el(
        "div",
        el("div", every, buttons, class_="choices", role="group", aria_label="Bucket"),
        select,
        search,
        el("output", id="answers-count", for_="answers-search"),
        class_="controls",
    )


def _row(row: AnswerRow, names: Sequence[str], rank: int) -> Markup:
    facts = " · ".join(
        part.replace("_", " ") for part in (row.family or row.task, row.language) if part
    )
    cells = [
        el(
            "th",
            el("span", row.bucket, class_=f"pill {LOOKS[row.bucket]}"),
            el("span", title(row.suite), class_="small"),
            el("span", facts, class_="small"),
            scope="row",
        ),
        el("td", clipped(row.prompt, PROMPT), data_label="Prompt", class_="prompt"),
        el("td", clipped(row.reference, ANSWER), data_label="Reference"),
    ]
    cells += [_answer(row, name) for name in names]
    return el("tr", cells, data_bucket=row.bucket, data_suite=row.suite, data_rank=rank)


def _answer(row: AnswerRow, name: str) -> Markup:
    label = title(system(name).label)
    if name not in row.answers:
        return el("td", el("span", "not asked", class_="small"), data_label=label)
    text, score = row.answers[name]
    right = score >= RIGHT
    mark = el(
        "span",
        "\N{CHECK MARK}" if right else "\N{MULTIPLICATION SIGN}",
        class_=f"mark {'yes' if right else 'no'}",
        role="img",
        aria_label="right" if right else "wrong",
    )
    return el("td", mark, clipped(text, ANSWER), data_label=label)


