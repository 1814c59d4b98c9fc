"""The page in a real browser. pytest -m browser tests/reports/test_browser.py

Needs playwright and a Chromium: ``CHROMIUM`` names its binary, or one is found on the path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.browser import FIT, opened
from regimen.reports import write_report


@pytest.fixture(scope="module")
def address(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(full_run, tmp_path_factory.mktemp("page") / "report.html").as_uri()


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
