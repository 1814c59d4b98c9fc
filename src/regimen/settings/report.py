"""Settings of ``report``."""

from __future__ import annotations

from regimen.settings.base import Section


class ReportSettings(Section):
    """The HTML report of a run."""

    title: str = ""
    """Title of the page; the run's directory when empty."""
