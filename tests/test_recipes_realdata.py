"""The recipes on real data: pytest -m realdata tests/test_recipes_realdata.py."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch

from regimen.cli import main
from regimen.instances.formats import read_source
from regimen.records import Item, Message, Preference
from regimen.settings.preferences import RewardModelSettings
from regimen.stages.reward_scores import RewardScores
from regimen.tables import (
    read_table,
    table_to_instances,
    table_to_labelled,
    table_to_preferences,
)

pytestmark = pytest.mark.realdata

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., dict[str, Any]]
Asked = tuple[Sequence[Message], Sequence[Message]]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a recipe with overrides in a folder of its own; every ledger adds up."""
    monkeypatch.chdir(tmp_path)
    for name in ("recipes", "src"):
        (tmp_path / name).symlink_to(ROOT / name)

    def run(name: str, *overrides: str) -> dict[str, Any]:
        with pytest.raises(SystemExit) as stopped:
            main(["run", f"recipes/{name}.yaml", *overrides])
        assert not stopped.value.code
        ledgers = sorted(Path("runs").rglob("ledger/summary.json"))
        assert ledgers
        for file in ledgers:
            for step in json.loads(file.read_text()).values():
                lost = sum(step["removed"].values()) + sum(step["failed"].values())
                assert step["in"] == step["kept"] + lost
        return {file.parts[-3]: json.loads(file.read_text()) for file in ledgers}

    return run


def rows_of(place: Path, first: int, last: int) -> list[Preference]:
    """Pairs of a source by their place in it."""
    pairs = [one for one in read_source(place) if isinstance(one, Preference)]
    return pairs[first:last]


def write(name: str, rows: Sequence[Any]) -> str:
    Path(name).write_text("\n".join(json.dumps(row) for row in rows))
    return name


def logps(folder: str, rows: Sequence[Asked]) -> list[float]:
    """Log-probability of each answer after its prompt, by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return [_logp(model, tokenizer, *row) for row in rows]


def _logp(
    model: Any, tokenizer: Any, prompt: Sequence[Message], answer: Sequence[Message]
) -> float:
    asked = [{"role": one.role, "content": one.text} for one in prompt]
    said = [{"role": one.role, "content": one.text} for one in answer]
    before = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template([*asked, *said], tokenize=False)
    assert whole.startswith(before)
    first = tokenizer(before, add_special_tokens=False)["input_ids"]
    rest = tokenizer(whole[len(before) :], add_special_tokens=False)["input_ids"]
    ids = torch.tensor([first + rest])
    with torch.no_grad():
        logp_TV = model(ids).logits[0].log_softmax(-1)
    return float(sum(logp_TV[len(first) + at - 1, token] for at, token in enumerate(rest)))


def margins(pairs: Sequence[Preference], tuned: str, aligned: str) -> list[float]:
    """By how much training moved each pair's chosen answer above its rejected one, in nats.

    Before the first step every margin is 0.
    """
    sides = [(one.prompt, answer) for one in pairs for answer in (one.chosen, one.rejected)]
    before, after = logps(tuned, sides), logps(aligned, sides)
    moved = [b - a for a, b in zip(before, after, strict=True)]
    return [a - b for a, b in zip(moved[::2], moved[1::2], strict=True)]


def assert_learnt(gained: Sequence[float]) -> None:
    """Margins are above 0 beyond chance: by their mean, and for more than half of the pairs."""
    error = stdev(gained) / len(gained) ** 0.5
    assert fmean(gained) > 3 * error
    share = fmean(margin > 0 for margin in gained)
    assert share > 0.5 + 2 * 0.5 / len(gained) ** 0.5


POLITE = "rasbt-instructions/instruction-data-with-preference.json.zst"
"""Pairs of a polite and an impolite answer: what even a small model can learn."""

SMALL = ("tune.num_train_epochs=1", "evaluate.safety.prompts=4", "evaluate.shots=[0]")
FEW = ("tune.num_train_epochs=1", "then[0].evaluate.safety.prompts=4", "then[0].evaluate.shots=[0]")


def test_dpo_prefers_what_people_prefer_on_pairs_it_did_not_see(
    recipe: Run, shared_data: Path
) -> None:
    place = shared_data / POLITE
    source = {"path": str(place), "limit": 240, "preferences_as": "both"}
    found = recipe("sft-dpo", f"build.sources=[{json.dumps(source)}]", *SMALL)
    assert found["build"]["read-instruction-data-with-preference-json-zst"]["in"] == 240
    trained = list(table_to_preferences(read_table("runs/sft-dpo/build/preferences.parquet")))
    assert len(trained) > 150
    pairs = rows_of(place, 900, 996)
    assert not {one.content_id for one in pairs} & {one.content_id for one in trained}
    gained = margins(pairs, "runs/sft-dpo/tune/final", "runs/sft-dpo/align/final")
    assert_learnt(gained)
    evaluation = json.loads(Path("runs/sft-dpo/evaluation.json").read_text())
    assert all("aligned" in one["systems"] for one in evaluation["suites"].values())


def test_kto_learns_labels_of_single_answers(recipe: Run, shared_data: Path) -> None:
    place = shared_data / POLITE
    rows = [
        {
            "prompt": one.prompt[0].text,
            "completion": (one.rejected if number % 2 else one.chosen)[0].text,
            "label": number % 2 == 0,
        }
        for number, one in enumerate(rows_of(place, 0, 400))
    ]
    labelled = {"format": "labelled", "preferences_as": "labelled"}
    sources = [
        {"path": write("polite.jsonl", rows), "name": "good"},
        {"path": "polite.jsonl", **labelled},
        {"path": str(shared_data / "llama-factory-demos/kto_en_demo.json.zst"), **labelled},
    ]
    found = recipe(
        "sft-kto",
        f"build.sources={json.dumps(sources)}",
        "build.curation.max_characters=500",
        *SMALL,
    )
    ledger = found["build"]
    assert ledger["read-good"]["failed"] == {"undesirable_answer": 200}
    assert ledger["answers-kto-en-demo-json-zst"]["kept"] == 300
    assert ledger["labelled-length"]["removed"]["too_long"] > 200
    kept = list(table_to_labelled(read_table("runs/sft-kto/build/labelled.parquet")))
    assert {one.lineage.source for one in kept} == {"polite.jsonl", "kto_en_demo.json.zst"}
    summary = json.loads(Path("runs/sft-kto/align/summary.json").read_text())
    assert sum(summary["labels"].values()) == summary["rows"] == len(kept)
    gained = margins(
        rows_of(place, 900, 996), "runs/sft-kto/tune/final", "runs/sft-kto/align/final"
    )
    assert_learnt(gained)


def _plain(turns: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": one.role, "content": one.text} for one in turns]


def test_the_reward_model_ranks_and_its_best_of_n_is_the_best_of_them(
    recipe: Run, shared_data: Path
) -> None:
    place = shared_data / POLITE
    source = {"path": str(place), "limit": 300, "preferences_as": "both"}
    asked = [_plain(one.prompt) for one in rows_of(place, 300, 324)]
    prompts = write("prompts.jsonl", [{"messages": one} for one in asked])
    found = recipe(
        "reward-best-of-n",
        f"build.sources=[{json.dumps(source)}]",
        f"then[0].build.feedback[0].prompts={prompts}",
        "then[0].build.feedback[0].samples=4",
        "then[0].build.feedback[0].keep_cut=true",
        "then[0].build.feedback[0].generator.max_new_tokens=24",
        "then[0].tune.num_train_epochs=1",
        *FEW,
    )
    rewards = json.loads(Path("runs/best-of-n/align/rewards.json").read_text())
    accuracy = rewards["dimensions"]["reward"]["accuracy"]
    assert accuracy["low"] > 0.5
    best = list(table_to_instances(read_table("runs/best-of-n-2/build/instances.parquet")))
    assert found["best-of-n-2"]["best-of-n-samples"]["in"] == 24 * 4
    assert len(best) == 24
    sampled: dict[str, list[str]] = {}
    for answer in _stored():
        question = answer["request"]["messages"][-1]["content"]
        sampled.setdefault(question, []).append(answer["completion"]["text"])
    scorer = RewardScores(RewardModelSettings(model="runs/best-of-n/align/final"))
    for one in best:
        *prompt, said = one.messages
        texts = sampled[prompt[-1].text]
        item = Item(suite="again", messages=tuple(prompt), references=())
        (scores,) = scorer.scores([(item, texts)])
        values = [score.value for score in scores if score.value is not None]
        (kept,) = (float(v.partition(":")[2]) for v in one.lineage.verdicts if v[:6] == "score:")
        assert kept == pytest.approx(max(values), rel=1e-3, abs=1e-4)
        assert values[texts.index(said.text)] == max(values)
    card = json.loads(Path("runs/best-of-n-2/build/data_card.json").read_text())
    block = card["feedback"]["best-of-n"]
    assert block["mean_best_score"] > block["mean_score"]


def _stored() -> Iterator[dict[str, Any]]:
    for file in sorted(Path(".cache/samples").rglob("*.json")):
        yield json.loads(file.read_text())


def test_revisions_carry_their_principle_and_are_learnt(recipe: Run, shared_data: Path) -> None:
    place = shared_data / "hh-rlhf/harmless-base__test.jsonl.gz"
    pairs = rows_of(place, 0, 400)
    short = [one for one in pairs if len(one.prompt) == 1 and len(one.prompt[0].text) < 200][:24]
    prompts = write("prompts.jsonl", [{"messages": _plain(one.prompt)} for one in short])
    found = recipe(
        "constitutional",
        f"then[0].build.feedback[0].prompts={prompts}",
        "build.sources[1].function.arguments.rows=60",
        "build.sources[2].function.arguments.rows=120",
        *FEW,
    )
    ledger = found["constitutional-2"]
    revisions = ledger["constitutional-revisions"]
    assert ledger["constitutional-prompts"]["kept"] == len(short) == 24
    assert revisions["in"] == ledger["constitutional-samples"]["kept"] > 12
    made = list(table_to_preferences(read_table("runs/constitutional-2/build/preferences.parquet")))
    assert 0 < len(made) <= revisions["kept"]
    for one in made:
        assert one.chosen != one.rejected
        assert one.lineage.variant == "constitutional"
        assert [v for v in one.lineage.verdicts if re.fullmatch(r"principle:(help|harm)\S+", v)]
    # a revision is what the critic answered after its critique of that very answer
    asked = [one for one in _stored() if len(one["request"]["messages"]) == 3]
    said = {one["completion"]["text"].strip(): one["request"]["messages"] for one in asked}
    found_in = [one for one in made if one.chosen[0].text in said]
    assert len(found_in) > len(made) / 2
    for one in found_in:
        question, critique, _ = said[one.chosen[0].text]
        assert one.rejected[0].text in question["content"]
        assert critique["role"] == "assistant"
        assert critique["content"]
    summary = json.loads(Path("runs/constitutional-2/align/summary.json").read_text())
    assert summary["pairs"] <= len(made)


def test_a_judge_s_labels_are_learnt_and_compared_with_people_s(
    recipe: Run, shared_data: Path
) -> None:
    place = shared_data / POLITE
    pairs = rows_of(place, 300, 340)
    rows = [
        {
            "prompt": one.prompt[0].text,
            "a": (one.chosen if number % 2 else one.rejected)[0].text,
            "b": (one.rejected if number % 2 else one.chosen)[0].text,
            "labels": ["a" if number % 2 else "b"],
        }
        for number, one in enumerate(pairs)
    ]
    prompts = write("prompts.jsonl", [{"messages": _plain(one.prompt)} for one in pairs[:16]])
    people = {
        "kind": "rlaif",
        "pairs": write("compared.jsonl", rows),
        "judge": {"generator": {"model": "$run/tune/final"}, "probabilities": True},
    }
    found = recipe(
        "rlaif",
        f"then[0].build.feedback[0].sampled.prompts={prompts}",
        f"then[0].build.feedback[1]={json.dumps(people)}",
        "then[0].build.feedback[0].sampled.keep_cut=true",
        "then[0].build.feedback[0].sampled.generator.max_new_tokens=24",
        "build.sources[1].function.arguments.rows=60",
        "build.sources[2].function.arguments.rows=200",
        *FEW,
    )
    ledger = found["rlaif-2"]
    asked = ledger["rlaif-samples"]
    assert asked["in"] == 16 * 4
    assert ledger["rlaif-2-labels"]["in"] == len(pairs)
    made = list(table_to_preferences(read_table("runs/rlaif-2/build/preferences.parquet")))
    assert made
    for one in made:
        assert one.lineage.variant == "rlaif"
        assert one.margin is not None
        assert one.margin > 0
        assert any(verdict.startswith("judged_by:") for verdict in one.lineage.verdicts)
    card = json.loads(Path("runs/rlaif-2/build/data_card.json").read_text())["feedback"]
    assert card["rlaif"]["kept"] == ledger["rlaif-labels"]["kept"]
    assert card["rlaif-2"]["people"]["pairs"] == len(pairs)
    assert 0 <= card["rlaif-2"]["position_consistency"] <= 1
    gained = margins(made, "runs/rlaif/tune/final", "runs/rlaif-2/align/final")
    assert fmean(gained) > 0
