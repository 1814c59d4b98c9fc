"""The first screen: what happened, how sure that is, and what cannot be known from this run."""

from __future__ import annotations

from markupsafe import Markup

from regimen.reports.evidence import Evaluation, Group
from regimen.reports.files import Json, number
from regimen.reports.findings import findings, limits, missing, unchanged, verdict
from regimen.reports.markup import Section, bullets, details, el, paragraph
from regimen.reports.rundata import RunData
from regimen.reports.theme import system
from regimen.reports.wording import (
    answers_line,
    evidence_line,
    families_line,
    percent,
    significant,
    title,
)

FACTS = {
    "adapter_tensors": ("Adapter tensors loaded", "those of the file against those in the model"),
    "weight_delta_norm": ("Weights moved", "norm of the difference to the base"),
    "answers_differing": ("Answers that differ", "greedy answers unlike the base's"),
    "mean_abs_delta_logp": ("Mean |\N{GREEK CAPITAL LETTER DELTA} log p|", "nats per token"),
}


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
        _suites(run.evaluation),
        _lists(run),
        id="top",
    )


def _suites(evaluation: Evaluation | None) -> Markup:
    """The other suites in a sentence each, and how families agree."""
    if evaluation is None or not evaluation.suites:
        return Markup()
    first, *others = evaluation.suites
    lines = [_suite_line(suite, evaluation.subject) for suite in others]
    agreement = families_line(first, evaluation.subject)
    if agreement:
        lines.insert(0, el("li", agreement))
    if "aligned" in first.systems and evaluation.subject != "aligned":
        pair = first.pair("aligned", "tuned")
        text = f"After alignment: {percent(first.score('aligned'))} of {_plain(first)}."
        if pair is not None:
            text += f" Against tuned: {evidence_line(pair, first)}"
        lines.append(el("li", text))
    return el("ul", lines, class_="also")


def _plain(suite: Group) -> str:
    return suite.name.replace("_", " ")


def _suite_line(suite: Group, subject: str) -> Markup:
    pair = suite.pair(subject, "base")
    return el("li", answers_line(suite, subject), " ", evidence_line(pair, suite))


def _lists(run: RunData) -> Markup:
    alerts = [
        el(
            "a",
            el("span", {"bad": "Problem", "warn": "Look", "note": "Note"}[f.level], class_="tag"),
            f.text,
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
    if run.evaluation is None or not run.evaluation.changed:
        return None
    blocks = [_changes(name, facts) for name, facts in run.evaluation.changed.items()]
    lead = (
        "Before any score: is the tuned model another model than its base? An adapter that was "
        "not loaded, or a template that differs from training, would show as zeros here."
    )
    return Section(
        anchor="changed",
        title="Did anything change?",
        body=join_blocks(paragraph(lead, class_="lead"), *blocks),
    )


def join_blocks(*blocks: Markup) -> Markup:
    """Blocks after each other."""
    return Markup().join(blocks)


def _changes(name: str, facts: Json) -> Markup:
    tiles = [_tile(key, value) for key, value in facts.items() if key in FACTS]
    others = {key: value for key, value in facts.items() if key not in FACTS}
    rest = details(
        "More",
        bullets(f"{title(key)}: {significant(value)}" for key, value in others.items()),
    )
    answer = "Nothing changed." if unchanged(facts) else "Yes."
    return join_blocks(
        el("h3", el("span", title(system(name).label), class_="sys"), f" against base: {answer}"),
        el("dl", tiles, class_="tiles"),
        rest if others else Markup(),
    )


def _tile(key: str, value: object) -> Markup:
    label, meaning = FACTS[key]
    text = significant(value)
    share = number(value)
    if key == "answers_differing" and isinstance(value, float) and share is not None:
        text = percent(share)
    return el("div", el("dt", label), el("dd", text), el("dd", meaning, class_="meaning"))
