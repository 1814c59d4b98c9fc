"""The page of a study: pytest tests/reports/test_study.py; -m browser for the page in Chromium."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.browser import FIT, opened
from regimen.cli import main
from regimen.reports.charts import NARROW, WIDE, draw
from regimen.reports.study import DRAWN, LOOKS, study_page, write_study_report
from regimen.reports.study_curves import curve, score_ticks, spread_apart
from regimen.reports.study_specs import frontier, price

HOSTILE = "<script>alert('x')</script> & \"quoted\" <b>"


def point(x: float, score: float, **more: Any) -> dict[str, Any]:
    seeds = [score - 0.02, score, score + 0.02]
    found = {"x": x, "score": score, "low": score - 0.05, "high": score + 0.05, "per_seed": seeds}
    return {**found, "sd": 0.02, **more}


LEVELS = (8, 32, 128, 512, 900)
RIBBON = [
    [x, 0.08 * math.log(x), 0.08 * math.log(x) - 0.09, 0.08 * math.log(x) + 0.6] for x in LEVELS
]
KNEE = {"gain": 0.02, "at": 128.0, "low": 64.0, "high": 400.0, "reached": 0.9}
FITTED = {
    "kind": "log",
    "formula": "0.1 +0.08 ln x",
    "left_out_errors": {"log": 0.01, "power": 0.02},
}
CURVE: dict[str, Any] = {
    "kind": "curve",
    "title": f"Curve {HOSTILE}",
    "x": "training tasks",
    "lines": {
        f"8 {HOSTILE}": [point(x, 0.08 * math.log(x)) for x in LEVELS],
        "32 instances": [point(x, 0.08 * math.log(x) + 0.004, low=None, high=None) for x in LEVELS],
    },
    "fitted": "8 instances",
    "ribbon": RIBBON,
    "curve": FITTED,
    "knee": KNEE,
}
HALF: dict[str, Any] = {
    "kind": "curve",
    "title": "Marked",
    "x": "rules",
    "lines": {"unseen rules": [point(x, 0.1 * n) for n, x in enumerate((50, 100, 200, 1600))]},
    "ribbon": [],
    "mark": {"at": 150.0, "low": 120.0, "high": 190.0},
}
SHARES: dict[str, Any] = {
    "kind": "curve",
    "title": "Shares",
    "x": "share",
    "linear": True,
    "lines": {"mean": [point(x, 0.5, per_seed=[]) for x in (0.0, 0.25, 1.0)]},
    "ribbon": [],
}
ENCODINGS = ("definition", "definition-positive", "definition-both-explained", HOSTILE)
MATRIX: dict[str, Any] = {
    "kind": "matrix",
    "title": "Matrix",
    "names": list(ENCODINGS),
    "cells": [
        {"train": train, "test": test, "score": 0.2 + 0.4 * (train == test)}
        for train in ENCODINGS
        for test in (*ENCODINGS, "asked alone")
    ],
}
FRONTIER: dict[str, Any] = {
    "kind": "frontier",
    "title": "Frontier",
    "x": "change elsewhere (points)",
    "y": "gain on the job (points)",
    "origin": "generalist",
    "points": [
        {
            "label": f"{rows:,} rows",
            "series": series,
            "rows": rows,
            "x": -0.02 * n,
            "x_low": None if n == 0 else -0.02 * n - 0.01,
            "x_high": None if n == 0 else -0.02 * n + 0.01,
            "y": 0.1 * n,
            "y_low": 0.1 * n - 0.03,
            "y_high": 0.1 * n + 0.03,
        }
        for series in ("rows alone", f"text {HOSTILE}")
        for n, rows in enumerate((50, 500, 5000))
    ],
}
METHODS = ("lora", "dora", "pissa", f"full {HOSTILE}")
APART = {
    **FRONTIER,
    "apart": True,
    "points": [
        {**point_, "label": name, "series": "full" if name.startswith("full") else "equal"}
        for name, point_ in zip(METHODS, FRONTIER["points"], strict=False)
    ],
}
PRICE: dict[str, Any] = {
    "kind": "price",
    "title": "Price",
    "x": "MiB",
    "points": [
        {
            "label": name,
            "series": "full" if name.startswith("full") else "equal",
            "x": 32.4 + 20 * n,
            "score": 0.4 + 0.001 * n,
            "low": None if n == 0 else 0.35,
            "high": None if n == 0 else 0.45,
        }
        for n, name in enumerate(METHODS)
    ],
}
RATES: dict[str, Any] = {
    "kind": "curve",
    "title": "Rates",
    "x": "learning rate",
    "x_format": "~e",
    "lines": {"lora": [point(x, 0.4) for x in (3e-4, 1e-3, 3e-3)]},
}
FIGURES = {
    "apart": APART,
    "price": PRICE,
    "rates": RATES,
    "curve": CURVE,
    "half": HALF,
    "shares": SHARES,
    "matrix": MATRIX,
    "frontier": FRONTIER,
}


def claim(verdict: str, name: str = "a claim", **measured: Any) -> dict[str, Any]:
    found = {
        "difference": 0.041,
        "low": 0.012,
        "high": 0.07,
        "n": 160,
        "clusters": 80,
        "seeds": 3,
        "resolvable": 0.05,
        "seed_sd": 0.011,
        "p": 0.01,
    }
    return {
        "name": name,
        "text": "what is claimed",
        "source": "a paper",
        "expected": "more",
        "margin": 0.02,
        "measured": {**found, **measured},
        "verdict": verdict,
    }


def cell(name: str, state: str = "done", error: str = "", **result: Any) -> dict[str, Any]:
    return {
        "name": name,
        "factors": {"tasks": 8},
        "seed": 2,
        "state": state,
        "error": error,
        "result": result,
    }


def body(**more: Any) -> dict[str, Any]:
    """A study with every kind of figure, every verdict and a cell that failed."""
    unknown = {"low": None, "high": None, "resolvable": None, "seed_sd": None}
    claims = [claim(verdict) for verdict in LOOKS if verdict != "no evidence"]
    claims.append(
        claim("no evidence", f"{HOSTILE} {'a very long name of a claim ' * 6}", **unknown)
    )
    made: dict[str, Any] = {
        "schema_version": 1,
        "kind": "tasks",
        "title": "",
        "question": f"How many? {HOSTILE}",
        "verdict": f"So many. {HOSTILE}",
        "seeds": [2, 3, 4],
        "tokens": 150_000,
        "claims": claims,
        "tables": [
            {
                "title": f"Scores {HOSTILE}",
                "columns": ["tasks", HOSTILE, "score"],
                "rows": [[8, HOSTILE, 0.12345], [512, "", None]],
            }
        ],
        "figures": list(FIGURES.values()),
        "cells": [
            cell("tasks=8,seed=2", num_tokens=150_592),
            cell(HOSTILE, "failed", f"out of memory {HOSTILE}\n" + "x" * 300),
        ],
    }
    return {**made, **more}


@pytest.fixture(scope="module")
def page() -> str:
    return str(study_page(body(), "Study: tasks"))


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_text_of_the_study_is_escaped_wherever_it_stands(page: str) -> None:
    assert "<script>alert" not in page
    assert "<b>" not in page.replace("<body>", "")
    assert page.count("&lt;script&gt;alert") > 10


def test_every_part_has_its_anchor_and_every_id_is_given_once(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert {"top", "claims", "figures", "tables", "cells", "study"} <= set(ids)
    assert {f"fig-{one['kind']}-{n}" for n, one in enumerate(FIGURES.values())} <= set(ids)
    for part in ("claims", "figures", "tables", "cells"):
        assert f'href="#{part}"' in page


def test_every_verdict_is_a_word_with_a_colour(page: str) -> None:
    for verdict, look in LOOKS.items():
        assert f'<span class="pill {look}">{verdict}</span>' in page
    assert "+4 [1, 7]" in text_of(page)


def test_the_whole_object_is_embedded_for_programs(page: str) -> None:
    (found,) = re.findall(r'<script[^>]*id="study"[^>]*>(.*?)</script>', page, re.S)
    assert json.loads(found) == body()


def test_a_cell_that_failed_is_open_with_its_error(page: str) -> None:
    opened_parts = re.findall(r"<details open>(.*?)</details>", page, re.S)
    (failed,) = [part for part in opened_parts if "out of memory" in part]
    assert "failed</summary>" in failed
    assert "1 cell failed" in text_of(page)
    assert "All 2 cells" in page
    assert "150,592" in page


def test_the_top_says_what_intervals_cover_and_which_seeds_count() -> None:
    def top(claims: Sequence[Mapping[str, Any]]) -> str:
        html = str(study_page(body(claims=claims, figures=[]), "s"))
        return text_of(html[html.index("<header") : html.index("</header>")])

    whole = top([claim("reproduced"), claim("reproduced", resolvable=0.081)])
    assert "other tasks and other training seeds" in whole
    assert "smaller than 5.0 to 8.1 points, by claim, would" in whole
    assert "smaller than 5.0 points would" in top([claim("reproduced")])
    fewer = top([claim("reproduced", seeds=2)])
    assert "rest on 2 of 3 seeds" in fewer
    assert "cannot cover another training" in top([claim("reproduced", seeds=1)])
    assert "No claim has an interval" in top([claim("no evidence", low=None, resolvable=None)])


def test_a_study_without_claims_or_figures_has_no_such_part() -> None:
    html = str(study_page(body(claims=[], figures=[], tables=[]), "s"))
    assert "No claim has an interval" in html
    for part in ("claims", "figures", "tables"):
        assert f'id="{part}"' not in html
    assert 'id="cells"' in html


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_drawings_fit_and_hold_their_labels(name: str, width: int) -> None:
    figure = FIGURES[name]
    svg = str(draw(DRAWN[figure["kind"]](figure, width), "p", "Name", "What it shows"))
    root = ElementTree.fromstring(svg)
    assert 0.7 * width < float(root.attrib["width"]) <= width + 8
    drawn = {"".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")}
    expected = {
        "curve": {"8", "32", "128", "512", "900", "training tasks"},
        "half": {"50", "100", "200", "1,600"},
        "shares": {"0%", "25%", "100%"},
        "matrix": {"1", "5", "1 definition", "60", "20", "asked in"},
        "frontier": {"50 rows", "5,000 rows", "generalist", "0"},
        "apart": {"lora", "dora", "pissa", "generalist"},
        "price": {"lora", "dora", "pissa", "MiB"},
        "rates": {"3e-4", "1e-3", "3e-3", "learning rate"},
    }[name]
    assert expected <= {re.sub(r"\s+", " ", one) for one in drawn}
    if name == "curve" and width == WIDE:
        assert "32 instances" in drawn


def test_methods_stand_apart_without_lines_and_their_names_do_not_cover_each_other() -> None:
    alike = [{**one, "y": 0.1, "x": -0.01} for one in APART["points"]]
    layers = frontier({**APART, "points": alike}, WIDE)["layer"]
    assert not [one for one in layers if one["mark"]["type"] == "line"]
    names = [
        row["y"]
        for one in layers
        if one["mark"]["type"] == "text"
        for row in one["data"]["values"]
        if row["label"] in METHODS
    ]
    assert len(names) == len(METHODS)
    # 15 of 320 pixels, of an axis that holds every interval
    heights = [100 * one[name] for one in alike for name in ("y_low", "y_high")]
    gap = 15 * (max(heights) - min(*heights, 0.0)) / 320
    assert min(b - a for a, b in pairwise(sorted(names))) == pytest.approx(gap)
    assert [one for one in frontier(FRONTIER, WIDE)["layer"] if one["mark"]["type"] == "line"]


def test_a_score_without_an_interval_has_a_point_and_no_rule() -> None:
    layers = price(PRICE, WIDE)["layer"]
    rules = [r for one in layers if one["mark"]["type"] == "rule" for r in one["data"]["values"]]
    points = [r for one in layers if one["mark"]["type"] == "point" for r in one["data"]["values"]]
    assert {row["label"] for row in points} == set(METHODS)
    assert {row["label"] for row in rules} == set(METHODS) - {"lora"}


def test_knee_and_mark_are_upright_and_what_is_unsure_is_not_drawn() -> None:
    rules = [
        layer["encoding"]
        for figure in (CURVE, HALF)
        for layer in curve(figure, WIDE)["layer"]
        if layer["mark"].get("strokeDash")
    ]
    assert [(one["y"], one["y2"]) for one in rules] == [({"value": 0}, {"value": 260})] * 2
    unsure = {**CURVE, "knee": {**KNEE, "reached": 0.4}}
    assert not [one for one in curve(unsure, WIDE)["layer"] if one["mark"].get("strokeDash")]
    said = text_of(str(study_page(body(figures=[unsure]), "s")))
    assert "No knee: a doubling still gains 2 points or more" in said
    assert "Dashed" not in said


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_ticks_of_scores_hold_every_height(heights: list[float]) -> None:
    ticks = score_ticks(heights)
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert 0 <= ticks[0] <= min(heights) + 1e-6
    assert max(heights) - 1e-6 <= ticks[-1] <= 1


@given(st.lists(st.floats(0, 1), max_size=6), st.floats(0.01, 0.1))
def test_names_are_pushed_apart_in_their_order(values: list[float], gap: float) -> None:
    moved = spread_apart(values, gap, 1.0)
    assert len(moved) == len(values)
    assert all(value <= 1.0 + 1e-9 for value in moved)
    ordered = sorted(range(len(values)), key=lambda place: moved[place])
    for low, high in pairwise(ordered):
        assert moved[high] - moved[low] >= gap - 1e-9
        assert values[low] <= values[high]
    if all(abs(a - b) >= gap for n, a in enumerate(values) for b in values[:n]):
        assert moved == values


def test_the_report_of_a_study_is_written_again_by_its_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.json").write_text(json.dumps(body(title="My study")), encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(tmp_path), "--json"])
    assert not stopped.value.code
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    html = Path(result["report"]).read_text(encoding="utf-8")
    assert Path(result["report"]) == tmp_path / "report.html"
    assert "My study" in html
    assert "What it is not" not in html


def test_a_file_that_is_no_study_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.json").write_text('{"kind": "tasks"}', encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(tmp_path)])
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert "study-file" in said.out + said.err
    assert "question" in said.out + said.err


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_and_is_silent(chromium: Any, tmp_path: Path, width: int, theme: str) -> None:
    address = write_study_report(body(), tmp_path / "report.html").as_uri()
    viewport = {"width": width, "height": 900}
    page, said, asked = opened(chromium, address, viewport=viewport, color_scheme=theme)
    assert page.evaluate(FIT) == {"overflow": 0, "empty": 0, "drawings": 0}
    assert said == []
    assert asked == [address]
