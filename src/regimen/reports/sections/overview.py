"""The first screen: what happened, how sure that is, and what cannot be known from this run."""

from __future__ import annotations

from markupsafe import Markup

from regimen.reports.absent import missing
from regimen.reports.evidence import Evaluation, Group
from regimen.reports.files import Json, number
from regimen.reports.findings import findings, limits, unchanged, verdict
from regimen.reports.markup import Column, Section, bullets, el, paragraph, table
from regimen.reports.rundata import RunData
from regimen.reports.sections.gate import gate_panel
from regimen.reports.sections.systems import pill
from regimen.reports.theme import system
from regimen.reports.wording import (
    BASIS,
    NONE,
    basis,
    count,
    evidence_line,
    families_line,
    percent,
    points,
    significant,
    things,
    title,
)

MARKS = {"bad": "\N{BLACK SQUARE}", "warn": "\N{BLACK UP-POINTING TRIANGLE}", "note": "\N{BULLET}"}


def overview(run: RunData) -> Markup:
    """Title, verdict, further suites, limits, alerts, missing parts."""
    found = verdict(run)
    subtitle = [el("span", f"run {run.name}")]
    if run.model:
        subtitle.append(el("span", f"model {run.model}"))
    if run.stages:
        subtitle.append(el("span", "stages " + ", ".join(run.stages)))
    return el(
        "header",
        el("p", Markup(" · ").join(subtitle), class_="eyebrow"),
        el("h1", found.headline),
        el("p", found.evidence, class_="evidence"),
        gate_panel(run.gate),
        _suites(run.evaluation),
        _lists(run),
        id="top",
    )


def _suites(evaluation: Evaluation | None) -> Markup:
    """Every suite in a row: scores, gain, verdict; then how families agree and alignment."""
    if evaluation is None or not evaluation.suites:
        return Markup()
    subject, first = evaluation.subject, evaluation.suites[0]
    asked = {name for suite in evaluation.suites for name in suite.systems}
    names = [name for name in ("base", "base_prompted", "tuned", "aligned") if name in asked]
    columns = [Column(label="Suite")]
    columns += [Column(label=title(system(name).label), number=True) for name in names]
    columns += [
        Column(label=f"{title(subject)} minus base, points", number=True),
        Column(label="Verdict"),
        Column(label=BASIS, number=True),
    ]
    rows = [
        [_name(suite), *(_score(suite, name) for name in names), *_gain(suite, subject)]
        for suite in evaluation.suites
    ]
    lines = [families_line(first, subject)]
    pair = first.pair("aligned", "tuned")
    if pair is not None:
        what = first.name.replace("_", " ")
        lines.append(f"Alignment against tuning on {what}: {evidence_line(pair, first)}")
    return Markup().join(
        [
            table("Every suite", columns, rows, class_="glance", show_caption=False),
            el("ul", (el("li", line) for line in lines if line), class_="also"),
        ]
    )


def _name(suite: Group) -> Markup:
    known = ((suite.items, "item"), (suite.clusters, "cluster"))
    size = " in ".join(things(n, what) for n, what in known if n is not None)
    return el("span", title(suite.name)) + el("span", size, class_="small")


def _score(suite: Group, name: str) -> Markup:
    return el("span", percent(suite.score(name)), style=f"color:var(--{system(name).colour})")


def _gain(suite: Group, subject: str) -> tuple[str, Markup, str]:
    gain, pair = suite.gain(subject), suite.pair(subject, "base")
    return points(gain, unit=False) if gain else NONE, pill(pair), basis(pair)


def _lists(run: RunData) -> Markup:
    alerts = [
        el(
            "a",
            el("span", MARKS[f.level], class_="tag", role="img", aria_label=f.level),
            el("span", f.text),
            href=f"#{f.anchor}",
            class_=f.level,
        )
        for f in findings(run)
    ]
    absent = [
        (title(name), Markup(", written by "), el("code", verb)) for name, verb in missing(run)
    ]
    return el(
        "div",
        el("section", el("h2", "Worth a look"), bullets(alerts, "alerts")) if alerts else None,
        el("section", el("h2", "What this run cannot tell you"), bullets(limits(run))),
        el("section", el("h2", "Missing from this run"), bullets(absent)) if absent else None,
        class_="lists",
    )


def changed(run: RunData) -> Section | None:
    """Did anything change at all? The question before any score."""
    facts = run.evaluation.changed if run.evaluation is not None else {}
    if not facts:
        return None
    lead = (
        "Before any score: is the tuned model another model than its base? An adapter that was "
        "not loaded, or a template that differs from training, would show as zeros here."
    )
    tiles = el(
        "dl",
        (
            el("div", el("dt", name), el("dd", value), el("dd", meaning, class_="meaning"))
            for name, value, meaning in change_facts(facts)
        ),
        class_="tiles",
    )
    answer = "Nothing." if unchanged(facts) else "Yes."
    return Section(
        anchor="changed",
        label="Did anything change?",
        title=f"Did anything change? {answer}",
        body=paragraph(lead, class_="lead") + tiles,
    )


def change_facts(facts: Json) -> list[tuple[str, str, str]]:
    """(name, value, meaning) of what changed between the base and the tuned model."""
    found = []
    differing, compared = facts.get("answers_differing"), facts.get("answers_compared")
    if (n := number(differing)) is not None:
        share = number(facts.get("share_differing"))
        of = f"of {count(number(compared))} greedy answers" if compared else "greedy answers"
        value = percent(share) if share is not None else count(n)
        found.append(("Answers that differ", value, f"{count(n)} {of}"))
    if (delta := number(facts.get("mean_abs_delta_logp"))) is not None:
        name = "Mean |\N{GREEK CAPITAL LETTER DELTA} log p|"
        found.append((name, f"{delta:.3g}", "nats per token of some prompts"))
    if (tensors := number(facts.get("adapter_tensors"))) is not None:
        meaning = (
            "in the tuned model" if tensors else "right for a full tuning, wrong for an adapter"
        )
        found.append(("Adapter tensors loaded", count(tensors), meaning))
    known = {"answers_differing", "answers_compared", "share_differing", "mean_abs_delta_logp"}
    known.add("adapter_tensors")
    found += [(title(k), significant(v), "") for k, v in facts.items() if k not in known]
    return found
