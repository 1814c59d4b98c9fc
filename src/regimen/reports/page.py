"""The page: one HTML file with everything in it, complete without JavaScript and network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from regimen import __version__
from regimen.files import atomic_write, jsonable
from regimen.reports.files import read_json
from regimen.reports.findings import verdict
from regimen.reports.markup import Section, el
from regimen.reports.rundata import RunData, evaluation_file, read_run
from regimen.reports.script import SCRIPT
from regimen.reports.sections.answers import answers
from regimen.reports.sections.behaviour import safety
from regimen.reports.sections.closing import closing
from regimen.reports.sections.data import data
from regimen.reports.sections.judged import judged
from regimen.reports.sections.overview import changed, overview
from regimen.reports.sections.rewards import rewards
from regimen.reports.sections.systems import systems
from regimen.reports.sections.training import curves, masks
from regimen.reports.style import STYLE

SECTIONS: tuple[Callable[[RunData], Section | None], ...] = (
    changed,
    systems,
    judged,
    answers,
    data,
    curves,
    rewards,
    safety,
    masks,
    closing,
)


def write_report(
    run_directory: Path | str, output: Path | str | None = None, *, title: str = ""
) -> Path:
    """Write the report of a run as one self-contained HTML file.

    Args:
        run_directory: a directory that ``regimen run`` or one of its stages has written.
        output: the file to write; ``report.html`` in the run directory by default.
        title: the name of the run on the page; its directory's name by default.

    Returns:
        The path of the file.

    Raises:
        RunError: there is no run, nothing to report on, or a file of it cannot be read.
    """
    run = read_run(Path(run_directory), title=title)
    path = Path(output) if output else run.directory / "report.html"
    return atomic_write(path, str(page(run)))


def page(run: RunData) -> Markup:
    """The whole document."""
    sections = [section for build in SECTIONS if (section := build(run)) is not None]
    return document(
        run.name,
        f"{run.name}: {verdict(run).headline}",
        overview(run),
        sections,
        f"report of run {run.name}",
        ("evaluation", read_json(evaluation_file(run.directory))),
    )


def document(
    name: str,
    heading: str,
    top: Markup,
    sections: list[Section],
    footer: str,
    data: tuple[str, Any],
) -> Markup:
    """A whole page.

    Args:
        name: shown in the bar.
        heading: the title of the window.
        top: the first screen, an element with the id ``top``.
        sections: what follows, listed in the contents.
        footer: what the page is a report of.
        data: an id and a JSON value to embed for programs; None embeds nothing.
    """
    body = el(
        "body",
        el("a", "Skip to the verdict", href="#top", class_="skip"),
        _bar(name),
        el(
            "div",
            _contents(sections),
            el(
                "main",
                top,
                (_section(section) for section in sections),
                el("footer", f"regimen {__version__}, {footer}"),
            ),
            class_="page",
        ),
        _data(*data),
        el("script", Markup(SCRIPT)),
    )
    return Markup("<!doctype html>\n") + el("html", _head(heading), body, lang="en") + Markup("\n")


def _head(heading: str) -> Markup:
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{script_hash()}'"
    )
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Only our own script may run and nothing may be fetched, whatever an answer contains.
        Markup('<meta http-equiv="Content-Security-Policy" content="{}">').format(policy),
        el("meta", name="color-scheme", content="light dark"),
        el("title", heading),
        el("style", Markup(STYLE)),
    )


def script_hash() -> str:
    """The hash by which the content policy lets the page's script run."""
    return base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()


def _bar(name: str) -> Markup:
    button = el("button", "Light or dark", type="button", id="theme", hidden=True)
    return el("div", el("span", "regimen", class_="brand"), el("span", name), button, class_="bar")


def _contents(sections: list[Section]) -> Markup:
    links = [
        ("top", "Verdict"),
        *((section.anchor, section.label or section.title) for section in sections),
    ]
    listed = (el("li", el("a", name, href=f"#{anchor}")) for anchor, name in links)
    return el("nav", el("ol", listed), class_="contents", aria_label="Contents")


def _section(section: Section) -> Markup:
    heading = el(
        "h2", section.title, el("a", "#", href=f"#{section.anchor}", aria_label="Link to here")
    )
    return el("section", heading, section.body, id=section.anchor, class_="part")


def _data(id_: str, value: Any) -> Markup:
    """A value as data, for programs that read the page."""
    if value is None:
        return Markup()
    return Markup('<script type="application/json" id="{}">{}</script>').format(
        id_, Markup(script_json(value))
    )


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in; what is not finite is null."""
    text = json.dumps(jsonable(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
