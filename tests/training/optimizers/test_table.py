"""All optimizers of the table: loss, state, going on, adapters, settings, documentation.

pytest tests/training/optimizers/test_table.py; run as a script it prints the rows of the document.
"""

from __future__ import annotations

import gc
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.examples import examples
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.errors import TrainingError
from regimen.models.forward import prepare
from regimen.objectives.supervised import Supervised
from regimen.settings.optimizers import FUSED, TAKES, TURNS, OptimizerName
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.checkpoints import load_checkpoint, save_checkpoint
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions
from regimen.training.profiling.memory import optimizer_states
from regimen.training.schedules import Schedule

ON_CPU = [name for name, kind in OPTIMIZERS.items() if not kind.cuda_only]
STEPPED = [
    pytest.param(name, marks=pytest.mark.slow) if OPTIMIZERS[name].library == "torchao" else name
    for name in ON_CPU
]
"""torchao's step is slow where it is not compiled."""
TOKENIZER = train_tokenizer(["some text to learn from"] * 5, 270)
ROWS = token_rows([Rendered((1, i, 5, 6 + i, 9), (0.0, 1.0, 1.0, 1.0, 1.0)) for i in range(12)])
SMALL: dict[str, dict[str, Any]] = {
    "galore": {"rank": 4, "update_gap": 3, "scale": 1.0},
    "apollo": {"rank": 4, "update_gap": 3},
    "apollo_mini": {"update_gap": 3},
    "badam": {"block_steps": 2},
}
"""Hyper-parameters for a small model and few steps."""

RATES = {"adafactor": 0.1, "adalomo": 0.1, "lomo": 0.3, "sgd": 0.1, "muon": 3e-3, "lion": 3e-3}
OPTIONS = LoopOptions(
    learning_rate=1e-2,
    num_train_epochs=None,
    max_steps=8,
    tokens_per_batch=30,
    schedule=Schedule("constant", 0.0),
)


def needs(name: str) -> None:
    """Skip where its library is not installed."""
    library = OPTIMIZERS[name].library
    if library is not None:
        pytest.importorskip(library)


def options_for(name: str, **more: Any) -> LoopOptions:
    return replace(OPTIONS, learning_rate=RATES.get(name, 1e-2), **more)


def network(seed: int = 0, *, width: int = 16, layers: int = 3) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    return LlamaForCausalLM(config)


def made(name: str, *, adapter: bool, seed: int = 0, width: int = 16) -> tuple[Any, Any]:
    """A model and the optimizer over what is trained of it."""
    layers = 3 if width < 64 else 1
    model: Any = network(seed, width=width, layers=layers)
    if adapter:
        model = add_adapter(network(0, width=width, layers=layers), Lora(r=8), seed=seed)
    return model, OPTIMIZERS[name](parameter_groups(model, 0.01), **SMALL.get(name, {}))


def trained_tensors(model: Any, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p.detach() for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.matrix
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", STEPPED)
def test_it_lowers_the_loss_and_goes_on_to_the_bit(
    name: str, adapter: bool, tmp_path: Path
) -> None:
    needs(name)
    width = 64 if "bit" in name else 16  # smaller tensors keep their state in fp32
    straight, steps = made(name, adapter=adapter, width=width)
    losses: list[float] = []
    hooks = Hooks(
        save=lambda s: save_checkpoint(tmp_path, straight, TOKENIZER, steps, s),
        progress=lambda _, told: losses.append(told["loss"]),
    )
    options = options_for(name, max_steps=14, save_every=5)
    train(prepare(straight), ROWS, Supervised(), steps, options, hooks)
    assert sum(losses[-4:]) < 0.98 * sum(losses[:4])

    again, fresh = made(name, adapter=adapter, seed=5, width=width)
    state = load_checkpoint(tmp_path / "checkpoint-5", again, fresh)
    train(prepare(again), ROWS, Supervised(), fresh, options, state=state)
    one, other = trained_tensors(straight, steps), trained_tensors(again, fresh)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.matrix
@pytest.mark.parametrize("name", ON_CPU)
def test_fp32_state_of_bf16_weights_comes_back(name: str) -> None:
    needs(name)

    def run(model: Any, optimizer: Any, steps: range) -> None:
        for step in steps:
            draw = torch.Generator().manual_seed(step)
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=draw)
                parameter.grad = noise.to(parameter) if parameter.requires_grad else None
            for group in optimizer.param_groups:
                group["lr"] = RATES.get(name, 1e-2)
            optimizer.step()

    def start() -> tuple[Any, Any]:
        model = network(width=64, layers=1).to(torch.bfloat16)
        return model, OPTIMIZERS[name](parameter_groups(model, 0.1), **SMALL.get(name, {}))

    model, optimizer = start()
    run(model, optimizer, range(3))
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    file = BytesIO()
    torch.save(optimizer.state_dict(), file)
    saved = torch.load(BytesIO(file.getvalue()), weights_only=True)
    other, fresh = start()
    other.load_state_dict(kept)
    fresh.load_state_dict(saved)
    # torch's own 8- and 4-bit kin keep what they had, too
    run(model, optimizer, range(3, 6))
    run(other, fresh, range(3, 6))
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def measured(name: str, rows: int, columns: int, **chosen: Any) -> float:
    """Bytes of state for each parameter of a matrix after two steps."""
    matrix = torch.nn.Parameter(
        torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    )
    group = {"params": [matrix], "weight_decay": 0.0, "weight_decay_applies": True}
    optimizer = OPTIMIZERS[name]([group], **chosen)
    for seed in range(2):
        matrix.grad = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
        optimizer.step()
    return optimizer_states(optimizer) / matrix.numel()


@pytest.mark.matrix
@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("shape", [(512, 512), (256, 768), (768, 256)])
def test_state_is_as_large_as_the_table_says(name: str, shape: tuple[int, int]) -> None:
    needs(name)
    chosen = {"rank": 32} if "rank" in OPTIMIZERS[name].defaults else {}
    said = OPTIMIZERS[name].bytes_of_state(*shape, **chosen)
    assert measured(name, *shape, **chosen) == pytest.approx(said, rel=0.05, abs=2e-3)


@given(st.sampled_from(["galore", "apollo"]), *(st.integers(2, 40) for _ in range(3)))
@examples(40)
def test_a_rank_as_long_as_the_shorter_side_projects_nothing(
    name: str, rows: int, columns: int, rank: int
) -> None:
    said = OPTIMIZERS[name].bytes_of_state(rows, columns, rank=rank)
    found = measured(name, rows, columns, rank=rank, update_gap=1)
    counts = 8 / (rows * columns)  # one number of APOLLO's limit
    assert said <= found <= said + counts + 1e-9
    assert (said == 8.0) == (rank >= min(rows, columns)) or rank * 3 > min(rows, columns)


@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if kind.cuda_only])
def test_paged_state_is_refused_on_a_cpu(name: str) -> None:
    with pytest.raises(TrainingError, match="paged-needs-cuda"):
        OPTIMIZERS[name](parameter_groups(network(), 0.0))


def test_a_value_that_an_optimizer_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="has no rank; it has betas, eps"):
        OPTIMIZERS["adamw"](parameter_groups(network(), 0.0), rank=3)


def test_the_settings_know_the_same_optimizers() -> None:
    assert tuple(OPTIMIZERS) == get_args(OptimizerName)
    for name, kind in OPTIMIZERS.items():
        assert set(TAKES[name]) == set(kind.defaults), name
        assert (name in FUSED, name in TURNS) == (kind.fused, kind.turns)
        assert kind.about
        assert kind.source


def test_parameters_are_told_by_layer() -> None:
    model = network()
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, 0.0)
    for group in groups:
        for number, parameter in zip(group["blocks"], group["params"], strict=True):
            found = re.search(r"layers\.(\d+)\.", names[id(parameter)])
            assert number == (3 if found is None else int(found[1]))
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_no_model_is_kept_alive() -> None:
    import weakref

    model, optimizer = made("lomo", adapter=False)
    train(prepare(model), ROWS, Supervised(), optimizer, options_for("lomo", max_steps=2))
    left = weakref.ref(model.model.layers[0].mlp.up_proj.weight)
    del model, optimizer
    gc.collect()
    assert left() is None


SIDE = 1024


def rows_of_the_document() -> list[str]:
    """The table of docs/optimizers.md, measured on a square matrix of ``SIDE``."""
    lines = []
    for name, kind in OPTIMIZERS.items():
        said = kind.bytes_of_state(SIDE, SIDE)
        found = "not on CPU" if kind.cuda_only else f"{measured(name, SIDE, SIDE):.3f}"
        values = ", ".join(f"{key} {number(value)}" for key, value in kind.defaults.items())
        cells = [f"`{name}`", kind.about, f"{said:.3f}", found, values or "-", kind.limits or "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def number(value: Any) -> str:
    return " ".join(f"{v:.4g}" for v in value) if isinstance(value, tuple) else f"{value:.4g}"


def test_the_document_has_the_measured_table() -> None:
    for library in {kind.library for kind in OPTIMIZERS.values()} - {None}:
        pytest.importorskip(str(library))
    text = (Path(__file__).parents[3] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    found = [line for line in text.splitlines() if line.startswith("| `")]
    assert found == rows_of_the_document()


if __name__ == "__main__":
    print("\n".join(rows_of_the_document()))
