"""Systems side by side: every suite, then gains by family and by language."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from regimen.reports import specs
from regimen.reports.charts import anchor, figure
from regimen.reports.evidence import Estimate, Evaluation, Group, Paired
from regimen.reports.files import Json, mapping, number, whole
from regimen.reports.markup import Column, Section, details, el, paragraph, table
from regimen.reports.rundata import RunData
from regimen.reports.theme import System, ordered, system
from regimen.reports.wording import (
    BASIS,
    NONE,
    basis,
    count,
    interval,
    metric_label,
    percent,
    points,
    significant,
    things,
    title,
)

MOST_ROWS = 40
SHAPES = {
    "circle": '<circle cx="6" cy="6" r="4.2"/>',
    "square": '<path d="M2 2h8v8H2z"/>',
    "diamond": '<path d="M6 1l4.6 5L6 11 1.4 6z"/>',
    "triangle-up": '<path d="M6 1.5l4.6 8.5H1.4z"/>',
    "triangle-down": '<path d="M6 10.5L1.4 2h9.2z"/>',
    "cross": '<path d="M4 1h4v3h3v4H8v3H4V8H1V4h3z"/>',
}


def systems(run: RunData) -> Section | None:
    """Scores with intervals per suite and system, tables, forests."""
    evaluation = run.evaluation
    if evaluation is None or not evaluation.suites:
        return None
    parts = [paragraph(LEAD, _shots(run.prompted_base), class_="lead"), _suites_figure(evaluation)]
    parts += [_suite_table(suite) for suite in evaluation.suites if suite.systems]
    parts += [
        paragraph(f"{title(suite.name)}: answered, and scored by a judge only.")
        for suite in evaluation.suites
        if not suite.metric
    ]
    for suite in evaluation.suites:
        parts += _forest(suite, suite.families, "family", evaluation.subject)
        parts += _forest(suite, suite.languages, "language", evaluation.subject)
    return Section(
        anchor="systems",
        title="Systems side by side",
        label="Side by side",
        body=Markup().join(parts),
    )


LEAD = (
    "Every system answers the same items. The prompted base is the untouched model with the "
    "definition and worked examples in its prompt; the two copies are what a system without any "
    "skill would reach."
)


def _shots(chosen: Json) -> str:
    k, tried = whole(chosen.get("k")), mapping(chosen.get("validation"))
    if k is None:
        return ""
    scores = ", ".join(f"{shots}: {percent(number(score))}" for shots, score in tried.items())
    how = f" (validation scores by number: {scores})" if scores else ""
    examples = things(k, "example")
    return f" The prompted base was given {examples}, the best number on items kept apart{how}."


def key(names: Sequence[str]) -> Markup:
    """The legend of systems: shape and colour as on every figure."""
    return el("p", (_entry(system(name)) for name in ordered(list(names))), class_="key")


def _entry(look: System) -> Markup:
    fill = f"var(--{look.colour if look.filled else 'bg'})"
    drawing = Markup(
        '<svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true" fill="{}" '
        'stroke="var(--{})" stroke-width="1.6">'
    ).format(fill, look.colour)
    return el("span", drawing, Markup(SHAPES[look.shape] + "</svg>"), look.label)


def _size(group: Group) -> str:
    parts = [things(group.items, "item")] if group.items is not None else []
    parts += [things(group.clusters, "cluster")] if group.clusters is not None else []
    return " in ".join(parts)


def _suites_figure(evaluation: Evaluation) -> Markup:
    panels = [
        specs.Dots(
            title=title(suite.name),
            subtitle=_size(suite),
            systems={name: found.score for name, found in suite.systems.items()},
        )
        for suite in evaluation.suites
        if suite.systems
    ]
    if not panels:
        return paragraph("No system was scored.")
    text = "; ".join(
        f"{title(suite.name)}: "
        + ", ".join(
            f"{system(n).label} {percent(suite.score(n))}" for n in ordered(list(suite.systems))
        )
        for suite in evaluation.suites
    )
    return figure(
        "suites",
        "Scores by suite",
        text,
        lambda width: specs.dots(panels, width),
        note=f"{_metrics(evaluation)}. Lines are 95% intervals, clustered by task.",
    )


def _metrics(evaluation: Evaluation) -> str:
    """``Exact match``, or ``Numeric match on gsm8k, ROUGE-L on dialogues``."""
    by_metric: dict[str, list[str]] = {}
    for suite in evaluation.suites:
        if suite.systems:
            by_metric.setdefault(suite.metric, []).append(suite.name.replace("_", " "))
    if len(by_metric) == 1:
        return metric_label(next(iter(by_metric)))
    return "; ".join(
        f"{metric_label(metric)} on {', '.join(names)}" for metric, names in by_metric.items()
    )


def _suite_table(suite: Group) -> Markup:
    columns = [
        Column(label="System"),
        Column(label=f"{metric_label(suite.metric)} [95%]", number=True),
    ]
    keys = dict.fromkeys(key for found in suite.systems.values() for key in found.metrics)
    extra = sorted(keys, key=lambda key: key == "stop_rate")
    columns += [Column(label=metric_label(key), number=True) for key in extra]
    subject = "tuned" if "tuned" in suite.systems else "aligned"
    columns.append(Column(label=f"{title(subject)} minus this, points", number=True))
    columns += [Column(label="Verdict"), Column(label=BASIS, number=True)]
    rows = []
    for name in ordered(list(suite.systems)):
        found, pair = suite.systems[name], suite.pair(subject, name)
        cells = [percent(found.metrics.get(key)) for key in extra]
        rows.append(
            [
                _entry(system(name)),
                interval(found.score),
                *cells,
                points(pair.difference, unit=False) if pair else NONE,
                pill(pair),
                basis(pair),
            ]
        )
    size = _size(suite)
    caption = f"{title(suite.name)}{': ' + size if size else ''}"
    return table(caption, columns, rows) + _other_pairs(suite, subject)


def pill(pair: Paired | None) -> Markup:
    """A verdict word in its colour; nothing where no pair was compared."""
    if pair is None or not pair.verdict:
        return Markup(NONE)
    look = {"better": "good", "worse": "bad"}.get(pair.verdict, "even")
    return el("span", pair.verdict, class_=f"pill {look}")


def _other_pairs(suite: Group, subject: str) -> Markup:
    pairs = [pair for pair in suite.paired if pair.first != subject]
    if not pairs:
        return Markup()
    rows = [
        [
            f"{system(pair.first).label} minus {system(pair.second).label}",
            points(pair.difference, unit=False),
            pill(pair),
            basis(pair),
        ]
        for pair in pairs
    ]
    columns = [
        Column(label="Pair"),
        Column(label="Difference, points", number=True),
        Column(label="Verdict"),
        Column(label=BASIS, number=True),
    ]
    caption = f"{title(suite.name)}: other pairs"
    return details("Other pairs", table(caption, columns, rows, show_caption=False))


def _forest(suite: Group, groups: Sequence[Group], by: str, subject: str) -> list[Markup]:
    """Groups sorted by gain, as a figure and as a table; nothing under two groups."""
    gains = [(group, gain) for group in groups if (gain := group.gain(subject)) is not None]
    if len(gains) < 2:
        return []
    gains.sort(key=lambda pair: (-pair[1].value, pair[0].name))
    drawn, note = gains, FOREST_NOTE
    if len(gains) > MOST_ROWS:
        drawn = gains[: MOST_ROWS // 2] + gains[-MOST_ROWS // 2 :]
        note += f" The {MOST_ROWS // 2} largest and smallest gains of {len(gains)} are drawn."
    rows = [_forest_row(group, gain) for group, gain in drawn]
    best, last = gains[0], gains[-1]
    text = (
        f"{len(gains)} groups. Largest gain: {best[0].name}, {points(best[1])}. "
        f"Smallest: {last[0].name}, {points(last[1])}."
    )
    plural = "families" if by == "family" else f"{by}s"
    name = f"{title(suite.name)}, by {by}"
    table_of_all = _group_table(name, [group for group, _ in gains], by)
    return [
        figure(
            anchor(f"{suite.name}-{by}"),
            name,
            text,
            lambda width: specs.forest(rows, width, subject),
            note=note,
            legend=key([n for n in FOREST if any(n in row.scores for row in rows)]),
        ),
        details(f"Numbers of all {len(gains)} {plural}", table_of_all),
    ]


FOREST = ("aligned", "tuned", "base_prompted", "base")
FOREST_NOTE = (
    "Sorted by gain; in brackets the number of items. Intervals are paired and each group's own; "
    "one task alone gives none. The verdicts in the table hold for all groups at once (Holm)."
)


def _forest_row(group: Group, gain: Estimate) -> specs.FamilyRow:
    items = f" ({group.items})" if group.items else ""
    return specs.FamilyRow(
        label=group.name.replace("_", " ") + items,
        scores={name: s for name in FOREST if (s := group.score(name)) is not None},
        gain=gain,
    )


def _group_table(caption: str, groups: Sequence[Group], by: str) -> Markup:
    names = ordered(sorted({name for group in groups for name in group.systems}))
    subject = "tuned" if "tuned" in names else "aligned"
    columns = [Column(label=title(by)), Column(label="Items", number=True)]
    columns += [Column(label=title(system(name).label), number=True) for name in names]
    columns += [Column(label="Gain, points", number=True), Column(label="Verdict")]
    columns += [Column(label="p, Holm", number=True), Column(label=BASIS, number=True)]
    rows = []
    for group in groups:
        gain, pair = group.gain(subject), group.pair(subject, "base")
        adjusted = None if pair is None else pair.p_adjusted
        rows.append(
            [
                group.name.replace("_", " "),
                count(group.items),
                *(percent(group.score(name)) for name in names),
                points(gain, unit=False) if gain else NONE,
                pill(pair),
                NONE if adjusted is None else significant(adjusted),
                basis(pair),
            ]
        )
    return table(caption, columns, rows, show_caption=False)
