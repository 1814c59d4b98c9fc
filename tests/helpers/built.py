"""A build of a settings file in the current folder, and what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from regimen.cli import main
from regimen.records import Instance, Preference
from regimen.tables import read_table, table_to_instances, table_to_preferences


def write(name: str, *rows: Any) -> str:
    Path(name).write_text("\n".join(json.dumps(row) for row in rows))
    return name


def build_section(section: dict[str, Any]) -> int:
    """The exit status of ``regimen build`` with one section."""
    Path("regimen.yaml").write_text(yaml.safe_dump({"run": "run", "build": section}))
    with pytest.raises(SystemExit) as stopped:
        main(["build", "regimen.yaml"])
    return int(stopped.value.code or 0)


def pairs() -> list[Preference]:
    return list(table_to_preferences(read_table(Path("run/build/preferences.parquet"))))


def instances() -> list[Instance]:
    return list(table_to_instances(read_table(Path("run/build/instances.parquet"))))


def steps() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("run/build/ledger/summary.json").read_text())
    return found


def card() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("run/build/data_card.json").read_text())
    return found
