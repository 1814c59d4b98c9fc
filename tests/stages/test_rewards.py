"""pytest tests/stages/test_rewards.py: align with a reward method, and its models in use."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from regimen.alignment.reward_spec import read_spec
from regimen.errors import RegimenError
from regimen.objectives.reward import RewardObjective
from regimen.records import Item, Labelled, Lineage, Message, Preference, Ranked, Stepwise
from regimen.settings.preferences import RewardModelSettings, ScoreSettings
from regimen.stages.on_policy import make_scorer
from regimen.tables import (
    labelled_to_table,
    preferences_to_table,
    ranked_to_table,
    read_table,
    stepwise_to_table,
    table_to_preferences,
    table_to_stepwise,
    write_table,
)
from regimen.tokens.rendering import Renderer

COMMON = {
    "max_steps": 6,
    "tokens_per_batch": 160,
    "max_length": 64,
    "logging_steps": 1,
    "precision": "fp32",
    "learning_rate": 0.005,
    "schedule": "constant",
    "warmup_ratio": 0.0,
    "held_out": 0.25,
}


def said(text, role="assistant"):
    return (Message(role=role, content=text),)


PAIRS = [
    Preference(
        prompt=said(f"the {a} dog {b}", "user"),
        chosen=said(f"sees {a} cats"),
        rejected=said("the the" if b == "x" else "the cats the cats"),
        margin=0.5 + place,
        dimensions=("helpful",) if b == "x" else ("helpful", "harmless"),
        lineage=Lineage(source=b, row=row),
    )
    for row, a in enumerate("abcdef")
    for place, b in enumerate("xy")
]
RANKED = [
    Ranked(
        prompt=one.prompt,
        answers=(one.rejected, one.chosen, said("cats"), said("dogs")),
        scores=(1.0, 3.0, 2.0, 2.0),
        lineage=one.lineage,
    )
    for one in PAIRS
]
STEPS = [
    Stepwise(
        prompt=one.prompt,
        steps=(f"sees {n} cats", "the dog", "cats"),
        labels=(1.0, float(n % 2), 0.0),
        lineage=one.lineage,
    )
    for n, one in enumerate(PAIRS)
]


@pytest.fixture
def project(text_project):
    data = text_project.folder / "data"
    write_table(data / "preferences.parquet", preferences_to_table(PAIRS))
    write_table(data / "ranked.parquet", ranked_to_table(RANKED))
    write_table(data / "stepwise.parquet", stepwise_to_table(STEPS))
    return text_project


def align(project, name="r", **changes):
    """Run; the exit status."""
    section = {**COMMON, "method": "reward", "model": {"path": "base"}, "data": "data", **changes}
    file = project.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"run": f"runs/{name}", "align": section}))
    return project.run(file.name)


def told(name="r", file="summary.json"):
    return json.loads(Path(f"runs/{name}/align/{file}").read_text())


def logged(name="r"):
    lines = Path(f"runs/{name}/align/metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def asked(count=3):
    """Prompts, each with answers of different lengths."""
    return [
        (Item(suite="s", messages=one.prompt, references=()), ("sees a cats", "the", "cats cats"))
        for one in PAIRS[:count]
    ]


def plain_scores(path, items, cut=None):
    """What transformers says of every answer: unpadded, and right-padded together."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    renderer = Renderer(tokenizer)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    texts = []
    for item, answers in items:
        prompt, found = renderer.answered(item.messages, [said(answer) for answer in answers])
        texts += [[*prompt, *ids] for ids in found]
    width = max(map(len, texts)) + 3
    pad = model.config.pad_token_id
    padded = torch.tensor([ids + [pad] * (width - len(ids)) for ids in texts])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in texts])
    with torch.no_grad():
        alone = torch.cat([model(input_ids=torch.tensor([ids])).logits for ids in texts])
        together = model(input_ids=padded, attention_mask=mask).logits
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)
    return alone


def scored(items, **section):
    """What the scorer of the settings says."""
    scorer = make_scorer(ScoreSettings(reward=RewardModelSettings(**section)))
    return torch.tensor([[one.value for one in own] for own in scorer.scores(items)])


def test_a_reward_model_learns_what_is_preferred_and_is_saved_as_transformers_reads_it(project):
    assert align(project, margin=True, center_rewards_coefficient=0.01) == 0
    first, last = logged()[0], logged()[-1]
    assert last["reward"] < first["reward"]
    assert last["loss"] == pytest.approx(last["reward"] + last["centring"], rel=1e-5)
    assert last["rewards/margins"] == pytest.approx(
        last["rewards/chosen"] - last["rewards/rejected"], abs=1e-5
    )
    summary = told()
    assert summary["rows"] + summary["held_out_rows"] == len(PAIRS)
    assert "reference" not in summary
    quality = told(file="rewards.json")
    (one,) = quality["dimensions"].values()
    assert one["pairs"] == quality["rows"] == summary["held_out_rows"]
    assert one["accuracy"] == summary["rewards"]["accuracy"]["reward"]
    assert sum(b["items"] for b in one["calibration"]["bins"]) == one["pairs"]
    assert Path("runs/r/align/calibration.svg").read_text().startswith("<svg")
    final = "runs/r/align/final"
    assert told(file="final/config.json")["architectures"] == ["LlamaForSequenceClassification"]
    assert read_spec(Path(final)).names == ("reward",)
    items = asked()
    torch.testing.assert_close(
        scored(items, model=final).flatten().float(),
        plain_scores(final, items)[:, 0],
        atol=1e-5,
        rtol=1e-4,
    )


def test_a_row_names_its_dimensions_and_each_has_a_score(project):
    assert align(project, dimensions=["helpful", "harmless"], held_out=0.5) == 0
    final = "runs/r/align/final"
    assert told(file="final/config.json")["id2label"] == {"0": "helpful", "1": "harmless"}
    quality = told(file="rewards.json")["dimensions"]
    apart = told()["held_out_rows"]
    assert quality["helpful"]["pairs"] == apart > quality["harmless"]["pairs"] > 0
    items = asked()
    plain = plain_scores(final, items)
    weighed = scored(items, model=final, weights={"helpful": 1.0, "harmless": -0.5})
    wanted = plain[:, 0] - 0.5 * plain[:, 1]
    torch.testing.assert_close(weighed.flatten().float(), wanted, atol=1e-5, rtol=1e-4)
    both = scored(items, model=final).flatten().float()
    torch.testing.assert_close(both, plain.sum(1), atol=1e-5, rtol=1e-4)
    with pytest.raises(RegimenError, match="unknown-dimension"):
        scored(items, model=final, weights={"honest": 1.0})


def test_dimensions_come_from_sources_and_what_is_wrong_with_them_is_told(project, capfd):
    plain = [replace(one, dimensions=()) for one in PAIRS]
    write_table(project.folder / "data/preferences.parquet", preferences_to_table(plain))
    names = {"dimensions": ["good", "safe"]}
    assert align(project, **names, dimensions_of={"x": ["good"], "y": ["safe", "good"]}) == 0
    capfd.readouterr()
    assert align(project, "one", **names, dimensions_of={"x": ["good"]}) == 1
    assert "dimension-without-rows" in capfd.readouterr().err
    removed = json.loads(Path("runs/one/align/rendering.json").read_text())["removed"]
    assert removed == {"no_dimension": len(PAIRS) // 2}
    write_table(project.folder / "data/preferences.parquet", preferences_to_table(PAIRS))
    assert align(project, "other", **names) == 1
    error = capfd.readouterr().err
    assert "unknown-dimension" in error
    assert "helpful" in error


@pytest.mark.parametrize(
    "method", ["reward", pytest.param("reward_ordinal", marks=pytest.mark.slow)]
)
def test_ranked_lists_and_ensembles(project, method):
    assert align(project, method=method, data="data/ranked.parquet", ensemble=3) == 0
    quality = told(file="rewards.json")["dimensions"]["reward"]
    if method == "reward":
        assert quality["pairs"] == 5 * told()["held_out_rows"]
        assert len(quality["ensemble"]["members"]) == 3
        assert quality["ensemble"]["disagreement"]["all"] > 0
    final = "runs/r/align/final"
    items = asked()
    plain = plain_scores(final, items)
    assert plain.shape == (9, 3)
    mean, least = (scored(items, model=final, combine=how).flatten() for how in ("mean", "min"))
    torch.testing.assert_close(mean.float(), plain.mean(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(least.float(), plain.amin(1), atol=1e-5, rtol=1e-4)
    assert (least < mean).all()


def test_levels_of_a_scale_have_borders(project, capfd):
    assert align(project, method="reward_ordinal") == 0
    spec = read_spec(Path("runs/r/align/final"))
    assert spec.levels == (1.0, 2.0, 3.0)
    assert spec.borders[0] < spec.borders[1]
    weights = load_file("runs/r/align/final/model.safetensors")
    assert "score.weight" in weights
    assert not [name for name in weights if "cuts" in name]
    quality = told(file="rewards.json")["dimensions"]["reward"]
    assert quality["answers"] == 4 * told()["held_out_rows"]
    assert quality["comparisons"]["pairs"] == 5 * told()["held_out_rows"]
    assert plain_scores("runs/r/align/final", asked()).shape == (9, 1)
    same = [replace(one, scores=(2.0,) * 4) for one in RANKED]
    write_table(project.folder / "data/ranked.parquet", ranked_to_table(same))
    capfd.readouterr()
    assert align(project, "one", method="reward_ordinal", data="data/ranked.parquet") == 1
    assert "one-level" in capfd.readouterr().err
    labels = [Labelled(prompt=p.prompt, answer=p.chosen, desirable=n % 2 == 0) for n, p in
              enumerate(PAIRS)]  # fmt: skip
    write_table(project.folder / "data/labelled.parquet", labelled_to_table(labels))
    assert align(project, "two", method="reward_ordinal", data="data/labelled.parquet") == 0
    assert len(read_spec(Path("runs/two/align/final")).borders) == 1


def test_steps_are_scored_where_they_end(project):
    assert align(project, method="reward_process", max_steps=12) == 0
    quality = told(file="rewards.json")["dimensions"]["reward"]
    assert quality["steps"] == 3 * told()["held_out_rows"]
    assert logged()[-1]["loss"] < logged()[0]["loss"]
    final = "runs/r/align/final"
    item = Item(suite="s", messages=PAIRS[0].prompt, references=())
    found = scored([(item, ("sees 0 cats\n\nthe dog", "the dog"))], model=final)
    tokenizer = AutoTokenizer.from_pretrained(final)
    model = AutoModelForSequenceClassification.from_pretrained(final).eval()
    prompt = Renderer(tokenizer).prompt(item.messages)
    text = tokenizer("sees 0 cats\n\nthe dog", add_special_tokens=False)["input_ids"]
    ends = [
        next(k for k in range(len(text) + 1) if tokenizer.decode(text[:k]).startswith(beginning))
        for beginning in ("sees 0 cats", "sees 0 cats\n\nthe dog")
    ]
    with torch.no_grad():
        plain = [
            float(model(input_ids=torch.tensor([[*prompt, *text[:end]]])).logits) for end in ends
        ]
    assert float(found[0, 0]) == pytest.approx(min(plain), abs=1e-4)


def test_an_adapter_is_saved_with_its_head(project):
    from peft import PeftModel

    assert align(project, adapter={"kind": "lora", "r": 4}, dimensions=["helpful", "harmless"]) == 0
    final = "runs/r/align/final"
    config = told(file="final/adapter_config.json")
    assert config["task_type"] == "SEQ_CLS"
    assert "score" in config["modules_to_save"]
    base = AutoModelForSequenceClassification.from_pretrained(
        config["base_model_name_or_path"], num_labels=2
    )
    tokenizer = AutoTokenizer.from_pretrained(final)
    base.resize_token_embeddings(len(tokenizer))
    model = PeftModel.from_pretrained(base, final).eval()
    items = asked(1)
    prompt, answers = Renderer(tokenizer).answered(
        items[0][0].messages, [said(one) for one in items[0][1]]
    )
    with torch.no_grad():
        plain = torch.cat(
            [model(input_ids=torch.tensor([[*prompt, *ids]])).logits for ids in answers]
        )
    found = scored(items, model=final, weights={"harmless": 1.0})[0].float()
    torch.testing.assert_close(found, plain[:, 1], atol=1e-4, rtol=1e-3)


def test_two_seeds_are_an_ensemble_of_models(project):
    assert align(project, "a", max_steps=2) == 0
    assert align(project, "b", max_steps=2, seed=5) == 0
    paths = [f"runs/{name}/align/final" for name in "ab"]
    items = asked()
    one, two = (scored(items, model=path) for path in paths)
    both = scored(items, model=paths, combine="min")
    torch.testing.assert_close(both, torch.minimum(one, two), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(one, two)


def test_what_cannot_be_scored_says_why(project):
    assert align(project, max_steps=1) == 0
    item = Item(suite="s", messages=PAIRS[0].prompt, references=())
    scorer = make_scorer(ScoreSettings(reward=RewardModelSettings(model="runs/r/align/final")))
    (found,) = scorer.scores([(item, ("cats", "dogs " * 200, "cats"))])
    assert found[0].value == pytest.approx(found[2].value, abs=1e-5)
    assert "context of 128" in found[1].error
    with pytest.raises(RegimenError, match="no-reward-model"):
        make_scorer(ScoreSettings(reward=RewardModelSettings(model="base")))


def test_margins_that_nobody_gave_are_an_error(project, capfd):
    some = [replace(one, margin=None if n else 1.0) for n, one in enumerate(PAIRS)]
    write_table(project.folder / "data/preferences.parquet", preferences_to_table(some[:5]))
    capfd.readouterr()
    assert align(project, margin=True, held_out=0.0) == 0
    assert told()["rendering"]["removed"] == {"no_margin": 4}
    assert told(file="rewards.json")["dimensions"] == {}
    write_table(project.folder / "data/preferences.parquet", preferences_to_table(some[1:]))
    assert align(project, "none", margin=True) == 1
    assert "no-margins" in capfd.readouterr().err


def test_a_reward_model_is_no_model_to_tune(project, capfd):
    assert align(project, max_steps=1) == 0
    capfd.readouterr()
    assert align(project, "again", model={"path": "runs/r/align/final"}) == 1
    assert "no-language-model" in capfd.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "reward", "ensemble": 2},
        pytest.param(
            {"method": "reward_ordinal", "adapter": {"kind": "lora", "r": 2, "dropout": 0.2}},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["full", "lora"],
)
def test_an_interrupted_training_goes_on_to_the_same_weights(project, monkeypatch, changes):
    assert align(project, "straight", save_steps=1, **changes) == 0
    given, calls = RewardObjective.weights, []

    def sending(self, batch):
        calls.append(0)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return given(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(RewardObjective, "weights", sending)
        assert align(project, "broken", save_steps=1, **changes) == 143
    assert align(project, "broken", save_steps=1, **changes) == 0
    kind = "adapter_model" if "adapter" in changes else "model"
    found, wanted = (
        load_file(f"runs/{name}/align/final/{kind}.safetensors") for name in ("broken", "straight")
    )
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert told("broken", "final/reward.json") == told("straight", "final/reward.json")
    assert told("broken", "rewards.json") == told("straight", "rewards.json")


def test_tables_keep_dimensions_and_steps(tmp_path):
    write_table(tmp_path / "p.parquet", preferences_to_table(PAIRS))
    assert list(table_to_preferences(read_table(tmp_path / "p.parquet"))) == PAIRS
    write_table(tmp_path / "s.parquet", stepwise_to_table(STEPS))
    assert list(table_to_stepwise(read_table(tmp_path / "s.parquet"))) == STEPS


def test_a_template_that_ends_turns_with_padding_is_scored_as_transformers_does(project):
    """The last token of every answer is the padding token: the one before it is read."""
    from transformers import PreTrainedTokenizerFast

    template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained("base")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = template
    tokenizer.save_pretrained("base")
    assert align(project, max_steps=3) == 0
    final = "runs/r/align/final"
    items = asked()
    _, (ids, *_) = Renderer(AutoTokenizer.from_pretrained(final)).answered(
        items[0][0].messages, [said("cats")]
    )
    assert ids[-1] == told(file="final/config.json")["pad_token_id"]
    torch.testing.assert_close(
        scored(items, model=final).flatten().float(),
        plain_scores(final, items)[:, 0],
        atol=1e-5,
        rtol=1e-4,
    )


def test_a_model_s_own_answers_are_compared_by_a_reward_model(project):
    assert align(project) == 0
    rows = [{"prompt": f"the {a} dog {b}"} for a in "abc" for b in "xy"]
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    on_policy = {
        "generator": {"model": "base", "temperature": 1.5, "max_new_tokens": 6},
        "prompts": "prompts.jsonl",
        "samples": 4,
        "keep_cut": True,
        "score": {"reward": {"model": "runs/r/align/final"}},
    }
    settings = {
        "run": "runs/b",
        "build": {"sources": [{"path": "data"}], "preferences": {"on_policy": on_policy}},
    }
    Path("b.yaml").write_text(yaml.safe_dump(settings))
    (project.folder / "data" / "ranked.parquet").unlink()
    (project.folder / "data" / "stepwise.parquet").unlink()
    assert project.run("b.yaml") == 0
    pairs = list(table_to_preferences(read_table("runs/b/build/preferences.parquet")))
    own = [one for one in pairs if any("scored_by:reward" in v for v in one.lineage.verdicts)]
    assert own
    for one in own:
        item = Item(suite="s", messages=one.prompt, references=())
        ((better, worse),) = scored(
            [(item, (one.chosen[0].text, one.rejected[0].text))], model="runs/r/align/final"
        ).tolist()
        assert better > worse
        assert one.margin == pytest.approx(better - worse, abs=1e-4)
