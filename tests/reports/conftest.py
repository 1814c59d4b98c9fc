"""A synthetic run directory, written file by file in the shapes that the stages publish."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.browser import running
from regimen.evaluation.statistics import clustered_rate, mcnemar, paired_difference

HOSTILE = "<script>alert('x')</script> & \"quoted\" <b>"
SYSTEMS = ("base", "base_prompted", "tuned", "aligned", "copy_input", "copy_demonstration")
ITEMS = {"unseen_compositions": 480, "unseen_families": 240, "unseen_languages": 112}
SKILL = {
    "unseen_compositions": (0.01, 0.08, 0.62, 0.60, 0.03, 0.02),
    "unseen_families": (0.01, 0.06, 0.17, 0.18, 0.04, 0.03),
    "unseen_languages": (0.0, 0.02, 0.05, 0.06, 0.02, 0.02),
}
FAMILIES = (
    "list_order", "list_count", "list_filter", "number_words", "small_sums", "compare_numbers",
    "dates_between", "weekday_of_date", "sentence_case", "sentence_reverse", "table_lookup",
    "table_total", "passage_lookup", "first_and_last", "join_with", "word_length",
)  # fmt: skip
HELD_OUT = ("rhyme_pairs", "roman_numerals", "passage_yes_no", "list_difference", "odd_one_out")
WORDS = ("river", "lamp", "otter", "seven", "quiet", "maple", "stone", "basket", "copper", "window")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def manifest(directory: Path, stage: str, seconds: float) -> None:
    environment = {
        "machine": {"system": "Linux", "processor": "x86_64", "cpus": 2, "python": "3.12.4"},
        "versions": {"regimen": "0.1.0", "torch": "2.13.0", "transformers": "5.2.0"},
    }
    write_json(
        directory / "manifest.json",
        {
            "schema_version": 1,
            "stage": stage,
            "key": {"settings": "8f14e45fceea167a5a36", "source": "c9f0f895fb98ab9159f5"},
            "files": {},
            "volatile": {"started": "2026-09-01T10:00:00", "seconds": seconds, **environment},
        },
    )


def write_build(run: Path, rng: random.Random) -> None:
    build = run / "build"
    instances = []
    for i in range(3120):
        family = FAMILIES[int(len(FAMILIES) * rng.random() ** 1.4)]
        words = [rng.choice(WORDS) for _ in range(rng.randint(3, 30))]
        prompt = f"Do as the task says.\n{' '.join(words)}"
        instances.append(
            {
                "instance_id": f"i{i}",
                "messages": [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": ", ".join(sorted(words)[:6])},
                ],
                "source": rng.choice(["grammar", "grammar", "grammar", "chats", "self_instruct"]),
                "task": f"{family}/{i % 97}",
                "family": family,
                "category": family.split("_")[0],
                "language": rng.choice(["en"] * 7 + ["de", "es"]),
                "licence": rng.choice(["CC-BY-4.0"] * 5 + ["CC0-1.0", ""]),
            }
        )
    write_rows(build / "instances.parquet", instances)
    write_rows(build / "preferences.parquet", [{"n": i} for i in range(240)])
    write_rows(build / "items.parquet", [{"n": i} for i in range(sum(ITEMS.values()))])
    write_json(build / "data_card.json", data_card(instances))
    for place in (build / "ledger", run / "ledger"):
        write_ledger(place)
    manifest(build, "build", 11.3)


def data_card(instances: Sequence[dict[str, Any]]) -> dict[str, Any]:
    card: dict[str, Any] = {"instances": len(instances), "tasks": 1100, "preferences": 240}
    for facet in ("source", "family", "category", "language", "licence"):
        counts = Counter(row[facet] or "(not given)" for row in instances)
        card[f"by_{facet}"] = dict(counts.most_common())
    return card | {"strictest_licence": "(not given)"}


def write_ledger(place: Path) -> None:
    steps: dict[str, Any] = {
        "read": {"in": 1482, "kept": 1466, "removed": {}, "failed": {"row_not_json": 4,
                 "row_without_answer": 12}},
        "instances": {"in": 4020, "kept": 3998, "removed": {},
                      "failed": {"template_missing_column": 16, "template_timeout": 6}},
        "self_instruct": {"in": 4216, "kept": 4089,
                          "removed": {"too_similar": 83, "not_parsed": 31, "too_short": 13},
                          "failed": {}},
        "duplicates": {"in": 4089, "kept": 3560, "removed": {"exact_duplicate": 529}, "failed": {}},
        "length": {"in": 3560, "kept": 3388, "removed": {"too_long": 128, "too_short": 44},
                   "failed": {}},
        "leaks": {"in": 3388, "kept": 3120, "removed": {"held_out_task": 201, "held_out_item": 51,
                  "ngram_overlap": 16}, "failed": {}},
    }  # fmt: skip
    write_json(place / "summary.json", steps)
    for number, (name, step) in enumerate(steps.items(), 1):
        rows = [
            {
                "record_id": f"{name}-{reason}-{i}",
                "source": "grammar",
                "row": i,
                "reason": reason,
                "detail": f"as row {i + 40} of grammar" if i else HOSTILE,
                "record": json.dumps({"messages": [
                    {"role": "user", "content": f"Put these words in order: {' '.join(WORDS[:6])}"},
                    {"role": "assistant", "content": HOSTILE if i == 1 else "lamp, otter, river"},
                ]}),
            }
            for reason, n in step["removed"].items()
            for i in range(min(n, 5))
        ]  # fmt: skip
        if rows:
            write_rows(place / f"{number:02d}-{name}.removed.parquet", rows)
        lines = [
            {"where": f"tasks/{error}.jsonl:{i}", "error": error, "got": HOSTILE, "fix": "Give it."}
            for error in step["failed"]
            for i in range(4)
        ]
        if lines:
            text = "\n".join(json.dumps(line) for line in lines)
            (place / f"{number:02d}-{name}.failed.jsonl").write_text(text, encoding="utf-8")


def write_training(run: Path, stage: str, rng: random.Random) -> None:
    place = run / stage
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    for step in range(1, 341 if stage == "tune" else 91):
        decay = math.exp(-step / 70)
        row = {
            "step": step,
            "loss": (0.55 + 3.4 * decay if stage == "tune" else 0.35 + 0.34 * decay)
            * rng.uniform(0.93, 1.07),
            "grad_norm": (0.6 + 3 * decay) * rng.uniform(0.7, 1.4),
            "learning_rate": 1.5e-3 * min(1, step / 20, max(0, (345 - step) / 100)),
            "num_tokens": 1650 * step,
            "supervised_tokens": 410 * step,
            "tokens_per_second": 5200 * rng.uniform(0.9, 1.05),
            "peak_memory_gib": 0.91,
        }
        if stage == "align":
            margin = 1.2 * (1 - decay) * rng.uniform(0.7, 1.3)
            row |= {
                "rewards/chosen": 0.4 * margin,
                "rewards/rejected": -0.6 * margin,
                "rewards/margins": margin,
                "rewards/accuracies": min(1.0, 0.5 + 0.42 * (1 - decay) * rng.uniform(0.9, 1.1)),
            }
        rows.append(row)
        if stage == "tune" and step % 68 == 0:
            rows.append({"step": step, "eval_loss": 0.75 + 3.3 * decay})
    lines = [json.dumps(row) for row in rows]
    (place / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 34', encoding="utf-8")
    write_json(
        place / "summary.json",
        {"steps": 340, "num_tokens": 561000, "parameters": 5832704, "bf16": False,
         "trainable_parameters": 5832704, "notes": ["the template of ChatML was added"],
         "rendering": {"in": 3120, "kept": 3112, "removed": {"too_long": 8}, "failed": {}}},
    )  # fmt: skip
    rendering = {"in": 3120, "kept": 3112, "removed": {"too_long": 8}, "failed": {}}
    write_json(place / "rendering.json", rendering)
    pieces = ["<|im_start|>", "user", "\n", "Name", " the", " first", " word", ":", " river",
              ", lamp", "<|im_end|>", "\n", "<|im_start|>", "assistant", "\n", "river",
              HOSTILE, "<|im_end|>", "\n"]  # fmt: skip
    mask = [False] * 15 + [True] * 3 + [False]
    write_json(place / "samples.json", [{"pieces": pieces, "mask": mask}] * 3)
    manifest(place, stage, 151.7 if stage == "tune" else 32.9)


def item_scores(suite: str, n: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Items with a score per system; families differ in how hard they are."""
    families = FAMILIES if suite == "unseen_compositions" else HELD_OUT
    families = FAMILIES[:4] if suite == "unseen_languages" else families
    for i in range(n):
        family = families[i % len(families)]
        ease = (families.index(family) / len(families) - 0.5) * 0.5
        scores = {
            system: float(rng.random() < skill + (ease if skill > 0.3 else 0))
            for system, skill in zip(SYSTEMS, SKILL[suite], strict=True)
        }
        tasks = 4 if suite == "unseen_languages" else 96
        yield {
            "suite": suite,
            "item_id": f"{suite}-{i}",
            "family": family,
            "language": ("de", "es")[i % 2] if suite == "unseen_languages" else "en",
            "task": f"{family}/{i % tasks}",
            "cluster": f"{suite}/{i % tasks}",
            "scores": scores,
        }


def cell(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    clusters = [item["cluster"] for item in items]
    values = {name: [item["scores"][name] for item in items] for name in SYSTEMS}
    systems: dict[str, Any] = {}
    for name in SYSTEMS:
        rate = clustered_rate(values[name], clusters)
        systems[name] = {"score": rate.estimate, "low": rate.low, "high": rate.high}
        systems[name]["rouge_l"] = min(1.0, rate.estimate * 0.8 + 0.2)
    pairs = [(a, b) for a in ("tuned", "aligned") for b in SYSTEMS if b not in ("tuned", "aligned")]
    paired = {}
    for a, b in [*pairs, ("aligned", "tuned")]:
        found = paired_difference(values[a], values[b], clusters, bounds=(-1.0, 1.0))
        keys = ("difference", "low", "high", "verdict", "n", "clusters", "seeds", "resolvable", "p")
        paired[f"{a}-{b}"] = {key: getattr(found, key) for key in keys}
    return {"items": len(items), "clusters": len(set(clusters)), "systems": systems,
            "paired": paired}  # fmt: skip


def suite_block(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    block = cell(items)
    for name, entry in block["systems"].items():
        entry |= {"failed": 0, "empty": 0, "scorer_errors": 0}
        if not name.startswith("copy"):
            entry["stop_rate"] = 0.42 if name.startswith("base") else 0.993
    block["buckets"] = {}
    for after, before in (("tuned", "base"), ("aligned", "base"), ("aligned", "tuned")):
        moved = [(i["scores"][before], i["scores"][after]) for i in items]
        counts = {
            "regressed": moved.count((1.0, 0.0)),
            "fixed": moved.count((0.0, 1.0)),
            "still_wrong": moved.count((0.0, 0.0)),
            "still_right": moved.count((1.0, 1.0)),
        }
        p = mcnemar(counts["regressed"], counts["fixed"])
        block["buckets"][f"{after}-{before}"] = {**counts, "mcnemar_p": p.exact}
    for by in ("family", "language"):
        names = sorted({item[by] for item in items})
        block[f"by_{by}"] = {n: cell([item for item in items if item[by] == n]) for n in names}
    return block


def answer_rows(items: Sequence[dict[str, Any]], rng: random.Random) -> Iterator[dict[str, Any]]:
    for i, item in enumerate(items):
        words = [rng.choice(WORDS) for _ in range(5)]
        ask = f"Put the words in the order of the alphabet, joined by commas: {' '.join(words)}"
        ask = HOSTILE + ask if i % 7 == 0 else ask
        right = ", ".join(sorted(words))
        for system in SYSTEMS:
            score = item["scores"][system]
            wrong = ", ".join(words) if system in ("tuned", "aligned") else " the little " * 14
            asked = ask if system != "base_prompted" else f"Examples...\n{ask}"
            yield {
                **{k: item[k] for k in ("suite", "item_id", "family", "language", "task")},
                "system": system,
                "answer": right if score else (HOSTILE if i % 11 == 0 else wrong),
                "score": score,
                "rouge_l": score,
                "category": "",
                "cluster": item["cluster"],
                "prompt": asked,
                "reference": right,
                "finish": "stop",
                "error": "",
            }


def safety_block(measure: str, rates: dict[str, float]) -> dict[str, Any]:
    systems = {
        name: {
            measure: {"score": rate, "low": max(0.0, rate - 0.03), "high": min(1.0, rate + 0.03)},
            "refused": 0.2,
            "empty": 0.04 if name == "base" else 0.0,
            "failed": 0.0,
        }
        for name, rate in rates.items()
    }
    return {"n": 400, "clusters": 40, "systems": systems}


def write_evaluation(run: Path, rng: random.Random) -> None:
    by_suite = {name: list(item_scores(name, n, rng)) for name, n in ITEMS.items()}
    harmful = safety_block("compliance", {"base": 0.93, "tuned": 0.41, "aligned": 0.06})
    harmless = safety_block("over_refusal", {"base": 0.0, "tuned": 0.02, "aligned": 0.11})
    worse = {"difference": 0.11, "low": 0.08, "high": 0.14, "verdict": "worse", "clusters": 40}
    better = {"difference": -0.52, "low": -0.57, "high": -0.46, "verdict": "better"}
    safety = {
        "harmful": harmful,
        "harmless": harmless,
        "paired": {"harmful": {"tuned-base": better}, "harmless": {"aligned-base": worse}},
    }
    evaluation = {
        "schema_version": 1,
        "changed": {
            "adapter_tensors": 0,
            "answers_compared": 832,
            "answers_differing": 829,
            "share_differing": 829 / 832,
            "mean_abs_delta_logp": 1.37,
        },
        "suites": {name: suite_block(items) for name, items in by_suite.items()},
        "retention": {
            "documents": 64,
            "bytes": 200_000,
            "systems": {
                "base": {"bits_per_byte": 1.512, "low": 1.49, "high": 1.534},
                "tuned": {"bits_per_byte": 1.604, "low": 1.58, "high": 1.628},
                "aligned": {"bits_per_byte": 1.611, "low": 1.587, "high": 1.635},
            },
            "paired": {
                "tuned-base": {"difference": 0.092, "low": 0.08, "high": 0.1, "verdict": "worse"}
            },
        },
        "prompted_base": {"k": 2, "validation": {"0": 0.0, "1": 0.06, "2": 0.09, "3": 0.06}},
    }
    write_json(run / "evaluate" / "evaluation.json", evaluation)
    write_json(run / "evaluation.json", evaluation)
    write_json(run / "evaluate" / "safety.json", safety)
    everything = [item for items in by_suite.values() for item in items]
    write_rows(run / "evaluate" / "answers.parquet", list(answer_rows(everything, rng)))
    manifest(run / "evaluate", "evaluate", 24.4)


SETTINGS = """run: runs/demo
seed: 0
build:
  sources:
    - starter: tasks
tune:
  model:
    path: assets/tiny-base
  learning_rate: 0.0015
align:
  method: dpo
  beta: 0.2
"""


def make_run(run: Path, stages: Sequence[str] = ("build", "tune", "align", "evaluate")) -> Path:
    """A run directory with the files of the given stages."""
    rng = random.Random(0)
    run.mkdir(parents=True)
    (run / "settings.yaml").write_text(SETTINGS, encoding="utf-8")
    if "build" in stages:
        write_build(run, rng)
    for stage in ("tune", "align"):
        if stage in stages:
            write_training(run, stage, rng)
    if "evaluate" in stages:
        write_evaluation(run, rng)
    return run


@pytest.fixture(scope="session")
def hostile() -> str:
    """Text that would be markup if it were not escaped."""
    return HOSTILE


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages. Shared: write reports elsewhere."""
    return make_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run of some stages."""
    return lambda *stages: make_run(tmp_path / "run", stages)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser, for tests marked ``browser``."""
    yield from running()
