"""The page of the lints, and a run on collections that the test writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import zstandard


def test_the_committed_result_is_the_page(
    bench: SimpleNamespace, committed: Callable[[str], dict[str, Any]]
) -> None:
    result = committed("lints")
    text = bench.lint_page.TARGET.read_text()
    assert text == bench.lint_page.lints_page(result)
    assert len(text.splitlines()) <= 120
    assert bench.render.section(result) == ""


def test_every_collection_is_read_and_counted(bench: SimpleNamespace, tmp_path: Path) -> None:
    def write(place: str, text: str) -> None:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    pair = {"input": "hot", "output": "cold"}
    natural = {"Definition": "Say 'a'.", "Instances": [pair, {"input": "x", "output": []}]}
    write("super-natural-instructions/task1.json", json.dumps(natural))
    meta = {
        "task": "t",
        "category": "c",
        "definition": "Answer with 'hot' or 'cold'.",
        "positive_example": pair,
    }
    (tmp_path / "niv2-meta").mkdir()
    packed = zstandard.compress(json.dumps(meta).encode())
    (tmp_path / "niv2-meta/niv2_meta.jsonl.zst").write_bytes(packed)
    rows = [{"prompt": f"p {i}", "completion": "same"} for i in range(6)]
    write("t0-train-50k/one.jsonl", "\n".join(map(json.dumps, rows)))
    write(
        "promptsource/templates.yaml",
        "dataset: d\ntemplates:\n  i: !Template\n    id: i\n    name: n\n    answer_choices: null\n"
        "    jinja: 'Same. ||| {{ a }}'\n    reference: ''\n    metadata: !TemplateMetadata\n"
        "      choices_in_prompt: false\n      languages: [en]\n      metrics: []\n"
        "      original_task: true\n",
    )
    examples = [{"input": f"q {i}", "target": f"a {i}"} for i in range(3)]
    write("bbh/one.json", json.dumps({"canary": "c", "examples": examples}))
    write("bbh/one.txt", "c\n-----\nAnswer.\n\nQ: a")
    seed = {"id": "s", "instruction": "Say it.", "instances": [pair]}
    write("self-instruct/seed_tasks.jsonl", json.dumps(seed))
    result = bench.lints.bench(tmp_path, quick=True)
    found = {row["collection"]: row for row in result["rows"]}
    assert [row["tasks"] for row in result["rows"]] == [1] * 6
    assert found["super-natural-instructions"]["unread"] == 1
    assert found["niv2 definitions"]["stated_space"]["example_allowed"] == 1
    assert found["T0 sample"]["lints"]["label_entropy_zero"]["count"] == 6
    assert list(found["promptsource"]["lints"]) == ["template_ignores_input"]
    assert found["BIG-Bench Hard"]["lints"] == {}
    assert list(found["Self-Instruct seeds"]["lints"]) == ["too_few_rows"]
    assert result["speed"]["rows"] == bench.lints.QUICK_ROWS
    text = bench.lint_page.lints_page(result)
    assert all(len(line) <= 100 or line.startswith("|") for line in text.splitlines())
