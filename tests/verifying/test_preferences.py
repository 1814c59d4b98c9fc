"""The methods of align on a model: the loop against the formulas over full logits."""

import pytest
import torch

from regimen.objectives.answers import AnswerTable
from regimen.objectives.table import METHODS
from regimen.tokens.rendering import RenderedPair
from regimen.verifying.batches import accumulation, packed
from regimen.verifying.plain import measure_alone
from regimen.verifying.preferences import AnswerRow, Term, answers_twin

ROWS = [RenderedPair((5, 6, n), (7, n, 9), (11 + n,)) for n in range(4)]
TABLE = AnswerTable.of_pairs(torch.linspace(-9.0, -4.0, 8).view(4, 2))
ALONE = [name for name, method in METHODS.items() if method.form in ("pairs", "any")]


@pytest.mark.matrix
@pytest.mark.parametrize("name", [*ALONE, "rrhf", "slic"])
def test_packed_and_accumulated_rows_equal_the_formula(name, subject_of):
    terms = [Term(name), Term("sft", weight=0.3)]
    twin = answers_twin(terms, TABLE, ROWS)
    subject = subject_of(preferences=True, rows=ROWS, shared=ROWS, twin=twin)
    alone = measure_alone(subject.plain(), subject.rows, subject.twin.formula)
    for contract in (packed, accumulation):
        found = contract(subject, alone)
        assert found.verdict == "holds", found
    wrong = answers_twin([Term(name), Term("sft", weight=0.4)], TABLE, ROWS)
    off = subject_of(preferences=True, rows=ROWS, shared=ROWS, twin=wrong)
    assert packed(off, alone).verdict == "broken"


def test_a_formula_by_hand():
    """SimPO of one pair: 2 * (-1 - (-3)) - 1 = 3."""
    row = AnswerRow([torch.tensor([-1.0, -1.0]), torch.tensor([-3.0])], [0.0, 0.0], [1.0, 0.0])
    loss = Term("simpo").parts(row)["simpo"]
    assert float(loss) == pytest.approx(0.048587, abs=1e-5)
