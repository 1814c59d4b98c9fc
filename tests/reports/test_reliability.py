"""pytest tests/reports/test_reliability.py: the picture of a reward model's calibration."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from regimen.reports.page import page
from regimen.reports.reliability import reliability_svg
from regimen.reports.rundata import read_run

BINS = [
    {"items": 12, "confidence": 0.55, "accuracy": 0.5, "low": 0.2, "high": 0.8},
    {"items": 8, "confidence": 0.9, "accuracy": 1.0, "low": None, "high": None},
]
ONE = {"ece": 0.07, "bins": BINS}


def test_every_bin_is_a_point_and_names_are_text() -> None:
    drawn = reliability_svg({"helpful": ONE, "<b>&": ONE})
    root = ElementTree.fromstring(drawn)
    name = "{http://www.w3.org/2000/svg}"
    points = root.findall(f".//{name}circle")
    assert len(points) == 4
    assert points[0].findtext(f"{name}title") == "0.550 predicted, 0.500 observed, 12 items"
    texts = [one.text for one in root.findall(f".//{name}text")]
    assert "<b>&" in texts
    assert "ECE 0.070, 20 predictions" in texts
    # further right is a higher probability, further up a higher share
    first, second = points[:2]
    assert float(first.attrib["cx"]) < float(second.attrib["cx"])
    assert float(first.attrib["cy"]) > float(second.attrib["cy"])


def test_a_report_has_the_table_and_the_picture(tmp_path: Path) -> None:
    rate = {"value": 0.7, "low": 0.5, "high": 0.85, "n": 20}
    quality: dict[str, Any] = {
        "method": "reward",
        "rows": 20,
        "prompts": 18,
        "dimensions": {
            "helpful": {"pairs": 20, "accuracy": rate, "calibration": ONE, "length": None}
        },
    }
    folder = tmp_path / "align"
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"steps": 3}))
    (folder / "rewards.json").write_text(json.dumps(quality))
    text = str(page(read_run(tmp_path)))
    assert 'id="rewards"' in text
    assert "Scores on 18 held-out prompts" in text
    assert re.search(r"50% to 85%", text)
    assert text.count("<circle") == 2
    assert text.count('style="fill:var(--aligned)"') >= 2
    assert "var(" not in reliability_svg({"helpful": ONE})
    quality["dimensions"] = {}
    (folder / "rewards.json").write_text(json.dumps(quality))
    assert "nothing is known of the scores" in str(page(read_run(tmp_path)))
