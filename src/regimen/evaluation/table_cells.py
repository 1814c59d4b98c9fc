"""Rows of a table, and values as text: scores in percent, differences in points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """What ``console.table`` takes."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def counts(entry: Json) -> tuple[str, str, str]:
    """Rows, clusters and training seeds behind a value, a dash for what is not known."""
    n, clusters, seeds = (entry.get(key) for key in ("n", "clusters", "seeds"))
    shown = ["-" if count is None else str(count) for count in (n, clusters, seeds)]
    return shown[0], shown[1], shown[2]


def percent(value: float | None) -> str:
    """``61.2%``, or a dash where there is no value."""
    return "-" if value is None else f"{100 * value:.1f}%"


def points(value: float | None) -> str:
    """``+21.0``, or a dash where there is no value."""
    return "-" if value is None else f"{100 * value:+.1f}"


def bits(value: float) -> str:
    """Bits per byte."""
    return f"{value:.3f}"


def probability(value: float | None) -> str:
    """A p-value to two digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.2g}"


def signed_bits(value: float | None) -> str:
    """A difference in bits per byte, or a dash where there is none."""
    return "-" if value is None else f"{value:+.3f}"


def span(low: float | None, high: float | None, show: Callable[[float], str]) -> str:
    """``[low, high]``, or a dash without an interval."""
    return "-" if low is None or high is None else f"[{show(low)}, {show(high)}]"
