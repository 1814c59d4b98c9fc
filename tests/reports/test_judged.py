"""The judge's section of the report. Run: pytest tests/reports/test_judged.py"""

from __future__ import annotations

import json
from pathlib import Path

from regimen.evaluation.judged import Judging, judge_answers, people_block
from regimen.judging.judge import FunctionJudge
from regimen.judging.people import read_labelled_pairs
from regimen.records import Item, Message
from regimen.reports.findings import limits
from regimen.reports.rundata import read_run
from regimen.reports.sections.judged import UNMEASURED, judged

NAME = "<script>judge</script>"


def longer(prompt: str, a: str, b: str) -> float:
    return float((len(a) > len(b)) - (len(a) < len(b)))


HOW = Judging(
    judge=FunctionJudge(longer, NAME),
    pairs=(("tuned", "base"), ("aligned", "base"), ("aligned", "tuned")),
)


def section_text(folder: Path, people: bool) -> str:
    """The section of a run that holds nothing but an evaluation with a judge."""
    items = [
        Item(suite="chat", messages=(Message(role="user", content=f"q{n}"),), references=())
        for n in range(24)
    ]
    given = {
        name: [("x" * (n % size + 1),) for n in range(24)]
        for name, size in (("base", 5), ("tuned", 7), ("aligned", 9))
    }
    found = judge_answers(HOW, items, given)
    path = folder / "people.jsonl"
    rows = [
        {"prompt": f"p{n}", "a": "xx" * (n % 2), "b": "x", "labels": ["ab"[n % 2]] * 3}
        for n in range(24)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    by = {"name": NAME, "kind": "pairwise", "swap": True, "strengths": found.strengths}
    by["people"] = people_block(HOW, read_labelled_pairs(path)) if people else None
    body = {
        "suites": {"chat": {"items": 24, "clusters": 24, "systems": {"base": {"score": 0.1}}}},
        "judge": found.blocks,
        "judged_by": by,
    }
    (folder / "evaluation.json").write_text(json.dumps(body))
    section = judged(read_run(folder))
    assert section is not None
    return str(section.body)


def test_a_judge_nobody_compared_with_people_says_so(tmp_path: Path) -> None:
    text = section_text(tmp_path, people=False)
    assert UNMEASURED in text
    assert NAME not in text
    assert "&lt;script&gt;" in text
    assert "no difference shown" in text or "better" in text
    assert text.count("<tr>") == 1 + 3 + 1 + 3


def test_the_limits_say_when_people_were_not_compared(tmp_path: Path) -> None:
    section_text(tmp_path, people=False)
    assert any(line.startswith("Whether people prefer") for line in limits(read_run(tmp_path)))
    section_text(tmp_path, people=True)
    assert not any(line.startswith("Whether people prefer") for line in limits(read_run(tmp_path)))


def test_agreement_with_people_stands_beside_their_own(tmp_path: Path) -> None:
    text = section_text(tmp_path, people=True)
    assert UNMEASURED not in text
    for words in ("the majority of all people", "One person", "Krippendorff", "24 labelled pairs"):
        assert words in text


def test_a_run_without_a_judge_has_no_such_section(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"suites": {"s": {"systems": {}}}}')
    assert judged(read_run(tmp_path)) is None
