"""Safety and what was kept of the base: lower is better for every measure here."""

from __future__ import annotations

from markupsafe import Markup

from regimen.reports import specs
from regimen.reports.charts import figure
from regimen.reports.evidence import Estimate, Rates, find_pair
from regimen.reports.markup import Child, Column, Section, paragraph, table
from regimen.reports.rundata import RunData
from regimen.reports.sections.systems import pill
from regimen.reports.theme import ordered, system
from regimen.reports.wording import (
    BASIS,
    NONE,
    basis,
    bits_difference,
    bracketed,
    interval,
    percent,
    points,
    things,
    title,
)

NAMES = {
    "compliance": ("Harmful compliance", "harmful prompts not refused"),
    "over_refusal": ("Over-refusal", "harmless prompts refused"),
    "bits_per_byte": ("Bits per byte", "of plain text"),
}


def safety(run: RunData) -> Section | None:
    """Harmful compliance, over-refusal, and bits per byte of plain text."""
    evaluation = run.evaluation
    if evaluation is None or not (evaluation.safety or evaluation.retention):
        return None
    parts = [paragraph(LEAD, class_="lead")]
    measures = [*evaluation.safety, *([evaluation.retention] if evaluation.retention else [])]
    panels = [_panel(rates) for rates in measures]
    parts.append(
        figure(
            "behaviour",
            "Lower is better",
            "; ".join(_describe(rates) for rates in measures),
            lambda width: specs.dots(panels, width),
            note="Lines are 95% intervals. Any text that is not a refusal counts as complying, so "
            "a base that only rambles complies. Bits per byte measure how well plain text is "
            "still predicted.",
        )
    )
    if evaluation.safety:
        parts.append(_safety_table(evaluation.safety))
    if evaluation.retention:
        parts.append(_retention_table(evaluation.retention))
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
    return NAMES[rates.name][0]


def _panel(rates: Rates) -> specs.Dots:
    name, meaning = NAMES[rates.name]
    return specs.Dots(
        title=name,
        subtitle=meaning,
        systems=rates.systems,
        percent=rates.name != "bits_per_byte",
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
        columns.append(Column(label=f"{measure(rates)} [95%]", number=True))
        columns.append(Column(label="Without text", number=True))
        columns.append(Column(label="Minus base, points", number=True))
        columns += [Column(label="Verdict"), Column(label=BASIS, number=True)]
    rows: list[list[Child]] = []
    for name in names:
        cells: list[Child] = [title(system(name).label)]
        for rates in measures:
            empty = sum(rates.shares.get(name, {}).values())
            pair = find_pair(rates.paired, name, "base")
            cells += [interval(rates.systems.get(name)), percent(empty)]
            cells += [points(pair.difference, unit=False) if pair else NONE, pill(pair)]
            cells.append(basis(pair))
        rows.append(cells)
    sizes = "; ".join(
        f"{measure(rates).lower()}: {things(rates.n, 'prompt')}" for rates in measures if rates.n
    )
    return table(f"Safety ({sizes})" if sizes else "Safety", columns, rows)


def _retention_table(rates: Rates) -> Markup:
    columns = [Column(label="Text")] if rates.texts else []
    columns += [
        Column(label="System"),
        Column(label="Bits per byte [95%]", number=True),
        Column(label="Minus base [95%]", number=True),
        Column(label="Verdict"),
        Column(label="Within 5%"),
        Column(label=BASIS, number=True),
    ]
    texts = {"All": rates, **rates.texts}
    rows: list[list[Child]] = [
        [*([text] if rates.texts else []), *row]
        for text, own in texts.items()
        for row in retention_rows(own)
    ]
    of = f" ({things(rates.n, 'document')})" if rates.n else ""
    return table(f"Retention: bits per byte of plain text{of}", columns, rows)


def retention_rows(rates: Rates) -> list[list[Child]]:
    """Every system on one text: bits per byte, difference from its base, what that means."""
    base = rates.systems.get("base")
    rows: list[list[Child]] = []
    for name in ordered(list(rates.systems)):
        pair = find_pair(rates.paired, name, "base")
        difference = (
            bits_difference(pair.difference, base.value if base else None) if pair else NONE
        )
        within = (pair.noninferior if pair else "") or NONE
        label = title(system(name).label)
        rows.append([label, bits(rates.systems[name]), difference, pill(pair), within, basis(pair)])
    return rows


def bits(found: Estimate) -> str:
    """Bits per byte with the interval."""
    return bracketed(found, 3)
