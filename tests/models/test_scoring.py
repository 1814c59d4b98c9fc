"""pytest tests/models/test_scoring.py: models that score, against transformers' own."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from helpers.small_models import MODELS
from regimen.errors import ModelError
from regimen.models.forward import prepare
from regimen.models.scoring import add_cuts, take_cuts, with_scores
from regimen.tokens.rendering import RenderedAnswers
from regimen.tokens.store import token_rows
from regimen.training.measure import measured_scores

FIELDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ARCHITECTURES = ["llama", "llama tied", "qwen3", "mistral", "gemma2", "gpt2", "gpt_neox", "opt"]


def base(arch="llama", **more):
    torch.manual_seed(0)
    config = AutoConfig.for_model(arch.split()[0], **{**MODELS[arch], **FIELDS, **more})
    return AutoModelForCausalLM.from_config(config).eval()


def rows(*answers):
    """A prompt of three tokens with answers whose last token, and another, is marked."""
    weights = tuple(
        tuple(float(n in (0, len(ids) - 1)) for n in range(len(ids))) for ids in answers
    )
    flat = token_rows([RenderedAnswers((4, 5, 6), answers, weights=weights)])
    return type(flat)(*(getattr(flat, name) for name in flat.__slots__[:-1]), scored=True)


@pytest.mark.matrix
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_scores_of_answers_that_share_a_prompt_are_those_of_transformers(arch):
    model = with_scores(base(arch), ["helpful", "harmless"], seed=3, pad_id=0)
    answers = ((7, 8, 9, 10), (11,), (12, 0, 13))  # padding inside is read as any token
    with torch.no_grad():
        wanted = [
            model(input_ids=torch.tensor([[4, 5, 6, *ids[:end]]])).logits[0]
            for ids in answers
            for end in sorted({1, len(ids)})
        ]
    language_model = prepare(model)
    (found,) = measured_scores(language_model, rows(*answers), tokens_per_batch=64)
    torch.testing.assert_close(found, torch.stack(wanted), atol=1e-5, rtol=1e-4)


def test_the_backbone_is_shared_and_the_head_drawn_by_the_seed():
    network = base()
    one, two, other = (
        with_scores(network, ["a"], seed=seed, pad_id=0).score.weight for seed in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    model = with_scores(network, ["a", "b"], seed=0, pad_id=0)
    assert model.model is network.model
    assert model.config.id2label == {0: "a", 1: "b"}
    assert network.config.num_labels == 2  # transformers' default is left as it is
    assert network.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


def test_an_architecture_without_the_class_is_refused_with_the_reason():
    small = {name: MODELS["llama"][name] for name in MODELS["llama"]}
    config = AutoConfig.for_model("granite", **{**small, **FIELDS})
    with pytest.raises(ModelError, match="transformers has no class") as caught:
        with_scores(AutoModelForCausalLM.from_config(config), ["a"], seed=0, pad_id=0)
    assert caught.value.slug == "scores-unsupported"


def test_borders_are_a_part_of_the_head_while_it_learns():
    model = with_scores(base(), ["a"], seed=0, pad_id=0)
    add_cuts(model, torch.tensor([0.5, -1.0]))
    assert prepare(model).head().cuts_J.tolist() == [0.5, -1.0]
    assert "score.cuts" in model.state_dict()
    assert take_cuts(model).tolist() == [0.5, -1.0]
    assert "score.cuts" not in model.state_dict()
    assert take_cuts(model) is None
