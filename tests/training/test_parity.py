"""Losses and gradients against transformers' own loss; steps against TRL (marker ``parity``).

pytest tests/training/test_parity.py -m "parity or not parity"
"""

import copy
import warnings

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from helpers.small_models import MODELS, PADDED, make
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.alignment.reference import reference_logps
from regimen.models.forward import prepare
from regimen.objectives.answers import AnswerObjective, AnswerTable
from regimen.objectives.preference import Dpo
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import Rendered, RenderedPair
from regimen.tokens.store import token_rows
from regimen.training.data import Data
from regimen.training.gradients import step_gradients
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions
from regimen.training.schedules import Schedule

STEPS, ROWS_PER_STEP = 20, 4
VOCABULARY, USED = 61, 12
EOS, PAD = 0, 1
RATE = 3e-3


def rows(count):
    """Ids and how many of the first are the prompt; from 3 to 30 tokens."""
    draw = torch.Generator().manual_seed(5)
    out = []
    for _ in range(count):
        size = int(torch.randint(3, 31, (1,), generator=draw))
        prompt = int(torch.randint(1, size, (1,), generator=draw))
        out.append((torch.randint(2, USED, (size,), generator=draw).tolist(), prompt))
    return out


def pairs(count):
    """Prompt and two answers that end with the end of text."""
    draw = torch.Generator().manual_seed(6)
    out = []
    for _ in range(count):
        sizes = torch.randint(1, 12, (3,), generator=draw).tolist()
        ids = [torch.randint(2, USED, (n,), generator=draw).tolist() for n in sizes]
        out.append((ids[0], [*ids[1], EOS], [*ids[2], EOS]))
    return out


def rendered(data):
    return token_rows(
        [Rendered(tuple(ids), (*[0.0] * n, *[1.0] * (len(ids) - n))) for ids, n in data]
    )


def padded(data):
    """What transformers takes: ids, mask, labels of -100 on prompts and padding."""
    width = max(len(ids) for ids, _ in data)
    pad = lambda rows, fill: torch.tensor([r + [fill] * (width - len(r)) for r in rows])  # noqa: E731
    return {
        "input_ids": pad([ids for ids, _ in data], PAD),
        "attention_mask": pad([[1] * len(ids) for ids, _ in data], 0),
        "labels": pad([[-100] * n + ids[n:] for ids, n in data], -100),
    }


NOTHING = 1e-6
"""A gradient below this share of the largest of all is rounding: a bias of keys moves no weight."""


@pytest.mark.matrix
@pytest.mark.parametrize("name", [*MODELS, *PADDED])
def test_loss_and_every_gradient_equal_those_of_transformers(name):
    fields = {**MODELS, **PADDED}[name]
    if name == "granite":  # scores that are not divided at all saturate its attention
        fields = {**fields, "attention_multiplier": 0.35}
    model = make(name, fields)
    data = rows(6)
    expected = model(**padded(data), use_cache=False).loss
    expected.backward()
    want = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    batch = ragged_batch(rendered(data).segments(range(6)))
    losses, got = step_gradients(
        prepare(model), Supervised(), [batch], LoopOptions(learning_rate=1.0)
    )
    assert losses["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert len(want) > 8
    largest = max(float(gradient.abs().max()) for gradient in want.values())
    for key, gradient in want.items():
        size = float(gradient.abs().max())
        if size < NOTHING * largest:
            assert key.endswith("k_proj.bias"), key
            assert float(got[key].abs().max()) < NOTHING * largest
        else:
            assert float((got[key] - gradient).norm()) < 1e-5 * float(gradient.norm()), key


def words():
    """A tokenizer that reads "w07 w12" as 7 and 12; no special token is the beginning of a word."""
    tokenizer = Tokenizer(
        models.WordLevel({f"w{i:02}": i for i in range(VOCABULARY)}, unk_token=f"w{PAD:02}")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=f"w{EOS:02}", pad_token=f"w{PAD:02}"
    )


def start(lora):
    """The model that both sides start from; its adapter does something already."""
    network = make("llama", MODELS["llama"])
    if lora:
        network = add_adapter(network, Lora(r=4, alpha=8), seed=3)
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return network


def ours(network, data, objective, schedule, decay):
    """Our losses, gradient norms and rates, step by step; a micro-batch holds one row."""
    options = LoopOptions(
        learning_rate=RATE,
        schedule=schedule,
        tokens_per_batch=1,
        accumulation=ROWS_PER_STEP,
        max_grad_norm=1.0,
    )
    told = []
    optimizer = OPTIMIZERS["adamw"](parameter_groups(network, decay))
    hooks = Hooks(progress=lambda _, losses: told.append(dict(losses)))
    train(prepare(network), data, objective, optimizer, options, hooks)
    return told


def order(data):
    """The rows in the order in which the loop takes them."""
    options = LoopOptions(learning_rate=RATE, tokens_per_batch=1)
    return [batch[0] for batch in Data(data, options).plan(0)]


def theirs(trainer, config, network, dataset, schedule, decay, directory, **more):
    """TRL's log, step by step; a micro-batch holds two rows, padded."""
    from datasets import Dataset

    settings = {
        "output_dir": str(directory),
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": ROWS_PER_STEP // 2,
        "train_sampling_strategy": "sequential",
        "num_train_epochs": 1,
        "max_length": None,
        "learning_rate": RATE,
        "lr_scheduler_type": schedule.kind,
        "warmup_steps": schedule.warmup,
        "optim": "adamw_torch",
        "adam_beta2": 0.95,
        "weight_decay": decay,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    made = trainer(
        model=network,
        args=config(**settings),
        train_dataset=Dataset.from_list(dataset),
        processing_class=words(),
        **more,
    )
    made.train()
    return [line for line in made.state.log_history if "loss" in line]


def compare(mine, other):
    """Measured in fp32: losses apart by 4e-7 (pairs 2e-6), norms by 5e-6, relative."""
    assert len(mine) == len(other) == STEPS
    for name, tolerance in (("loss", 1e-5), ("grad_norm", 1e-4), ("learning_rate", 1e-7)):
        for step, (a, b) in enumerate(zip(mine, other, strict=True)):
            assert a[name] == pytest.approx(b[name], rel=tolerance), (name, step)
    assert max(line["grad_norm"] for line in mine) > 1  # some step was clipped
    assert min(line["loss"] for line in mine[-5:]) < 0.95 * mine[0]["loss"]


@pytest.fixture
def quiet():
    """Warnings of the peer's own libraries are no failures here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


SCHEDULES = [Schedule("constant", 0.0), Schedule("cosine", 0.1)]


@pytest.mark.parity
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda it: it.kind)
@pytest.mark.parametrize("lora", [False, True])
def test_twenty_steps_equal_those_of_sft_trainer(lora, schedule, tmp_path):
    from trl import SFTConfig, SFTTrainer

    network = start(lora)
    other = copy.deepcopy(network)
    raw = rows(STEPS * ROWS_PER_STEP)
    data = rendered(raw)
    # embeddings decay there and do not here, so whole models are compared without decay
    decay = 0.1 if lora else 0.0
    dataset = [
        {"input_ids": raw[row][0], "labels": [-100] * raw[row][1] + raw[row][0][raw[row][1] :]}
        for row in order(data)
    ]
    mine = ours(network, data, Supervised(), schedule, decay)
    compare(mine, theirs(SFTTrainer, SFTConfig, other, dataset, schedule, decay, tmp_path))


@pytest.mark.parity
@pytest.mark.usefixtures("quiet")
def test_twenty_steps_equal_those_of_dpo_trainer(tmp_path):
    from trl import DPOConfig, DPOTrainer

    network, schedule = start(lora=False), SCHEDULES[1]
    other, reference = copy.deepcopy(network), copy.deepcopy(network)
    raw = pairs(STEPS * ROWS_PER_STEP)
    data = token_rows([RenderedPair(*map(tuple, pair)) for pair in raw])
    spell = lambda ids: "".join(f" w{i:02}" for i in ids)  # noqa: E731
    dataset = [
        dict(zip(("prompt", "chosen", "rejected"), map(spell, raw[row]), strict=True))
        for row in order(data)
    ]
    logps = reference_logps(prepare(network), data, tokens_per_batch=64, bf16=False)
    table = AnswerTable.of_pairs(logps.view(-1, 2))
    objective = AnswerObjective(table, [(1.0, Dpo(beta=0.1))])
    mine = ours(network, data, objective, schedule, 0.0)
    compare(
        mine,
        theirs(DPOTrainer, DPOConfig, other, dataset, schedule, 0.0, tmp_path, ref_model=reference),
    )
