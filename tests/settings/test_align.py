"""pytest tests/settings/test_align.py: a method, or a sum of losses, and what each takes."""

import pytest
import yaml

from regimen.errors import RegimenError
from regimen.settings.align import AlignSettings
from regimen.settings.align_methods import FORMS, REWARDS, TAKES, Hyperparameters
from regimen.settings.loading import load_settings


def errors(tmp_path, section):
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump({"align": {"model": {"path": "m"}, "data": "d", **section}}))
    with pytest.raises(RegimenError) as raised:
        load_settings(file)
    return str(raised.value.render())


def test_every_hyper_parameter_is_of_some_method():
    assert set(Hyperparameters.model_fields) == {name for names in TAKES.values() for name in names}
    assert set(TAKES) - set(FORMS) == {"chain_of_hindsight", "quark", "raft", *REWARDS}


def test_a_name_is_a_sum_of_one_loss():
    section = AlignSettings(method="robust", label_smoothing=0.2)
    (loss,) = section.losses
    assert (loss.name, loss.weight, loss.given()) == ("robust", 1.0, {"label_smoothing": 0.2})
    assert AlignSettings().losses[0].name == "dpo"
    assert AlignSettings(method="quark", quantiles=3).losses == ()


def test_a_sum_has_the_form_of_the_losses_that_have_one():
    section = AlignSettings(method=[{"name": "sft", "weight": 0.1}, {"name": "kto", "beta": 0.2}])
    assert [(loss.name, loss.weight, loss.given()) for loss in section.losses] == [
        ("sft", 0.1, {}),
        ("kto", 1.0, {"beta": 0.2}),
    ]
    assert section.form == "labelled"
    assert AlignSettings(method="sft").form == "any"


def test_what_a_method_does_not_take_is_told_all_at_once(tmp_path):
    said = errors(
        tmp_path, {"method": "simpo", "delta": 1.0, "penalty": 2.0, "max_length": 9999999}
    )
    assert said.count("is nothing that simpo takes") == 2
    assert "'beta', 'gamma', 'label_smoothing'" in said
    assert "tokens_per_batch" in said


def test_what_a_sum_cannot_be(tmp_path):
    losses = [{"name": "dpo", "gamma": 1.0}, {"name": "kto", "weight": 0}]
    said = errors(tmp_path, {"method": losses})
    assert "align.method[0].gamma: is nothing that dpo takes" in said
    assert "align.method[1].weight" in said
    said = errors(tmp_path, {"method": [{"name": "dpo"}, {"name": "kto"}], "beta": 0.2})
    assert "dpo (pairs)" in said
    assert "kto (labelled)" in said
    assert "align.beta: stands beside a list of losses" in said
    assert "align.method[0].name" in errors(tmp_path, {"method": [{"name": "quark"}]})
    assert "align.method" in errors(tmp_path, {"method": []})


def test_a_name_that_is_close_is_told(tmp_path):
    assert "'simpo'" in errors(tmp_path, {"method": "sympo"})


def test_alpha_is_for_its_divergence_alone(tmp_path):
    assert "divergence: alpha" in errors(tmp_path, {"alpha": 0.3})
    AlignSettings(divergence="alpha", alpha=0.3)


def test_what_rewards_cannot_be_is_told_all_at_once(tmp_path):
    said = errors(
        tmp_path,
        {
            "method": "reward",
            "beta": 0.1,
            "dimensions": ["helpful", "helpful", "a/b"],
            "dimensions_of": {"hh": ["harmless"]},
            "quantise": "nf4",
            "adapter": {"kind": "lora"},
        },
    )
    assert "align.beta: is nothing that reward takes" in said
    assert "names helpful more than once" in said
    assert "a slash stands before the members" in said
    assert "align.dimensions_of.hh: names harmless, which 'dimensions' does not list" in said
    assert "align.quantise: is not for models that score" in said
    assert "is nothing that reward_process takes" in errors(
        tmp_path, {"method": "reward_process", "margin": True}
    )
    assert "is nothing that dpo takes" in errors(tmp_path, {"ensemble": 3})


def test_nothing_asks_a_reward_model_for_answers(tmp_path):
    file = tmp_path / "r.yaml"
    section = {"model": {"path": "m"}, "data": "d", "method": "reward"}
    settings = {
        "align": section,
        "evaluate": {"systems": ["base"]},
        "compress": {"methods": [{"kind": "gptq"}]},
    }
    file.write_text(yaml.safe_dump(settings))
    with pytest.raises(RegimenError) as raised:
        load_settings(file)
    said = str(raised.value.render())
    assert "evaluate: works on a model that gives answers" in said
    assert "compress: works on a model that gives answers" in said


def test_a_new_head_learns_faster_unless_the_settings_say_how_fast():
    assert AlignSettings(method="reward").learning_rate == 1e-4
    assert AlignSettings(method="reward", learning_rate=2e-5).learning_rate == 2e-5
    assert AlignSettings(method="ipo").learning_rate == AlignSettings().learning_rate == 5e-6
