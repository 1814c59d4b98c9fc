"""What went in, what was removed and why, and what the training data is made of."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from regimen.reports import line_specs
from regimen.reports.card import Counts, DataCard, Histogram, Positions
from regimen.reports.charts import figure
from regimen.reports.flow import flow
from regimen.reports.ledger import LostRow, Step
from regimen.reports.markup import (
    Child,
    Column,
    Section,
    clipped,
    details,
    el,
    paragraph,
    table,
)
from regimen.reports.rundata import RunData
from regimen.reports.wording import count, percent, things, title

TOP = 12


def data(run: RunData) -> Section | None:
    """Ledger flow and removed rows, then composition and lengths."""
    if not run.ledger and run.card is None:
        return None
    parts = list(_ledger(run.ledger)) if run.ledger else [paragraph("This run has no ledger.")]
    if run.card is not None:
        parts += _card(run.card)
    return Section(
        anchor="data",
        title="What went in, what was removed and why",
        label="Data",
        body=Markup().join(parts),
    )


def _ledger(steps: tuple[Step, ...]) -> Iterator[Markup]:
    removed = sum(n for step in steps for n in step.removed.values())
    failed = sum(n for step in steps for n in step.failed.values())
    yield paragraph(
        f"{things(removed, 'row')} removed and {count(failed)} failed over "
        f"{things(len(steps), 'step')}. At every step, rows in = kept + removed + failed, and each "
        "removed row is on disk with its reason.",
        class_="lead",
    )
    yield flow(
        steps,
        "Width is rows. A band that leaves to the right was removed for the reason it names. "
        "After a gap, a step takes in other rows than the one before it left: another source, or "
        "instances made from tasks.",
    )
    if removed or failed:
        yield _lost(steps)


def _lost(steps: tuple[Step, ...]) -> Markup:
    columns = [
        Column(label="Step"),
        Column(label="Reason"),
        Column(label="Rows", number=True),
        Column(label="Examples", wide=True),
    ]
    rows: list[list[Child]] = [
        [title(step.name), label, count(n), _examples(step.samples.get(reason))]
        for step in steps
        for losses, ending in ((step.removed, ""), (step.failed, ", failed"))
        for reason, n in losses.items()
        for label in [title(reason) + ending]
    ]
    return table("Removed and failed rows", columns, rows)


def _examples(rows: tuple[LostRow, ...] | None) -> Markup:
    if not rows:
        return el("span", "no example on disk", class_="small")
    listed = (
        el(
            "li",
            el("p", row.detail, class_="small") if row.detail else None,
            clipped(row.text, 240),
        )
        for row in rows
    )
    return details(f"Show {things(len(rows), 'row')}", el("ol", listed, class_="examples"))


def _card(card: DataCard) -> Iterator[Markup]:
    facts = [
        ("Training instances", card.instances),
        ("Tasks", card.tasks),
        ("Preferences", card.preferences),
        ("Held-out items", card.items),
    ]
    licence = card.strictest_licence
    yield el("h3", "Data card")
    yield el(
        "dl",
        (el("div", el("dt", name), el("dd", count(n))) for name, n in facts if n is not None),
        el("div", el("dt", "Strictest licence"), el("dd", licence)) if licence else None,
        class_="tiles",
    )
    facets = [_facet(name, counts) for name, counts in card.facets.items()]
    yield el("div", facets, class_="facets")
    if card.lengths:
        yield _lengths(card.lengths)
    if card.positions:
        yield el("h3", "Where the right option stands")
        yield paragraph(
            "A model that sees the answer mostly in one place learns the place. p is the chance "
            "that a fair draw is at least as uneven."
        )
        yield el("div", map(_position, card.positions), class_="facets")
    if card.lints:
        yield _lints(card.lints)
    if card.pairs:
        columns = [Column(label="What", wide=True), Column(label="Value")]
        rows: list[list[Child]] = [[name, value] for name, value in card.pairs]
        yield table("Preference pairs", columns, rows)


def _position(found: Positions) -> Markup:
    rows, most = sum(found.counts), max(found.counts)
    shares = [_share(str(place), n, rows, most) for place, n in enumerate(found.counts, start=1)]
    chance = "too few to test" if found.p is None else f"p = {found.p:.2g}"
    heading = f"{found.options} options, {chance}"
    return el("section", el("h4", heading), el("ul", shares, class_="shares"))


def _lints(found: tuple[tuple[str, str, int], ...]) -> Markup:
    columns = [Column(label="Severity"), Column(label="Lint"), Column(label="Tasks", number=True)]
    rows: list[list[Child]] = [[severity, title(lint), count(n)] for severity, lint, n in found]
    return table("Doubtful in the tasks (each with its rows in lints.json)", columns, rows)


def _facet(name: str, counts: Counts) -> Markup:
    rows = sum(n for _, n in counts)
    shown, rest = counts[:TOP], counts[TOP:]
    most = max((n for _, n in shown), default=1)
    lines = [_share(value, n, rows, most) for value, n in shown]
    more = details(
        f"{things(len(rest), 'more value')}, {things(sum(n for _, n in rest), 'row')}",
        el("ul", (_share(value, n, rows, most) for value, n in rest), class_="shares"),
    )
    heading = f"By {name}" if len(counts) > 1 else title(name)
    return el(
        "section", el("h4", heading), el("ul", lines, class_="shares"), more if rest else None
    )


def _share(value: str, n: int, rows: int, most: int) -> Markup:
    return el(
        "li",
        el("span", value, class_="value"),
        el("span", f"{count(n)} · {percent(n / max(rows, 1))}", class_="amount"),
        el("i", style=f"width:{100 * n / max(most, 1):.1f}%"),
    )


def _lengths(panels: tuple[Histogram, ...]) -> Markup:
    beyond = "; ".join(
        f"{things(panel.beyond, panel.name.lower().rstrip('s'))} longer than drawn, "
        f"the longest {count(panel.longest)}"
        for panel in panels
        if panel.beyond
    )
    return figure(
        "lengths",
        "How long prompts and answers are",
        "; ".join(f"{panel.name}: median {panel.median:.0f} characters" for panel in panels),
        lambda width: line_specs.histograms(panels, width),
        note=f"Up to the 99th percentile. {beyond}." if beyond else None,
    )
