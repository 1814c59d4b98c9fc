"""What moved, item by item: four buckets and a sample of the answers behind them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from regimen.reports.buckets import AnswerRow, Given, Scores, read_scores, sample_answers
from regimen.reports.evidence import BUCKETS, Evaluation, Group
from regimen.reports.markup import Section, clipped, details, el, join, paragraph
from regimen.reports.rundata import RunData
from regimen.reports.sections.conversations import conversations
from regimen.reports.theme import system
from regimen.reports.wording import count, probability, things, title

SHOWN = ("base", "base_prompted", "tuned", "aligned")
LOOKS = {"regressed": "bad", "fixed": "good", "still_wrong": "wrong", "still_right": "right"}
PROMPT, ANSWER = 150, 64


def answers(run: RunData) -> Section | None:
    """Buckets base to tuned (and tuned to aligned), then about sixty items with all answers."""
    parts: list[Markup] = []
    if run.evaluation is not None:
        subject = run.evaluation.subject
        parts += _bars(run.evaluation, "base", subject)
        if subject != "aligned":
            parts += _bars(run.evaluation, subject, "aligned")
    if rows := sampled(run):
        asked = {name for row in rows for name in row.answers}
        parts.append(_table(rows, [name for name in SHOWN if name in asked], len(_scores(run))))
    parts += conversations(run, SHOWN)
    if not parts:
        return None
    lead = paragraph(LEAD, class_="lead")
    return Section(
        anchor="answers",
        title="What moved, item by item",
        label="What moved",
        body=lead + join(parts),
    )


LEAD = (
    "Each item is in one of four buckets by what it was before and after; right is a full score, "
    "or from the threshold on that a graded metric has. McNemar's test asks whether as many items "
    "regressed as were fixed. It takes items as independent, so it describes these items; about "
    "other tasks the clustered intervals decide."
)


def _bars(evaluation: Evaluation, before: str, after: str) -> list[Markup]:
    bars = [bar for suite in evaluation.suites if (bar := _bar(suite, before, after))]
    if not bars:
        return []
    key = el(
        "p",
        (el("span", el("i", class_=LOOKS[name]), title(name)) for name in BUCKETS),
        class_="key buckets",
    )
    heading = el("h3", f"From {system(before).label} to {system(after).label}")
    return [el("div", el("div", heading, key, class_="head"), bars, class_="bars")]


def _bar(suite: Group, before: str, after: str) -> Markup:
    change = next((c for c in suite.changes if (c.before, c.after) == (before, after)), None)
    if change is None:
        return Markup()
    pieces = [
        el(
            "span",
            count(n) if n / change.total > 0.05 else None,
            class_=LOOKS[name],
            style=f"flex-grow:{n}",
            title=f"{title(name)}: {things(n, 'item')}",
        )
        for name, n in change.counts.items()
        if n
    ]
    words = ", ".join(f"{count(n)} {name.replace('_', ' ')}" for name, n in change.counts.items())
    test = "" if change.p is None else f"; McNemar {probability(change.p)}"
    name = title(suite.name)
    return el(
        "div",
        el("div", name, class_="name"),
        el("div", pieces, class_="stack", role="img", aria_label=f"{name}: {words}"),
        el("div", words, test, class_="small"),
    )


def _scores(run: RunData) -> Scores:
    """Scores of the items of the reported suites, where base and subject were both asked."""
    if run.answers is None or run.evaluation is None:
        return {}
    suites = [suite.name for suite in run.evaluation.suites]
    both = {"base", run.evaluation.subject}
    return {key: s for key, s in read_scores(run.answers, suites).items() if both <= s.keys()}


def sampled(run: RunData) -> list[AnswerRow]:
    """About sixty items with all answers, regressed first; empty where no answers are kept."""
    scores = _scores(run)
    if run.answers is None or run.evaluation is None or not scores:
        return []
    marks = {suite.name: suite.right_at for suite in run.evaluation.suites}
    return sample_answers(run.answers, scores, "base", run.evaluation.subject, right_at=marks)


def _table(rows: Sequence[AnswerRow], names: Sequence[str], items: int) -> Markup:
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
            el(
                "div",
                table,
                class_="scroll sample",
                role="region",
                tabindex="0",
                aria_label="Sample of answers",
            ),
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
        "input",
        type="search",
        id="answers-search",
        placeholder="Search the text",
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
            el("span", title(row.bucket), class_=f"pill {LOOKS[row.bucket]}"),
            el("span", title(row.suite), class_="small"),
            el("span", facts, class_="small"),
            scope="row",
        ),
        el("td", clipped(row.prompt, PROMPT), _traces(row), data_label="Prompt", class_="prompt"),
        el("td", clipped(row.reference, ANSWER), data_label="Reference"),
    ]
    cells += [_answer(row.answers.get(name), name, row.right_at) for name in names]
    return el("tr", cells, data_bucket=row.bucket, data_suite=row.suite, data_rank=rank)


def _traces(row: AnswerRow) -> list[Markup]:
    """The flag of a contaminated item, and its nearest training rows behind a click."""
    parts = [el("span", "contaminated", class_="pill bad")] if row.contaminated else []
    if row.nearest:
        rows = (
            el(
                "li",
                el("span", f"{near.similarity:.2f} by {near.side}, {near.origin}: ", class_="more"),
                el("span", near.text, class_="text"),
                title=near.instance_id,
            )
            for near in row.nearest
        )
        summary = el("span", f"nearest training rows of {row.item_id[:8]}", class_="more")
        parts.append(details(summary, el("ul", rows, class_="small")))
    return parts


def _answer(given: Given | None, name: str, right_at: float) -> Markup:
    label = title(system(name).label)
    if given is None:
        return el("td", el("span", "not asked", class_="small"), data_label=label)
    right = given.score >= right_at
    mark = el(
        "span",
        "\N{CHECK MARK}" if right else "\N{MULTIPLICATION SIGN}",
        class_=f"mark {'yes' if right else 'no'}",
        role="img",
        aria_label="right" if right else "wrong",
    )
    text = clipped(given.text, ANSWER) if given.text or not given.error else None
    error = el("span", given.error, class_="small") if given.error else None
    return el("td", mark, el("div", text, error), data_label=label)
