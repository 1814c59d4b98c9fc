"""Stands in for the process of a cell: does what its work says, for tests of the runner."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from regimen.files import atomic_write, json_text
from regimen.runs import Run
from regimen.studies.cells import FAILED, RESULT, beside


def main(file: Path, place: Path) -> int:
    """Count the start, then finish, fail, die or wait."""
    body = json.loads(file.read_text())
    with (place.parent / "started.txt").open("a") as log:
        log.write(f"{place.name}\n")
    what = body["work"]["do"]
    if what == "fail":
        atomic_write(beside(place, FAILED), json_text({"error": "the cell said no"}))
        return 1
    if what == "die":
        print("last words", flush=True)
        return 7
    time.sleep(body["work"].get("seconds", 0))
    run = Run.start(place, stage="cell", key=body["key"])
    run.write_json(RESULT, {"factors": body["factors"], "places": body["places"]})
    run.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
