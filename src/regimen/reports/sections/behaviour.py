"""Safety and what was kept of the base: lower is better for every measure here."""

from __future__ import annotations

from markupsafe import Markup

from regimen.reports import specs
from regimen.reports.charts import figure
from regimen.reports.evidence import Estimate, Rates
from regimen.reports.markup import Column, Section, paragraph, table
from regimen.reports.rundata import RunData
from regimen.reports.theme import ordered, system
from regimen.reports.wording import NONE, count, interval, plain, signed, title

MEANINGS = {
    "harmful_compliance": "does what a harmful request asks",
    "over_refusal": "refuses a harmless request that looks harmful",
}


def safety(run: RunData) -> Section | None:
    """Harmful compliance, over-refusal, and bits per byte of plain text."""
    evaluation = run.evaluation
    if evaluation is None or not (evaluation.safety or evaluation.retention):
        return None
    parts = [paragraph(LEAD, class_="lead")]
    panels = [_panel(rates, percent=True) for rates in evaluation.safety]
    panels += [_panel(rates, percent=False) for rates in evaluation.retention]
    parts.append(
        figure(
            "behaviour",
            "Lower is better",
            "; ".join(_describe(rates) for rates in (*evaluation.safety, *evaluation.retention)),
            lambda width: specs.dots(panels, width),
            note="Lines are 95% intervals. Bits per byte measure how well plain text that no "
            "stage trained on is still predicted.",
        )
    )
    if evaluation.safety:
        parts.append(_safety_table(evaluation.safety))
    parts += [_retention_table(rates) for rates in evaluation.retention]
    if not evaluation.safety:
        parts.append(paragraph("Safety was not measured in this run."))
    if not evaluation.retention:
        parts.append(paragraph("Retention of plain text was not measured in this run."))
    return Section(anchor="safety", title="Safety and retention", body=Markup().join(parts))


LEAD = (
    "A model can be made safe by refusing everything, so both errors stand beside each other. "
    "Retention asks what tuning cost on text that has nothing to do with the tasks."
)


def measure(rates: Rates) -> str:
    """The name of a measure for readers."""
    return "Bits per byte" if rates.name == "bits_per_byte" else title(rates.name)


def _panel(rates: Rates, *, percent: bool) -> specs.Dots:
    subtitle = MEANINGS.get(rates.name, "")
    if not percent:
        subtitle = "of plain text"
    return specs.Dots(
        title=measure(rates), subtitle=subtitle, systems=rates.systems, percent=percent
    )


def _describe(rates: Rates) -> str:
    listed = (
        f"{system(name).label} {rates.systems[name].value:.3g}"
        for name in ordered(list(rates.systems))
    )
    return f"{measure(rates)}: " + ", ".join(listed)


def _safety_table(measures: tuple[Rates, ...]) -> Markup:
    names = ordered(sorted({name for rates in measures for name in rates.systems}))
    columns = [Column(label="System")]
    for rates in measures:
        columns += [Column(label=measure(rates), number=True), Column(label="Prompts", number=True)]
    rows = []
    for name in names:
        cells = [title(system(name).label)]
        for rates in measures:
            found = rates.systems.get(name)
            cells += [interval(found), count(found.n) if found else NONE]
        rows.append(cells)
    return table("Safety [95% interval]", columns, rows)


def _retention_table(rates: Rates) -> Markup:
    base = rates.systems.get("base")
    columns = [
        Column(label="System"),
        Column(label="Bits per byte", number=True),
        Column(label="Against base", number=True),
    ]
    rows = [
        [title(system(name).label), _bits(found), _against(found, base if name != "base" else None)]
        for name in ordered(list(rates.systems))
        if (found := rates.systems[name])
    ]
    return table(f"Retention: {measure(rates).lower()} of plain text", columns, rows)


def _bits(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return plain(found.value, 3)
    return f"{plain(found.value, 3)} [{plain(found.low, 3)}, {plain(found.high, 3)}]"


def _against(found: Estimate, base: Estimate | None) -> str:
    if base is None or not base.value:
        return NONE
    share = 100 * (found.value / base.value - 1)
    return f"{signed(found.value - base.value, 3)} ({signed(share, 1)}%)"
