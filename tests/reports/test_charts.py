"""pytest tests/reports/test_charts.py"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from regimen.reports import line_specs, specs
from regimen.reports.card import histogram
from regimen.reports.charts import NARROW, WIDE, Spec, anchor, draw, figure
from regimen.reports.evidence import Estimate
from regimen.reports.sections.training import POINTS, series, smooth
from regimen.reports.theme import PALETTE, SENTINELS, SYSTEMS, chart_config, system, variables

HOSTILE = '<script>alert("x")</script> & 3.14159'


def dots(width: int, name: str = "Suite") -> Spec:
    scores = {
        key: Estimate(value=0.1 * i, low=0.1 * i - 0.02, high=0.1 * i + 0.03)
        for i, key in enumerate(SYSTEMS, 1)
    }
    panel = specs.Dots(title=name, subtitle="480 items", systems=scores)
    return specs.dots([panel, panel, panel], width)


def forest(width: int) -> Spec:
    rows = [
        specs.FamilyRow(label=label, scores={"base": 0.1, "tuned": 0.6}, gain=gain)
        for label, gain in ((HOSTILE, Estimate(value=0.5, low=0.4, high=0.6)),
                            ("plain", Estimate(value=-0.1)))
    ]  # fmt: skip
    return specs.forest(rows, width, "tuned")


def curves(width: int) -> Spec:
    points = [(float(i), 1.0 / i) for i in range(1, 50)]
    raw = line_specs.Line(label="", colour="tuned", points=points, faint=True)
    named = line_specs.Line(label="held out", colour="warn", points=points[::9], dots=True)
    panel = line_specs.Curves(title="Loss", lines=[raw, named])
    return line_specs.curves([panel] * 4, width)


def lengths(width: int) -> Spec:
    panels = [histogram(name, [1.0, 2.0, 900.0]) for name in ("Prompts", "Answers")]
    return line_specs.histograms(panels, width)


@pytest.mark.parametrize("spec", [dots, forest, curves, lengths])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_drawings_fit_and_are_well_formed(spec: object, width: int) -> None:
    assert callable(spec)
    svg = str(draw(spec(width), "p", "Name", "What it shows"))
    root = ElementTree.fromstring(svg)
    assert 0.7 * width < float(root.attrib["width"]) <= width + 8
    assert float(root.attrib["height"]) > 50
    assert root.attrib["role"] == "img"
    assert [child.text for child in root[:2]] == ["Name", "What it shows"]
    assert "aria-roledescription" not in svg
    assert "http" not in svg


def test_every_colour_is_a_variable() -> None:
    svg = str(draw(dots(WIDE), "p", "Name", "text"))
    found = set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg)) - {"none", "transparent"}
    assert found
    assert all(colour.startswith("var(--") for colour in found)
    assert {f"var(--{look.colour})" for look in SYSTEMS.values()} <= found


def test_ids_do_not_collide_and_drawings_repeat() -> None:
    first = str(figure("a", "A", "a", curves))
    again = str(figure("a", "A", "a", curves))
    other = str(figure("b", "B", "b", curves))
    ids = re.findall(r' id="([^"]+)"', first + other)
    assert len(ids) == len(set(ids))
    assert first == again
    used = re.findall(r"url\(#([^)]+)\)", first + other)
    assert used
    assert set(used) <= set(ids)


def test_text_of_data_is_escaped_and_otherwise_left_alone() -> None:
    svg = str(draw(forest(WIDE), "p", HOSTILE, HOSTILE))
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert "<script" not in svg
    assert HOSTILE in texts[:2]
    assert any(text.startswith("<script>alert") for text in texts[2:])


def test_sentinels_are_distinct_and_the_palette_has_both_themes() -> None:
    assert len(set(SENTINELS.values())) == len(PALETTE)
    assert variables(dark=False) != variables(dark=True)
    used = re.findall(r"#[0-9a-f]{6}", str(chart_config()))
    assert set(used) <= set(SENTINELS.values())


def test_an_unknown_system_has_a_look() -> None:
    assert system("my_model").label == "my model"


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [0, 1])
def test_contrast_meets_wcag(dark: int) -> None:
    def of(name: str) -> str:
        return PALETTE[name][dark]

    for text in ("fg", "muted", "accent", "good", "bad", "warn"):
        assert contrast(of(text), of("bg")) >= 4.5, text
    for pill in ("good", "bad"):
        assert contrast(of(pill), of(f"{pill}-bg")) >= 4.5, pill
    for look in SYSTEMS.values():
        assert contrast(of(look.colour), of("bg")) >= 3, look.label


def test_long_series_become_bin_means() -> None:
    rows = [{"step": i, "loss": float(i)} for i in range(1, 1001)] + [{"step": 5, "loss": None}]
    found = series(rows, "loss")
    assert len(found) <= POINTS
    assert found[-1][0] == 1000
    assert found[0] == (7, 4.0)


def test_smoothing_keeps_lines_and_ends() -> None:
    line = [(float(i), 2.0 * i) for i in range(100)]
    assert [y for _, y in smooth(line)] == pytest.approx([y for _, y in line])
    assert smooth([]) == []


def test_ids_are_plain_words() -> None:
    assert anchor('Unseen "compositions"><b>') == "unseen-compositions-b"
    assert anchor("???") == "figure"
    with pytest.raises(ValueError, match="plain word"):
        draw(curves(NARROW), 'x" onload="y', "Name", "text")


def test_a_single_logged_step_can_be_seen() -> None:
    line = line_specs.Line(label="", colour="tuned", points=[(8.0, 0.5)])
    panel = line_specs.Curves(title="Loss", lines=[line])
    svg = str(draw(line_specs.curves([panel], NARROW), "p", "Name", "text"))
    assert 'fill="var(--tuned)"' in svg
