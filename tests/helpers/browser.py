"""A real browser for tests of pages: ``CHROMIUM`` names its binary, or one is found on the path."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

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
"""What does not fit on a page: pixels of overflow, drawings without size or without the one of two
that fits the screen."""


def running() -> Iterator[Any]:
    """A browser, for a fixture; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = (shutil.which(name) for name in BINARIES)
    binary = os.environ.get("CHROMIUM") or next((path for path in found if path), None)
    if binary is None:
        pytest.skip("no Chromium on the path; set CHROMIUM to its binary")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


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
