"""What the cells of the study of alignment do: pytest tests/stages/test_study_alignment.py."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

import regimen
from regimen.cli import main
from regimen.protocols import Completion
from regimen.records import Item, Message
from regimen.runs import Run
from regimen.stages.models import LazyGenerator, load
from regimen.stages.study_drift import _measured, _spread
from regimen.stages.study_requests import write_requests
from regimen.stages.study_scores import keep_scores
from regimen.studies.alignment import CHOICE_SUITES, CONVERSATIONS, PAIRS, SUITES, file_of
from regimen.tables import read_table, table_to_preferences, write_table

TINY_BASE = Path(regimen.__file__).parent / "assets" / "tiny-base"
"""The small base of the tests has no room for a request."""


def written(folder: Path, seed: int, items_seed: int = 1) -> Path:
    run = Run.start(folder, stage="cell", key={})
    work: dict[str, Any] = {"conversations": 40, "refused": 0.5, "pairs": 20, "prompts": 24}
    work |= {"rate_prompts": 12, "items_seed": items_seed}
    counts = write_requests({"work": work, "seed": seed}, run)
    assert counts == {"conversations": 40, "pairs": 20, "prompts": 24}
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_learnt_is_the_cell_s_and_what_is_asked_is_the_file_s(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one", 2), written(tmp_path / "other", 3)
    assert len(lines(one / CONVERSATIONS)) == 40
    assert lines(one / CONVERSATIONS) != lines(other / CONVERSATIONS)
    pairs = [list(table_to_preferences(read_table(place / PAIRS))) for place in (one, other)]
    assert len(pairs[0]) == 20
    assert pairs[0] != pairs[1]
    for suite in SUITES:
        items = lines(one / file_of(suite))
        assert items == lines(other / file_of(suite))
        assert len({item["prompt"] for item in items}) == 24
        assert len({item["cluster"] for item in items}) >= 12
    asked = {item["prompt"] for suite in SUITES for item in lines(one / file_of(suite))}
    for suite in CHOICE_SUITES:
        chosen_by = {item["prompt"] for item in lines(one / file_of(suite))}
        assert len(chosen_by) == 12
        assert not chosen_by & asked
    third = written(tmp_path / "third", 2, items_seed=7)
    assert lines(third / file_of(SUITES[0])) != lines(one / file_of(SUITES[0]))


def test_other_numbers_of_an_answer_are_kept_as_suites_of_their_own(tmp_path: Path) -> None:
    rows = [
        {
            **dict.fromkeys(("item_id", "system", "cluster", "task", "family"), "x"),
            "suite": suite,
            "language": "en",
            "answer": "one two three",
            "score": 0.0,
            "helps": 1.0,
        }
        for suite in ("harmless", "harmful")
    ]
    write_table(tmp_path / "answers.parquet", pa.Table.from_pylist(rows))
    beside = {"harmless": {"helps": "helped", "words": "length"}}
    keep_scores(tmp_path / "answers.parquet", tmp_path / "scores.parquet", beside)
    found = {
        row["suite"]: row["score"] for row in pq.read_table(tmp_path / "scores.parquet").to_pylist()
    }
    assert found == {"harmless": 0.0, "harmful": 0.0, "helped": 1.0, "length": 3.0}
    keep_scores(tmp_path / "answers.parquet", tmp_path / "scores.parquet")
    assert pq.read_table(tmp_path / "scores.parquet").num_rows == 2


def items(count: int) -> list[Item]:
    return [
        Item(suite="s", messages=(Message(role="user", content=f"the {n} dog"),), references=("x",))
        for n in range(count)
    ]


def test_prompts_are_spread_over_a_suite() -> None:
    some = items(10)
    assert _spread(some, 4) == [some[0], some[3], some[6], some[9]]
    assert _spread(some, 20) == some


def test_divergence_is_the_mean_log_ratio_of_whole_answers(
    shared_project: Any, tmp_path: Path
) -> None:
    base = str(shared_project.folder / "base")
    moved = _moved(base, tmp_path / "moved")
    models = {
        name: LazyGenerator(name, partial(load, path))
        for name, path in (("aligned", moved), ("start", base))
    }
    asked = items(3)
    said = ("sees b cats", "the cat", "never ends")
    samples = {
        item.item_id: Completion(text=text, finish="length" if place == 2 else "stop", tokens=4)
        for place, (item, text) in enumerate(zip(asked, said, strict=True))
    }
    found = _measured(models, asked, samples)
    assert (found["answers"], found["cut"], found["tokens"]) == (2, 1, 4.0)
    ratios = [
        _logp(moved, item, text) - _logp(base, item, text)
        for item, text in zip(asked[:2], said, strict=False)
    ]
    assert found["kl"] == pytest.approx(sum(ratios) / 2, abs=1e-3)
    assert found["kl_se"] == pytest.approx(abs(ratios[0] - ratios[1]) / 2, abs=1e-3)
    models["aligned"] = models["start"]
    assert _measured(models, asked, samples)["kl"] == 0.0
    cut = {key: Completion(text="x", finish="length", tokens=1) for key in samples}
    nothing = _measured(models, asked, cut)
    assert (nothing["kl"], nothing["kl_se"], nothing["cut"]) == (None, None, 3)


def _moved(base: str, place: Path) -> str:
    """The base with a last norm that is another one."""
    from regimen.models.loading import load_tokenizer

    network = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        network.model.norm.weight.mul_(1.7)
    network.save_pretrained(place)
    load_tokenizer(base).save_pretrained(place)
    return str(place)


def _logp(path: str, item: Item, answer: str) -> float:
    """Naive: one prompt, one answer with the end of its turn, one forward pass."""
    it = load(path)
    turns = [[Message(role="assistant", content=answer)]]
    prompt, (rest,) = it.renderer.answered(item.messages, turns)
    ids = torch.tensor([[*prompt, *rest]])
    with torch.no_grad():
        logp = it.language_model.model(input_ids=ids).logits.log_softmax(-1)[0]
    places = range(len(prompt) - 1, len(prompt) + len(rest) - 1)
    return float(sum(logp[place, ids[0, place + 1]] for place in places))


@pytest.mark.slow
def test_it_runs_from_settings_to_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"tokens_per_batch": 1024, "max_length": 512, "precision": "fp32"}
    task = {
        "name": "colours",
        "definition": "Say the colour.",
        "instances": [{"input": f"a {n} hat", "output": "red"} for n in range(12)],
    }
    folder = tmp_path
    monkeypatch.chdir(folder)
    (folder / "tasks").mkdir()
    for name in "abc":
        file = folder / "tasks" / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**task, "name": f"colours_{name}"}))
    sft = {"method": "sft", "learning_rates": [1e-4]}
    body = {
        "run": "runs/alignment",
        "build": {"sources": [{"path": "tasks"}], "held_out": {"tasks": ["colours_c"]}},
        "tune": {"model": {"path": str(TINY_BASE)}, "learning_rate": 0.001, **long},
        "align": long,
        "evaluate": {"max_new_tokens": 2},
        "study": {
            "seeds": 1,
            "jobs": 2,
            "tokens": 1100,
            "alignment": {
                "prompts": 12,
                "conversations": 12,
                "pairs": 8,
                "parent_tokens": 1100,
                "rate_prompts": 12,
                "methods": {"dpo": {"method": "dpo", "learning_rates": [1e-4, 1e-3]}, "sft": sft},
                "betas": [],
                "own_methods": [],
                "answers": 2,
            },
        },
    }
    (folder / "alignment.yaml").write_text(yaml.safe_dump(body))
    with pytest.raises(SystemExit) as stopped:
        main(["study", "alignment.yaml", "--json"])
    assert stopped.value.code == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {cell["state"] for cell in result["cells"]} == {"done"}
    made = {cell["factors"].get("arm"): cell["result"] for cell in result["cells"]}
    assert set(made) == {None, "parent", "dpo", "sft"}
    assert len([cell for cell in result["cells"] if "tried" in cell["factors"]]) == 2
    assert all(made["dpo"]["drift"][kind]["answers"] <= 2 for kind in ("harmful", "harmless"))
    assert made["dpo"]["num_tokens"] >= 1100
    left = {path.name for path in (folder / "runs/alignment/cells").rglob("data=*/**/*")}
    assert "model.safetensors" not in left
