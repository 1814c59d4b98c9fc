"""A judge's comparisons: win rates, order, length, and whether people would agree with it."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from regimen.reports.evidence import Estimate
from regimen.reports.judged import Agreement, JudgedPair, JudgedRun, People
from regimen.reports.markup import Child, Column, Section, paragraph, table
from regimen.reports.rundata import RunData
from regimen.reports.theme import system
from regimen.reports.wording import (
    BASIS,
    NONE,
    bracketed,
    count,
    counts,
    interval,
    percent,
    things,
    title,
)

UNMEASURED = (
    "The agreement of this judge with people was not measured: these win rates say what this judge "
    "prefers, and not what people would. Name a file of labelled pairs with evaluate.judge.people."
)


def judged(run: RunData) -> Section | None:
    """Win rates with verdicts, bias to place and length, strengths, agreement with people."""
    found = run.judged
    if found is None:
        return None
    parts = [paragraph(_lead(found), class_="lead"), _pairs(found)]
    parts += [_strengths(suite, own) for suite, own in found.strengths.items()]
    parts.append(_people(found.people) if found.people else paragraph(UNMEASURED))
    body = Markup().join(parts)
    return Section(anchor="judge", title="What a judge prefers", label="Judge", body=body)


def _lead(found: JudgedRun) -> str:
    if found.kind == "pointwise":
        how = "rated every answer alone; the higher rating wins"
    elif found.swap:
        how = "saw every pair in both orders; a win is one in both, anything else a tie"
    else:
        how = "saw every pair in one order only, so a liking for a place is in the win rates"
    return (
        f"{found.name} {how}. A tie counts half. The length-controlled win rate is what the judge "
        "would say if both answers were equally long."
    )


def _pairs(found: JudgedRun) -> Markup:
    columns = [
        Column(label="Suite"),
        Column(label="Comparison"),
        Column(label="Win rate [95%]", number=True),
        Column(label="Verdict"),
        Column(label="Length-controlled [95%]", number=True),
        Column(label="Longer wins", number=True),
        Column(label="Both orders agree", number=True),
        Column(label="First place wins", number=True),
        Column(label="Ties", number=True),
        Column(label="Failed", number=True),
        Column(label=BASIS, number=True),
    ]
    return table("Win rate of the first system", columns, [_row(pair) for pair in found.pairs])


def _row(pair: JudgedPair) -> list[Child]:
    return [
        title(pair.suite),
        f"{system(pair.first).label} against {system(pair.second).label}",
        interval(pair.win_rate),
        pair.verdict or NONE,
        interval(pair.length_controlled),
        percent(pair.longer_wins),
        percent(pair.position_consistency),
        percent(pair.first_position),
        count(pair.ties),
        count(pair.failed),
        counts(pair.n, pair.clusters, pair.seeds),
    ]


def _strengths(suite: str, own: Mapping[str, Estimate]) -> Markup:
    columns = [Column(label="System"), Column(label="Strength, log-odds [95%]", number=True)]
    rows: list[list[Child]] = [
        [title(system(name).label), bracketed(found, 2)] for name, found in own.items()
    ]
    return table(f"{title(suite)}: strengths against the average system", columns, rows)


def _people(people: People) -> Markup:
    columns = [
        Column(label="Who"),
        Column(label="Against"),
        Column(label="Agreement [95%]", number=True),
        Column(label="Kappa [95%]", number=True),
    ]
    lines: list[tuple[str, str, Agreement | None]] = [
        ("The judge", "the majority of all people", people.majority),
        ("The judge", "the majority of the others", people.in_place),
        ("One person", "the majority of the others", people.ceiling),
    ]
    rows: list[list[Child]] = [
        [who, against, interval(found.agreement), bracketed(found.kappa, 2)]
        for who, against, found in lines
        if found is not None
    ]
    caption = (
        f"Agreement with {things(people.raters, 'person', 'people')} on "
        f"{things(people.pairs, 'labelled pair')}; the judge failed on {count(people.failed)}"
    )
    if people.alpha is not None:
        caption += f"; Krippendorff's alpha of the people {bracketed(people.alpha, 2)}"
    return table(caption, columns, rows)
