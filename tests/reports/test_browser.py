"""The page in a real browser. pytest -m browser tests/reports/test_browser.py

Needs playwright and a Chromium: ``CHROMIUM`` names its binary, or one is found on the path.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regimen.reports import write_report

BINARIES = ("chromium", "chromium-browser", "google-chrome")
FIT = """() => ({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  empty: [...document.querySelectorAll("svg")].filter((svg) => {
    const hidden = !svg.closest(".wide, .narrow")?.checkVisibility() && svg.closest(".drawing");
    const box = svg.getBoundingClientRect();
    return !hidden && svg.checkVisibility() && (box.width < 1 || box.height < 1);
  }).length,
  drawings: [...document.querySelectorAll(".drawing")].filter((drawing) =>
    [...drawing.querySelectorAll("svg")].filter((svg) => svg.checkVisibility()).length !== 1
  ).length,
})"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = (shutil.which(name) for name in BINARIES)
    binary = os.environ.get("CHROMIUM") or next((path for path in found if path), None)
    if binary is None:
        pytest.skip("no Chromium on the path; set CHROMIUM to its binary")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(full_run, tmp_path_factory.mktemp("page") / "report.html").as_uri()


def opened(chromium: Any, address: str, **options: Any) -> tuple[Any, list[str], list[str]]:
    """The page, what it wrote to the console, and what it asked of the network."""
    page = chromium.new_context(**options).new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    return page, said, asked


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_the_page_fits_and_is_silent(chromium: Any, address: str, width: int, theme: str) -> None:
    viewport = {"width": width, "height": 900}
    page, said, asked = opened(chromium, address, viewport=viewport, color_scheme=theme)
    assert page.evaluate(FIT) == {"overflow": 0, "empty": 0, "drawings": 0}
    assert said == []
    assert asked == [address]


@pytest.mark.browser
def test_the_answers_can_be_filtered_searched_and_sorted(chromium: Any, address: str) -> None:
    page, said, _ = opened(chromium, address)
    rows = page.locator("#answers-table tbody tr")
    total = rows.count()
    visible = page.locator("#answers-table tbody tr:visible")
    page.get_by_role("button", name="Fixed", exact=True).click()
    fixed = visible.count()
    assert 0 < fixed < total
    assert set(visible.locator(".pill").all_inner_texts()) == {"Fixed"}
    page.get_by_role("button", name="All", exact=True).click()
    page.locator("#answers-search").fill("no answer has these words")
    assert visible.count() == 0
    assert page.locator("#answers-none").is_visible()
    page.locator("#answers-search").fill("")
    page.get_by_role("button", name="Reference").click()
    references = [
        text.strip().lower() for text in rows.locator("td:nth-child(3)").all_inner_texts()
    ]
    assert references == sorted(references)
    assert said == []


@pytest.mark.browser
def test_the_theme_can_be_switched(chromium: Any, address: str) -> None:
    page, _, _ = opened(chromium, address, color_scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.locator("#theme").click()
    assert page.evaluate(colour) != before
    page.locator("#theme").click()
    assert page.evaluate(colour) == before


@pytest.mark.browser
def test_the_page_is_complete_without_javascript(chromium: Any, address: str) -> None:
    page, said, _ = opened(chromium, address, java_script_enabled=False)
    assert page.locator("#answers-table tbody tr").count() > 40
    assert page.locator(".controls").is_hidden()
    assert page.locator("#theme").is_hidden()
    assert said == []
