"""A small training for every objective of the visible tables: rows, objective and model."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from regimen.models.forward import LanguageModel, prepare
from regimen.models.scoring import add_cuts, with_scores
from regimen.objectives.answers import BEST, MISMATCHED, OTHER, AnswerObjective, AnswerTable
from regimen.objectives.distillation import Distillation
from regimen.objectives.reward import RewardObjective, ScoreTable
from regimen.objectives.supervised import Supervised
from regimen.objectives.table import METHODS, OBJECTIVES, REWARDS
from regimen.tokens.rendering import Rendered, RenderedAnswers
from regimen.tokens.store import token_rows
from regimen.training.teacher import Teacher

VOCABULARY, ROWS = 97, 4
NAMES = (*OBJECTIVES, *METHODS, *REWARDS)
"""Every objective. Those of ``CONDITIONED`` learn by ``supervised``."""


def network(seed=0, model="llama", **fields):
    """A drawn model with heads of 16 numbers, which every kernel takes."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    config = AutoConfig.for_model(model, vocab_size=VOCABULARY, **sizes, **heads, **fields)
    made = AutoModelForCausalLM.from_config(config)
    for parameter in made.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def _ids(draw, least, most):
    length = int(torch.randint(least, most, (1,), generator=draw))
    return tuple(torch.randint(VOCABULARY, (length,), generator=draw).tolist())


def _answers(roles):
    """Rows of a prompt with an answer for each role."""
    draw = torch.Generator().manual_seed(1)
    made = [
        RenderedAnswers(_ids(draw, 3, 9), tuple(_ids(draw, 2, 7) for _ in some)) for some in roles
    ]
    role_A = torch.tensor([role for some in roles for role in some])
    sizes = torch.tensor([len(some) for some in roles])
    table = AnswerTable(
        sizes.cumsum(0) - sizes,
        role_A,
        torch.rand(len(role_A), generator=draw, dtype=torch.float64) + role_A,
        -20 * torch.rand(len(role_A), generator=draw),
        torch.rand(len(roles), generator=draw) + 0.5,
    )
    return token_rows(made), table


def _aligned(name):
    method = METHODS[name]
    roles = {
        "pairs": [(BEST, OTHER)] * ROWS,
        "labelled": [(BEST,), (OTHER,)] * (ROWS // 2),
        "ranked": [(OTHER, BEST, OTHER)] * ROWS,
        "any": [(BEST, OTHER)] * ROWS,
    }[method.form]
    if method.mismatched:
        roles = [(*some, MISMATCHED) for some in roles]
    rows, table = _answers(roles)
    return rows, AnswerObjective(table, [(1.0, method.loss())]), network()


def _scored(name):
    draw = torch.Generator().manual_seed(2)
    answers = [tuple(_ids(draw, 2, 7) for _ in range(2)) for _ in range(ROWS)]
    rows = token_rows(
        RenderedAnswers(
            _ids(draw, 3, 9), some, weights=tuple((0.0,) * (len(a) - 1) + (1.0,) for a in some)
        )
        for some in answers
    )
    marks = 2 * ROWS
    value_M = torch.arange(marks) % (3 if name == "reward_ordinal" else 2)
    table = ScoreTable(
        2 * torch.arange(ROWS),
        value_M.double(),
        torch.rand(marks, generator=draw, dtype=torch.float64),
        torch.rand(ROWS, 2, generator=draw, dtype=torch.float64) + 0.5,
    )
    model = with_scores(network(), ("first", "second"), seed=0, pad_id=0)
    if name == "reward_ordinal":
        add_cuts(model, torch.tensor([-0.5, 0.2]))
    rows = type(rows)(
        rows.ids, rows.weights, rows.offsets, rows.parents, rows.row_offsets, scored=True
    )
    return rows, RewardObjective(table, REWARDS[name].loss()), model


def _supervised(name, place):
    draw = torch.Generator().manual_seed(3)
    rows = []
    for number in range(2 * ROWS):
        ids = _ids(draw, 4, 14)
        weights = torch.rand(len(ids), generator=draw).tolist()
        rows.append(Rendered(ids, (0.0,) * (1 + number % 3) + tuple(weights[1 + number % 3 :])))
    objective = Supervised()
    if name == "distillation":
        teacher = prepare(place(network(seed=7)).eval())
        objective = Distillation(Teacher(teacher, beta=0.5), sft_weight=0.3)
    return token_rows(rows), objective, network()


def case(name, place=lambda model: model):
    """Rows, objective, and a prepared model; ``place`` moves models to where they compute."""
    if name in METHODS:
        rows, objective, model = _aligned(name)
    elif name in REWARDS:
        rows, objective, model = _scored(name)
    else:
        rows, objective, model = _supervised(name, place)
    prepared: LanguageModel = prepare(place(model))
    assert prepared.ragged, prepared.reason
    return rows, objective, prepared
