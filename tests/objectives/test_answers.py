"""pytest tests/objectives/test_answers.py: the answers of a batch, and sums of losses."""

from dataclasses import replace

import pytest
import torch

from regimen.models.head import Reduced
from regimen.objectives.answers import (
    BEST,
    MISMATCHED,
    OTHER,
    AnswerObjective,
    AnswerTable,
    answers_of,
    places_of,
    sequence_logp,
)
from regimen.objectives.preference import Dpo
from regimen.objectives.reference_free import Sft, Unlikelihood
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import RenderedAnswers
from regimen.tokens.store import token_rows

ROWS = token_rows(
    [
        RenderedAnswers((1, 2), ((3, 4), (5,))),
        RenderedAnswers((9,), ((1,),)),
        RenderedAnswers((1,), ((6,), (7, 8, 9), (2, 2))),
    ]
)
TABLE = AnswerTable(
    first_R=torch.tensor([0, 2, 3]),
    role_A=torch.tensor([BEST, OTHER, OTHER, OTHER, BEST, MISMATCHED]),
    score_A=torch.arange(6.0),
    reference_A=-10.0 * torch.arange(6.0),
    weight_R=torch.tensor([1.0, 3.0, 0.5]),
)
LOGP = -(2.0 ** torch.arange(10))


def answers(*rows):
    batch = ragged_batch(ROWS.segments(rows))
    return answers_of(TABLE, batch, LOGP[: len(batch.target_N)])


def test_answers_are_found_whatever_the_order_of_the_rows():
    batch = ragged_batch(ROWS.segments([2, 0]))
    places = places_of(TABLE.first_R, batch)
    assert places.segments == (1, 2, 3, 5, 6)
    assert places.numbers == (3, 4, 5, 0, 1)
    assert places.row_A == (0, 0, 0, 1, 1)
    assert places.rows == (2, 0)
    found = answers(2, 0)
    assert found.logp_A.tolist() == [-1.0, -14.0, -48.0, -192.0, -256.0]
    assert found.tokens_A.tolist() == [1, 3, 2, 2, 1]
    assert found.reference_A.tolist() == [-30.0, -40.0, -50.0, 0.0, -10.0]
    assert found.ratio_A[1] == 26.0
    assert found.role_A.tolist() == [OTHER, BEST, MISMATCHED, BEST, OTHER]


def test_sums_by_segment():
    batch = ragged_batch(ROWS.segments([0, 1]))
    sums = sequence_logp(batch, torch.tensor([-1.0, -2.0, -4.0, -8.0]))
    assert sums.tolist() == [0.0, -3.0, -4.0, 0.0, -8.0]


def test_units_count_rows_and_tokens_by_the_weight_of_their_row():
    found = answers(0, 1, 2)
    assert found.count("rows") == 4.5
    assert found.count("best_tokens") == 1.0 * 2 + 0.5 * 3
    assert found.count("other_tokens") == 1.0 * 1 + 3.0 * 1 + 0.5 * 1
    values = torch.ones(10)
    for unit in ("best_tokens", "other_tokens"):
        assert float(found.total(unit, values)) == found.count(unit)
    assert float(found.total("rows", torch.tensor([1.0, 2.0, 4.0]))) == 1.0 + 6.0 + 2.0


def test_a_sum_of_losses_is_the_sum_of_its_losses():
    rows = ROWS.take([0, 0, 0])
    table = AnswerTable.of_pairs(torch.tensor([[-1.0, -2.0], [-3.0, -1.5], [-2.0, -2.0]]))
    batch = ragged_batch(rows.segments([2, 0, 1]))
    logp = torch.linspace(-3.0, -0.1, 9)
    parts = [(2.0, Dpo(beta=0.3)), (0.25, Sft()), (3.0, Unlikelihood())]

    def value(losses):
        objective = AnswerObjective(table, losses)
        out, weights = objective(batch, Reduced(logp_N=logp)), objective.weights(batch)
        return sum(float(total) / weights[name] for name, total in out.components.items())

    apart = [value([part]) for part in parts]
    assert value(parts) == pytest.approx(sum(apart), rel=1e-6)
    doubled = [(2 * weight, loss) for weight, loss in parts]
    assert value(doubled) == pytest.approx(2 * value(parts), rel=1e-6)


def test_what_is_logged_of_rows_with_any_number_of_answers():
    batch = ragged_batch(ROWS.segments([0, 2]))
    objective = AnswerObjective(TABLE, [(1.0, Sft())])
    out = objective(batch, Reduced(logp_N=LOGP[:9]))
    weights = objective.weights(batch)
    # means over tokens: 1.5 and 4 in the first row, 8 and 112/3 in the second
    assert out.metrics["rewards/chosen"] == pytest.approx(-1.5 - 112 / 3)
    assert out.metrics["rewards/rejected"] == -4.0 - 8.0
    assert out.metrics["rewards/margins"] == pytest.approx((-1.5 + 4) + (-112 / 3 + 8))
    assert out.metrics["rewards/accuracies"] == 1.0
    assert weights["rewards/chosen"] == weights["logps/rejected"] == 2.0
    assert out.rows == 2.0


def test_without_best_answers_nothing_is_compared():
    batch = ragged_batch(ROWS.segments([1]))
    out = AnswerObjective(TABLE, [(1.0, Sft())])(batch, Reduced(logp_N=LOGP[:1]))
    assert float(out.components["sft"]) == 0.0
    assert "rewards/margins" not in out.metrics
    assert out.metrics["rewards/rejected"] == -1.0


def test_row_weights_scale_a_rows_part():
    rows, logp = ROWS.take([0, 0]), torch.linspace(-3.0, -0.1, 6)
    table = AnswerTable.of_pairs(torch.zeros(2, 2))
    batch = ragged_batch(rows.segments([0, 1]))
    first = AnswerObjective(replace(table, weight_R=torch.tensor([1.0, 0.0])), [(1.0, Dpo())])
    alone = ragged_batch(rows.segments([0]))
    wanted = AnswerObjective(table, [(1.0, Dpo())])(alone, Reduced(logp_N=logp[:3]))
    found = first(batch, Reduced(logp_N=logp))
    assert float(found.components["dpo"]) == pytest.approx(float(wanted.components["dpo"]))
    assert first.weights(batch)["dpo"] == 1.0
