"""The report of a run: one self-contained page, and its Markdown twin."""

from __future__ import annotations

from regimen.reports.markdown import write_markdown
from regimen.reports.page import write_report

__all__ = ["write_markdown", "write_report"]
