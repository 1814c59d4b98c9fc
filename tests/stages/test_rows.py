"""pytest tests/stages/test_rows.py: overflow policies of tune and align, end to end."""

import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.curation.ledger import Ledger
from regimen.stages.rows import Account
from regimen.tokens.store import load_token_rows

SHORT = [("the dog", f"{a} cats") for a in "abcdef"]
LONG = [("the dog sees " * 2, "cats " * 12), ("the cat sees " * 12, "dogs")]


def chat(*turns):
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": roles[i % 2], "content": text.strip()} for i, text in enumerate(turns)
        ]
    }


CHATS = [chat(*turns) for turns in SHORT + LONG] + [chat(*SHORT[0], *SHORT[1], *SHORT[2])]


def write(project, name, **stages):
    file = project.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"run": f"runs/{name}", **stages}))
    return file.name


def tuned(project, policy, **more):
    """Tune on chats and long ones; the counts, the rows and the text of what is learnt."""
    (project.folder / "chats.jsonl").write_text("\n".join(map(json.dumps, CHATS)))
    tune = {
        "model": {"path": "base"},
        "max_steps": 1,
        "tokens_per_batch": 64,
        "max_length": 40,
        "precision": "fp32",
        "overflow": policy,
        "max_lost_share": 1.0,
        **more,
    }
    build = {"sources": [{"path": "chats.jsonl"}]}
    assert project.run(write(project, policy, build=build, tune=tune)) == 0
    folder = project.folder / f"runs/{policy}/tune"
    counts = json.loads((folder / "rendering.json").read_text())
    return counts, load_token_rows(folder / "tokens.arrow")


@pytest.mark.parametrize(
    ("policy", "removed", "changed"),
    [
        ("drop", {"longer_than_max_length": 3}, None),
        ("truncate", {"nothing_supervised_once_cut": 1}, {"truncated": 2}),
        ("split", {}, {"split": 3}),
    ],
)
def test_each_policy_reconciles_and_counts_what_is_lost(
    text_project, policy, removed, changed, capfd
):
    counts, rows = tuned(text_project, policy)
    assert counts["in"] == 9 == counts["kept"] + sum(counts["removed"].values())
    assert counts["removed"] == removed
    assert counts.get("changed") == changed
    assert int(rows.lengths.max()) <= 40
    over = counts["overflow"]
    assert over["longer"] == 3
    assert over["supervised_tokens"] - over["lost_tokens"] == int(rows.supervised.sum())
    assert counts["rows"] == len(rows)
    said = capfd.readouterr().out
    assert (
        f"tune: 3 of 9 conversations are longer than 40 tokens (the longest has {over['longest']})"
        in said
    )
    assert f"{over['lost_tokens']:,} of {over['supervised_tokens']:,} supervised tokens" in said
    if policy == "split":
        assert over["lost_tokens"] == 0
        assert len(rows) > 9
    summary = json.loads((text_project.folder / f"runs/{policy}/tune/summary.json").read_text())
    assert summary["rendering"]["overflow"] == over


def test_a_cut_answer_still_ends_its_turn(text_project):
    from transformers import AutoTokenizer

    _, rows = tuned(text_project, "truncate")
    end = AutoTokenizer.from_pretrained(text_project.folder / "base").convert_tokens_to_ids(
        "<|im_end|>"
    )
    for row in range(len(rows)):
        (segment,) = rows.segments([row])
        learnt = np.flatnonzero(segment.weights)
        assert segment.ids[learnt[-1]] == end
    assert max(rows.lengths) == 40


@pytest.mark.parametrize(("policy", "kept", "rows"), [("drop", 1, 1), ("truncate", 2, 2)])
def test_plain_text_may_be_dropped_or_cut(text_project, policy, kept, rows):
    (text_project.folder / "text.txt").write_text("the dog\n\n" + "the cat sees " * 30)
    file = text_project.settings("t", overflow=policy, max_lost_share=1.0, max_steps=1)
    assert text_project.run(file) == 0
    counts = json.loads((text_project.folder / "runs/t/tune/rendering.json").read_text())
    assert (counts["in"], counts["kept"], counts["rows"]) == (2, kept, rows)
    found = load_token_rows(text_project.folder / "runs/t/tune/tokens.arrow")
    assert found.name(0) == "text 1"
    assert counts["overflow"]["lost_tokens"] > 0


def test_plain_text_is_split_by_default(text_project):
    (text_project.folder / "text.txt").write_text("the cat sees " * 60)
    assert text_project.run(text_project.settings("t", max_steps=1)) == 0
    counts = json.loads((text_project.folder / "runs/t/tune/rendering.json").read_text())
    found = load_token_rows(text_project.folder / "runs/t/tune/tokens.arrow")
    assert counts["changed"] == {"split": 1}
    assert counts["rows"] == len(found) > 1
    # the first token of each further piece has nothing before it
    assert counts["overflow"]["lost_tokens"] == len(found) - 1


@pytest.mark.parametrize(
    ("policy", "kept", "removed"),
    [
        ("drop", 1, {"longer_than_max_length": 2}),
        ("truncate", 2, {"nothing_supervised_once_cut": 1}),
    ],
)
def test_a_long_pair_is_left_out_or_loses_its_oldest_turns(text_project, policy, kept, removed):
    old = [{"role": "user", "content": "the dog sees"}, {"role": "assistant", "content": "cats"}]
    pairs = [
        {"prompt": "the dog", "chosen": "sees cats", "rejected": "the"},
        {"prompt": old * 4 + [old[0]], "chosen": "sees cats", "rejected": "the"},
        {"prompt": "the dog", "chosen": "sees cats " * 20, "rejected": "the"},
    ]
    (text_project.folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    align = {
        "model": {"path": "base"},
        "max_steps": 1,
        "tokens_per_batch": 128,
        "max_length": 40,
        "precision": "fp32",
        "overflow": policy,
        "max_lost_share": 1.0,
    }
    build = {"sources": [{"path": "pairs.jsonl"}]}
    assert text_project.run(write(text_project, "a", build=build, align=align)) == 0
    folder = text_project.folder / "runs/a/align"
    counts = json.loads((folder / "rendering.json").read_text())
    assert (counts["in"], counts["kept"]) == (3, kept)
    assert counts["removed"] == removed
    rows = load_token_rows(folder / "tokens.arrow")
    answers = [tuple(segment.ids) for segment in rows.segments(range(len(rows)))[1::3]]
    assert len(answers) == kept
    assert len(set(answers)) == 1, "answers stay whole"


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 10), st.integers(0, 3))))
@examples(20)
def test_every_record_is_kept_or_removed(tmp_path_factory, records):
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    with ledger.step("rendering") as step:
        found = Account(step, "text", limit=10, policy="drop")
        for longest, supervised, rows in records:
            step.enter()
            found.settle("it", rows, supervised=supervised, lost=0, longest=longest)
    counts = found.counts()
    assert counts["in"] == len(records) == counts["kept"] + sum(counts["removed"].values())
    assert counts["kept"] == sum(1 for *_, rows in records if rows)
    assert counts["rows"] == sum(rows for *_, rows in records)
    assert counts["overflow"]["longer"] == sum(1 for longest, *_ in records if longest > 10)
