"""Contracts hold on sound models, and each catches what it is there for."""

from dataclasses import replace

import pytest
import torch

from regimen.models.forward import LanguageModel
from regimen.tokens.ragged import Plan
from regimen.training import loop
from regimen.training.options import State
from regimen.verifying import exports, heads, resuming
from regimen.verifying.batches import accumulation, packed, parity, shared_prefix
from regimen.verifying.contracts import NAMES, all_not_run, check
from regimen.verifying.exports import exported, merged
from regimen.verifying.heads import reduced
from regimen.verifying.losses import supervised_twin
from regimen.verifying.plain import measure_alone
from regimen.verifying.references import reference
from regimen.verifying.resuming import resumed
from regimen.verifying.subject import wake_adapter

from .conftest import rows

SPECIAL = {
    "full": ({"adapter": False}, {"merged = adapter", "reference = policy"}),
    "adapter": ({"adapter": True}, {"reference = policy"}),
    "preferences": ({"adapter": True, "preferences": True}, set()),
}


def alone(subject):
    return measure_alone(subject.plain(), subject.rows, subject.twin.formula)


@pytest.mark.parametrize(
    "way", ["full", pytest.param("adapter", marks=pytest.mark.slow), "preferences"]
)
def test_every_contract_holds_or_does_not_apply(subject_of, lora, way):
    given, missing = SPECIAL[way]
    subject = subject_of(**{**given, "adapter": lora if given["adapter"] else None})
    state = torch.get_rng_state()
    found = list(check(subject))
    assert torch.equal(torch.get_rng_state(), state)
    assert tuple(one.contract for one in found) == NAMES
    verdicts = {one.contract: one.outcome.verdict for one in found}
    expected = {name: "not applicable" if name in missing else "holds" for name in NAMES}
    assert verdicts == expected
    assert all(one.outcome.reason for one in found if one.contract in missing)


@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gemma2", "gpt2", "granite", "bloom"])
def test_other_architectures_hold_too(subject_of, kind):
    subject = subject_of(kind, twin=supervised_twin(0.1, 0.01), rows=rows(0.5))
    outcomes = [packed(subject, alone(subject)), parity(subject), shared_prefix(subject)]
    outcomes += [reduced(subject), exported(subject)]
    assert [outcome.verdict for outcome in outcomes] == ["holds"] * 5
    assert outcomes[0].reason.startswith("batches are padded") == (kind == "bloom")


def other_plan(monkeypatch, change):
    """Flat batches with another plan of segments, but for those of the probe, which has three."""
    honest = LanguageModel.hidden

    def hidden(self, batch, read_N=None):
        if len(batch.plan.lengths) > 3:
            batch = replace(batch, plan=change(batch.plan))
        return honest(self, batch, read_N)

    monkeypatch.setattr(LanguageModel, "hidden", hidden)


def test_a_model_that_ignores_segment_borders_is_caught(subject_of, monkeypatch):
    other_plan(monkeypatch, lambda plan: Plan((sum(plan.lengths),), (-1,)))
    subject = subject_of()
    found = packed(subject, alone(subject))
    assert found.verdict == "broken"
    assert [measured.holds for measured in found.measurements] == [False] * 3
    assert found.measurements[0].difference > 100 * found.measurements[0].tolerance
    assert parity(subject).verdict == "broken"
    # these do not pack
    assert reduced(subject).verdict == resumed(subject).verdict == "holds"


def test_a_beginning_that_its_rests_do_not_see_is_caught(subject_of, monkeypatch):
    other_plan(monkeypatch, lambda plan: Plan(plan.lengths, (-1,) * len(plan.lengths)))
    subject = subject_of(preferences=True)
    assert shared_prefix(subject).verdict == "broken"
    plain = subject_of()
    assert packed(plain, alone(plain)).verdict == "holds"


def test_a_mean_of_means_is_caught(subject_of, monkeypatch):
    monkeypatch.setattr(loop, "NLL", "")  # no factor is announced, which would be an error
    monkeypatch.setattr(
        loop, "sum_components", lambda out, _: sum(out.components.values()) / out.rows
    )
    subject = subject_of()
    whole = alone(subject)
    assert packed(subject, whole).verdict == "holds"
    assert accumulation(subject, whole).verdict == "broken"


def test_references_of_other_pairs_are_caught(subject_of, monkeypatch):
    subject = subject_of(preferences=True)
    objective = subject.twin.objective
    table = replace(objective.table, reference_A=objective.table.reference_A.flip(0))
    swapped = replace(objective, table=table)
    mixed_up = replace(subject, twin=replace(subject.twin, objective=swapped))
    assert packed(mixed_up, alone(mixed_up)).verdict == "broken"


def test_another_head_is_caught(subject_of, monkeypatch):
    honest = heads.head_of
    monkeypatch.setattr(heads, "head_of", lambda model: replace(honest(model), scale=1.01))
    assert reduced(subject_of()).verdict == "broken"


def test_an_adapter_whose_merge_is_off_is_caught(subject_of, lora, monkeypatch):
    from peft.tuners.lora.layer import Linear

    honest = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda *args: 1.5 * honest(*args))
    subject = subject_of(adapter=lora)
    assert merged(subject).verdict == "broken"
    assert exported(subject).verdict == "holds"


def test_an_adapter_that_does_nothing_cannot_be_measured(subject_of, lora, monkeypatch):
    monkeypatch.setattr(exports, "wake_adapter", lambda *_: None)
    found = merged(subject_of(adapter=lora))
    assert found.verdict == "not run"
    assert "the adapter moves the logits by 0" in found.reason


@pytest.mark.parametrize("with_adapter", [False, True])
def test_an_export_of_other_weights_is_caught(subject_of, lora, with_adapter, monkeypatch):
    honest = exports.save_model

    def changing(model, *args, **kwargs):
        with torch.no_grad():
            next(p for p in model.parameters() if p.requires_grad).mul_(1.01)
        honest(model, *args, **kwargs)

    monkeypatch.setattr(exports, "save_model", changing)
    assert exported(subject_of(adapter=lora if with_adapter else None)).verdict == "broken"


def test_weights_that_are_rounded_on_disk_are_told(subject_of):
    found = exported(subject_of(save_dtype="bfloat16"))
    assert found.verdict == "holds"
    assert "bfloat16" in found.reason


def test_an_optimizer_that_forgets_is_caught(subject_of, monkeypatch):
    subject = subject_of()
    assert resumed(subject).verdict == "holds"
    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", lambda *_: None)
    found = resumed(subject)
    assert found.verdict == "broken"
    assert found.measurements[0].where


def test_a_training_that_begins_again_is_caught(subject_of, monkeypatch):
    monkeypatch.setattr(resuming, "load_newest", lambda *_: (State(), None, []))
    found = resumed(subject_of())
    assert found.verdict == "broken"
    assert "the step that it went on from, 0" in found.measurements[0].where


def test_a_policy_that_does_not_start_at_its_reference_is_caught(subject_of, lora):
    subject = subject_of(adapter=lora, preferences=True)
    assert reference(subject).verdict == "holds"

    def moved():
        opened = subject.open()
        wake_adapter(opened.network)
        return opened

    assert reference(replace(subject, open=moved)).verdict == "broken"


def test_too_few_rows_are_a_reason(subject_of):
    subject = subject_of(rows=rows()[:1], shared=[])
    assert accumulation(subject, alone(subject)).verdict == "not run"
    assert shared_prefix(subject).verdict == "not run"
    found = list(all_not_run("tune", "there is nothing"))
    assert {one.outcome.reason for one in found} == {"there is nothing"}
    assert {one.outcome.verdict for one in found} == {"not run"}
