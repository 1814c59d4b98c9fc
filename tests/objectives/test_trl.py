"""Losses and gradients against TRL's on random log-probabilities (marker ``parity``).

pytest tests/objectives/test_trl.py -m parity

TRL's own loss methods run, on an object that has only what they read, with a model that gives the
log-probabilities as they are. DPO-positive, RRHF, SLiC and unlikelihood are not in TRL.
"""

import warnings
from collections import Counter, defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from regimen.alignment.forms import Row, answer_table
from regimen.alignment.reward_rows import RewardRow, score_table
from regimen.models.head import Reduced
from regimen.objectives.answers import BEST, MISMATCHED, OTHER, AnswerObjective
from regimen.objectives.reward import BradleyTerry, RewardObjective
from regimen.objectives.table import METHODS
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import RenderedAnswers
from regimen.tokens.store import token_rows

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("quiet")]
PAIRS, WIDTH = 6, 9


@pytest.fixture
def quiet(monkeypatch):
    """Warnings of the peer's own libraries are no failures here."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Drawn:
    """Answers of drawn lengths, chosen ones first, with log-probabilities and references."""

    def __init__(self, seed, count=2 * PAIRS):
        draw = torch.Generator().manual_seed(seed)
        self.lengths = torch.randint(1, WIDTH, (count,), generator=draw).tolist()
        self.mask = torch.zeros(count, WIDTH, dtype=torch.int64)
        for row, length in enumerate(self.lengths):
            self.mask[row, 1 : 1 + length] = 1  # a prompt of one token
        shape = (count, WIDTH - 1)
        drawn = -2 * torch.rand(shape, generator=draw, dtype=torch.float64) - 0.02
        self.logp = (drawn * self.mask[:, 1:]).requires_grad_()
        noise = 1.5 * torch.randn(count, generator=draw, dtype=torch.float64)
        self.reference = self.logp.detach().sum(1) + noise

    def sums(self):
        return self.logp.sum(1)

    def means(self):
        return self.sums() / torch.tensor(self.lengths)

    def nll(self):
        """Mean over the tokens of the chosen answers, as transformers' cross-entropy has it."""
        chosen = self.mask[:PAIRS, 1:].bool()
        return -self.logp[:PAIRS][chosen].mean()

    def model(self, **_):
        zeros = torch.zeros_like(self.logp)
        return SimpleNamespace(
            log_probs=self.logp, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
        )

    def ours(self, losses, order, roles, rows, cuts=()):
        """Loss and gradient of rows, each of which has the answers with these numbers.

        ``cuts`` are where the rows are cut into micro-batches of one step.
        """
        made, k = [], 0
        for numbers in order:
            answers = tuple((1,) * self.lengths[n] for n in numbers)
            made.append(
                Row(
                    RenderedAnswers((1,), answers),
                    roles[k : k + len(numbers)],
                    (0.0,) * len(numbers),
                )
            )
            k += len(numbers)
        flat = [n for numbers in order for n in numbers]
        objective = AnswerObjective(answer_table(made, self.reference[flat]), losses)
        stored = token_rows([row.rendered for row in made])
        step = []
        for some in map(range, (0, *cuts), (*cuts, rows)):
            own = [n for row in some for n in order[row]]
            leaf = torch.cat([self.logp[n, : self.lengths[n]] for n in own])
            step.append((ragged_batch(stored.segments(some)), Reduced(logp_N=leaf)))
        if cuts:
            objective = objective.comparing(sum(objective.seen(*one) for one in step))
        weights, loss = Counter(), 0.0
        for batch, _ in step:
            weights.update(objective.weights(batch))
        for one in step:
            parts = objective(*one).components.items()
            loss = loss + sum(total / weights[name] for name, total in parts)
        return loss, torch.autograd.grad(loss, self.logp)[0]

    def pairs(self, *terms):
        losses = [(weight, METHODS[name].loss(**given)) for name, weight, given in terms]
        order = [(n, PAIRS + n) for n in range(PAIRS)]
        return self.ours(losses, order, (BEST, OTHER) * PAIRS, PAIRS)

    def compare(self, mine, theirs):
        (wanted,) = torch.autograd.grad(theirs, self.logp)
        loss, gradient = mine
        assert float(loss.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
        wanted = wanted * self.mask[:, 1:]  # TRL sums over padding, where there is nothing
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-9)
        assert float(wanted.abs().max()) > 0


def bare(**more):
    """What every trainer has."""
    same = lambda x: x  # noqa: E731
    accelerator = SimpleNamespace(device="cpu", gather=same, gather_for_metrics=same)
    return SimpleNamespace(
        accelerator=accelerator,
        model=SimpleNamespace(training=True),
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
        **more,
    )


def dpo_trainer(drawn, kinds, weights, **given):
    from trl import DPOTrainer

    trainer = bare(
        ld_alpha=None,
        use_weighting=False,
        loss_types=kinds,
        loss_weights=weights,
        f_alpha_divergence_coef=0.5,
        **{"f_divergence_type": "reverse_kl", "beta": 0.1, "label_smoothing": 0.0, **given},
    )
    inputs = {
        "input_ids": torch.ones_like(drawn.mask),
        "attention_mask": torch.ones_like(drawn.mask),
        "completion_mask": drawn.mask,
        "ref_chosen_logps": drawn.reference[:PAIRS],
        "ref_rejected_logps": drawn.reference[PAIRS:],
    }
    return DPOTrainer._compute_loss(trainer, drawn.model, inputs, False)


DPO = {
    "sigmoid": ("dpo", "sigmoid", {"beta": 0.3}, {}),
    "smoothed": ("robust", "robust", {"beta": 0.3, "label_smoothing": 0.2}, {}),
    "hinge": ("hinge", "hinge", {"beta": 0.4}, {}),
    "ipo": ("ipo", "ipo", {"beta": 0.2}, {}),
    "norm": ("dpo_norm", "sigmoid_norm", {"beta": 2.0}, {}),
    "sft": ("sft", "sft", {}, {}),
    **{
        theirs: ("dpo", "sigmoid", {"beta": 0.3, "divergence": ours}, {"f_divergence_type": theirs})
        for ours, theirs in (("forward_kl", "forward_kl"), ("js", "js_divergence"))
    },
    # their alpha is 1 minus ours
    "alpha": (
        "dpo",
        "sigmoid",
        {"beta": 0.3, "divergence": "alpha", "alpha": 0.5},
        {"f_divergence_type": "alpha_divergence"},
    ),
}


@pytest.mark.parametrize("case", DPO)
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_of_dpo_trainer(case, seed):
    name, kind, given, more = DPO[case]
    drawn = Drawn(seed)
    if case == "alpha":  # TRL clamps in single precision
        drawn.logp = drawn.logp.detach().float().requires_grad_()
        drawn.reference = drawn.reference.float()
    shared = {key: given[key] for key in ("beta", "label_smoothing") if key in given}
    theirs = dpo_trainer(drawn, [kind], [1.0], **shared, **more)
    drawn.compare(drawn.pairs((name, 1.0, given)), theirs)


def test_a_weighted_sum_of_dpo_trainer():
    drawn = Drawn(2)
    theirs = dpo_trainer(drawn, ["sigmoid", "sft", "hinge"], [0.8, 0.2, 1.5], beta=0.3)
    given = {"beta": 0.3}
    mine = drawn.pairs(("dpo", 0.8, given), ("sft", 0.2, {}), ("hinge", 1.5, given))
    drawn.compare(mine, theirs)


@pytest.mark.parametrize("wanted", [0.3, 1.0])
@pytest.mark.parametrize("cuts", [(), (1, 2), (4,)], ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kto_trainer_with_its_kl_of_mismatched_answers(seed, wanted, cuts):
    """Micro-batches of a step are what TRL makes of all of them as one batch."""
    from trl import KTOTrainer

    count = 5
    drawn = Drawn(seed, 2 * count)  # then one to another prompt for each
    labels = torch.tensor([True, False, False, True, True])
    trainer = bare(
        calculate_KL=True,
        loss_type="kto",
        beta=0.3,
        desirable_weight=wanted,
        undesirable_weight=0.7,
        _compute_kl_logps=lambda model, batch: drawn.sums()[count:].detach(),
    )
    own = SimpleNamespace(
        log_probs=drawn.logp[:count],
        entropy=torch.zeros(count, WIDTH - 1),
        mean_logits=torch.zeros(count, WIDTH - 1),
    )
    inputs = {
        "input_ids": torch.ones(count, WIDTH, dtype=torch.int64),
        "attention_mask": torch.ones(count, WIDTH, dtype=torch.int64),
        "completion_mask": drawn.mask[:count],
        "label": labels,
        "ref_logps": drawn.reference[:count],
        "ref_KL_logps": drawn.reference[count:],
    }
    theirs = KTOTrainer._compute_loss(trainer, lambda **_: own, inputs, False)
    loss = METHODS["kto"].loss(beta=0.3, desirable_weight=wanted, undesirable_weight=0.7)
    roles = tuple(r for label in labels for r in (BEST if label else OTHER, MISMATCHED))
    order = [(n, count + n) for n in range(count)]
    drawn.compare(drawn.ours([(1.0, loss)], order, roles, count, cuts), theirs)


@pytest.mark.parametrize("cuts", [(), (1, PAIRS, PAIRS + 2)], ids=str)
def test_bco_of_pairs_where_its_shift_is_zero(cuts):
    drawn = Drawn(0)
    # rewards of both kinds around 0, so that delta is 0 as in TRL's loss over pairs
    ratios = drawn.sums().detach() - drawn.reference
    drawn.reference = drawn.reference + (ratios[:PAIRS].mean() + ratios[PAIRS:].mean()) / 2
    theirs = dpo_trainer(drawn, ["bco_pair"], [1.0], beta=0.3)
    order = [(n,) for n in range(2 * PAIRS)]
    roles = (BEST,) * PAIRS + (OTHER,) * PAIRS
    losses = [(2.0, METHODS["bco"].loss(beta=0.3))]
    drawn.compare(drawn.ours(losses, order, roles, 2 * PAIRS, cuts), theirs)


def reference_free(trainer_class, values, drawn, **more):
    """TRL's whole loss, from log-probabilities of answers."""
    zeros = torch.zeros(PAIRS, 1)
    found = (values[:PAIRS], values[PAIRS:], zeros, zeros, drawn.nll())
    trainer = bare(concatenated_forward=lambda *_: found, **more)
    for name in ("cpo_loss", "odds_ratio_loss"):
        if hasattr(trainer_class, name):
            setattr(trainer, name, getattr(trainer_class, name).__get__(trainer))
    return trainer_class.get_batch_loss_metrics(trainer, None, {})[0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cpo_and_simpo_of_cpo_trainer(smoothing):
    from trl.experimental.cpo import CPOTrainer

    drawn = Drawn(3)
    common = {"label_smoothing": smoothing, "alpha": 0.0, "simpo_gamma": 0.6}
    theirs = reference_free(
        *(CPOTrainer, drawn.sums(), drawn), loss_type="sigmoid", beta=0.2, cpo_alpha=0.7, **common
    )
    given = {"beta": 0.2, "sft_weight": 0.7, "label_smoothing": smoothing}
    drawn.compare(drawn.pairs(("cpo", 1.0, given)), theirs)
    theirs = reference_free(
        *(CPOTrainer, drawn.means(), drawn), loss_type="simpo", beta=2.0, cpo_alpha=0.0, **common
    )
    given = {"beta": 2.0, "gamma": 0.6, "label_smoothing": smoothing}
    drawn.compare(drawn.pairs(("simpo", 1.0, given)), theirs)


def test_orpo_trainer():
    """But for its likelihood term, which TRL takes over the prompt as well."""
    from trl.experimental.orpo import ORPOTrainer

    drawn = Drawn(4)
    drawn.logp = drawn.logp.detach().float().requires_grad_()  # TRL computes odds in float32
    theirs = reference_free(ORPOTrainer, drawn.means(), drawn, beta=0.3)
    drawn.compare(drawn.pairs(("orpo", 1.0, {"beta": 0.3})), theirs)


@pytest.mark.parametrize("margin", [False, True])
@pytest.mark.parametrize("centre", [None, 0.3])
def test_reward_trainer(margin, centre):
    from trl import RewardTrainer

    draw = torch.Generator().manual_seed(5)
    scores = torch.randn(2 * PAIRS, generator=draw, requires_grad=True)
    margins = torch.rand(PAIRS, generator=draw)
    trainer = bare(args=SimpleNamespace(center_rewards_coefficient=centre))
    inputs = {"attention_mask": torch.ones(2 * PAIRS, 1)} | ({"margin": margins} if margin else {})
    model = lambda **_: SimpleNamespace(logits=scores[:, None])  # noqa: E731
    trainer.accelerator.gather = lambda x: x
    theirs = RewardTrainer.compute_loss(trainer, model, inputs)

    rows = [
        RewardRow(
            RenderedAnswers((1,), ((2,), (3,)), weights=((1.0,), (1.0,))),
            (1.0, 0.0),
            (float(margins[n]) if margin else 0.0, 0.0),
            ("reward",),
            str(n),
        )
        for n in range(PAIRS)
    ]
    objective = RewardObjective(
        score_table(rows, ("reward",), 1, 0), BradleyTerry(center_rewards_coefficient=centre or 0.0)
    )
    flat = replace(token_rows([row.rendered for row in rows]), scored=True)
    batch = ragged_batch(flat.segments(range(PAIRS)))
    ours = scores.reshape(2, PAIRS).t().reshape(-1, 1)  # chosen and rejected of a pair together
    out, weights = objective(batch, Reduced(score_NH=ours)), objective.weights(batch)
    loss = sum(total / weights[name] for name, total in out.components.items())
    assert float(loss.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
    (mine,), (wanted,) = (
        torch.autograd.grad(value, scores, retain_graph=True) for value in (loss, theirs)
    )
    torch.testing.assert_close(mine, wanted)
