"""The report of a study: its verdict, claims, figures, tables and cells on one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from regimen.errors import RunError
from regimen.files import atomic_write
from regimen.reports import study_curves, study_specs
from regimen.reports.charts import Spec, anchor, figure
from regimen.reports.evidence import Estimate
from regimen.reports.files import Json, read_object
from regimen.reports.markup import Child, Column, Section, details, el, join, paragraph, table
from regimen.reports.page import document
from regimen.reports.study_curves import COLOURS
from regimen.reports.wording import NONE, count, points, significant, things

STUDY_FILE = "study.json"
PARTS = ("kind", "question", "verdict", "seeds", "tokens", "claims", "tables", "figures", "cells")
"""What the page is made of."""

LOOKS = {
    "reproduced": "good",
    "not reproduced": "bad",
    "the opposite": "bad",
    "cannot tell": "wrong",
    "no evidence": "wrong",
}
"""Colour of a verdict, which the word beside it says too."""

DRAWN: Mapping[str, Callable[[Json, int], Spec]] = {
    "curve": study_curves.curve,
    "matrix": study_specs.matrix,
    "frontier": study_specs.frontier,
    "price": study_specs.price,
}


def write_study_report(body: Json, path: Path) -> Path:
    """Write the page of a study: the object of ``study.json`` to a file."""
    return atomic_write(path, str(study_page(body, body.get("title") or f"Study: {body['kind']}")))


def rewrite_study_report(directory: Path) -> Path:
    """Write ``report.html`` of a study's directory again, from its ``study.json``.

    Raises:
        RunError: the file cannot be read, or is not that of a study.
    """
    file = directory / STUDY_FILE
    body = read_object(file)
    if missing := [name for name in PARTS if name not in body]:
        raise RunError(
            f"{file} is not what a study writes",
            slug="study-file",
            where=str(file),
            got=f"an object without {', '.join(missing)}",
            expected="the file that 'regimen study' has written",
            fix="Run the study again: cells that are done are not made again.",
        )
    return write_study_report(body, directory / "report.html")


def study_page(body: Json, name: str) -> Markup:
    """The whole document."""
    sections = [_claims(body), _figures(body), _tables(body), _cells(body)]
    return document(
        name,
        f"{name}: {body['verdict']}",
        _top(body, name),
        [section for section in sections if section is not None],
        f"report of a study of {body['kind']}",
        ("study", dict(body)),
    )


def _top(body: Json, name: str) -> Markup:
    """Question, verdict, and how much it rests on."""
    cells = body["cells"]
    failed = sum(cell["state"] == "failed" for cell in cells)
    rests = [
        things(len(cells), "cell"),
        things(len(body["seeds"]), "seed"),
        f"{count(body['tokens'])} tokens each",
    ]
    if failed:
        rests.append(f"{things(failed, 'cell')} failed")
    return el(
        "header",
        el("p", f"{name} · {' · '.join(rests)}", class_="eyebrow"),
        el("h1", body["question"]),
        el("p", body["verdict"], class_="evidence"),
        el("p", _covered(body), class_="small"),
        id="top",
    )


def _covered(body: Json) -> str:
    """What intervals are about, and what the study could not have seen."""
    measured = [claim["measured"] for claim in body["claims"]]
    found = [f"{100 * one['resolvable']:.1f}" for one in measured if one["resolvable"] is not None]
    if not found:
        return "No claim has an interval: a verdict needs 10 tasks or more."
    seeds, asked = min(one["seeds"] for one in measured), len(body["seeds"])
    about = (
        "Intervals cover other tasks and other training seeds."
        if seeds > 1
        else "Intervals cover other tasks; with one seed they cannot cover another training."
    )
    if seeds < asked:
        about += (
            f" Verdicts rest on {seeds} of {things(asked, 'seed')}: a seed counts where every "
            "level that is compared has a result."
        )
    least, most = min(found, key=float), max(found, key=float)
    smaller = f"{least} points" if least == most else f"{least} to {most} points, by claim,"
    return (
        f"{about} Differences smaller than {smaller} would have been missed more often than "
        "once in five."
    )


def _claims(body: Json) -> Section | None:
    """Every claim with what was expected, what was measured, and the verdict."""
    if not body["claims"]:
        return None
    columns = [
        Column(label="Claim", wide=True),
        Column(label="Verdict"),
        Column(label="Measured, points", number=True),
        Column(label="Items", number=True),
        Column(label="Tasks", number=True),
        Column(label="Seeds", number=True),
        Column(label="Spread of seeds", number=True),
    ]
    rows = [_claim(claim) for claim in body["claims"]]
    return Section(
        anchor="claims",
        title="Claims",
        body=table("Claims", columns, rows, show_caption=False)
        + paragraph(READING, class_="small"),
    )


READING = (
    "A claim is reproduced where the whole 95% interval lies on its side of 0; a claim of “no "
    "more” where the interval ends below its margin. Under 10 tasks there is no evidence. The "
    "spread is the standard deviation of the difference over training seeds, in points."
)


def _claim(claim: Json) -> list[Child]:
    measured = claim["measured"]
    estimate = Estimate(value=measured["difference"], low=measured["low"], high=measured["high"])
    sd = measured["seed_sd"]
    said = [claim["name"], el("span", f"{claim['text']} ({claim['source']})", class_="small")]
    return [
        [said[0], el("br"), said[1]],
        el("span", claim["verdict"], class_=f"pill {LOOKS[claim['verdict']]}"),
        points(estimate, unit=False),
        count(measured["n"]),
        count(measured["clusters"]),
        count(measured["seeds"]),
        NONE if sd is None else f"{100 * sd:.1f}",
    ]


def _figures(body: Json) -> Section | None:
    drawn = [_figure(number, one) for number, one in enumerate(body["figures"])]
    if not drawn:
        return None
    return Section(anchor="figures", title="Figures", body=Markup().join(drawn))


def _figure(number: int, one: Json) -> Markup:
    """A figure with a caption that says what its parts are."""
    return figure(
        f"{anchor(one['kind'])}-{number}",
        one["title"],
        _said(one),
        lambda width: DRAWN[one["kind"]](one, width),
        note=_said(one),
        legend=_legend(one),
    )


def _legend(one: Json) -> Markup | None:
    """Names of the lines with their colours, for narrow screens and many lines."""
    names = list(one.get("lines", {})) or list(
        dict.fromkeys(point["series"] for point in one.get("points", ()))
    )
    if len(names) < 2:
        return None
    return el(
        "p",
        (
            el(
                "span",
                Markup(
                    '<svg width="12" height="12" aria-hidden="true">'
                    '<circle cx="6" cy="6" r="4.2" fill="var(--{})"/></svg>'
                ).format(COLOURS[at % len(COLOURS)]),
                name,
            )
            for at, name in enumerate(names)
        ),
        class_="key",
    )


def _said(one: Json) -> str:
    if one["kind"] == "matrix":
        return (
            "Score in percent. Rows: what the model is tuned on; columns: what it is asked in, by "
            "the number of the row; framed: both alike. The stronger the colour, the higher."
        )
    if one["kind"] == "frontier":
        return (
            f"Each point against the {one.get('origin') or 'generalist'} of the same seed, with "
            "95% intervals over tasks and "
            + ("seeds." if one.get("apart") else "seeds; lines join the numbers of rows.")
        )
    if one["kind"] == "price":
        return "Means with 95% intervals over tasks and seeds."
    parts = ["Means with 95% intervals over tasks and seeds; small dots are seeds."]
    fitted, knee, half = one.get("curve"), one.get("knee"), one.get("mark")
    if fitted:
        errors = ", ".join(
            f"{kind} {100 * error:.1f}" for kind, error in fitted["left_out_errors"].items()
        )
        parts.append(
            f"Band: the {fitted['kind']} curve {fitted['formula']}, chosen by its error on levels "
            f"left out ({errors} points)."
        )
    if knee and knee["reached"] > 0.5:
        parts.append(
            f"Dashed: beyond {knee['at']:,.0f} [{knee['low']:,.0f}, {knee['high']:,.0f}] a "
            f"doubling gains less than {100 * knee['gain']:.0f} points."
        )
    elif knee:
        parts.append(f"No knee: a doubling still gains {100 * knee['gain']:.0f} points or more.")
    if half:
        parts.append(
            f"Dashed: one half is passed at {half['at']:,.0f} "
            f"[{half['low']:,.0f}, {half['high']:,.0f}]."
        )
    return " ".join(parts)


def _tables(body: Json) -> Section | None:
    parts = [_table(one) for one in body["tables"]]
    return Section(anchor="tables", title="Tables", body=Markup().join(parts)) if parts else None


def _table(one: Json) -> Markup:
    numbers = [
        all(isinstance(row[at], int | float | None) for row in one["rows"])
        for at in range(len(one["columns"]))
    ]
    columns = [
        Column(label=str(name), number=number)
        for name, number in zip(one["columns"], numbers, strict=True)
    ]
    return table(one["title"], columns, [[_value(cell) for cell in row] for row in one["rows"]])


def _value(cell: Any) -> str:
    if cell is None:
        return NONE
    return f"{cell:.3f}" if isinstance(cell, float) else significant(cell)


def _cells(body: Json) -> Section:
    """Every cell; those that failed first and open."""
    failed = [cell for cell in body["cells"] if cell["state"] == "failed"]
    parts: list[Child] = [
        details(f"{cell['name']} failed", el("pre", el("code", cell["error"])), open_=True)
        for cell in failed
    ]
    rows: list[list[Child]] = [
        [cell["name"], cell["state"], significant(cell["result"].get("num_tokens", NONE))]
        for cell in body["cells"]
    ]
    columns = [Column(label="Cell"), Column(label="State"), Column(label="Tokens", number=True)]
    listed = table("Cells", columns, rows, show_caption=False)
    parts.append(details(f"All {things(len(rows), 'cell')}", listed))
    return Section(anchor="cells", title="Cells", body=join(parts))
