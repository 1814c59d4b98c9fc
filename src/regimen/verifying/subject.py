"""What is verified: the model of one stage as training opens it, and a few rows of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from torch import Tensor

from regimen.models.forward import LanguageModel, prepare
from regimen.models.head import full_logits
from regimen.tokens.rendering import Rendered, RenderedAnswers, RenderedPair
from regimen.tokens.sharing import RenderedShared
from regimen.training.options import LoopOptions
from regimen.verifying.losses import Twin
from regimen.verifying.rows import Row, one_batch


class Opened(Protocol):
    """A model as transformers and PEFT make it, with its tokenizer."""

    @property
    def network(self) -> Any:
        """The Hugging Face model, with its adapter if it has one."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One stage's model and rows.

    Args:
        section: the stage's name.
        about: the model in words.
        open: makes the model, the same one at each call, in fp32, where training computes.
        rows: rows of the stage's data.
        shared: rows that share a beginning.
        twin: what is learnt.
        options: of the loop, without bf16.
        optimizer: makes the stage's optimizer for a model.
        merge: loads a saved adapter merged into its base, as the next stage does; a text says why
            that does not apply.
        quantisation: how the frozen base is quantised, for transformers; None where it is not.
        compiled: whether training compiles the layers.
        save_dtype: type of the weights on disk; the type in memory if None.
        reference_A: summed log-probabilities (nats) of the rows' answers under the start model, by
            transformers alone; None where nothing is compared with a reference.
    """

    section: str
    about: str
    open: Callable[[], Opened]
    rows: Sequence[Rendered] | Sequence[RenderedPair] | Sequence[RenderedAnswers]
    shared: Sequence[RenderedShared] | Sequence[RenderedPair] | Sequence[RenderedAnswers]
    twin: Twin
    options: LoopOptions
    optimizer: Callable[[Any], torch.optim.Optimizer]
    merge: Callable[[Path], Any] | str
    quantisation: Any = None
    compiled: bool = False
    save_dtype: str | None = None
    reference_A: Tensor | None = None

    def plain(self) -> Any:
        """The model in eval mode, as transformers and PEFT compute it."""
        network = self.open().network
        wake_adapter(network)
        return network.eval()

    def ready(self) -> LanguageModel:
        """The same model as training computes it, without its noise."""
        network = self.open().network
        wake_adapter(network)
        without_noise(network)
        return prepare(network, compiled=self.compiled)

    @property
    def quiet(self) -> LoopOptions:
        """The options without noise on embeddings."""
        return replace(self.options, neftune_noise_alpha=0.0)


@torch.no_grad()
def wake_adapter(network: Any, seed: int = 0) -> None:
    """Give a fresh adapter something to do: small random numbers where its matrices are zero, or on
    all it trains where none is.

    As it starts it changes nothing, so nothing that is done to it could be seen.
    """
    if not hasattr(network, "peft_config"):
        return
    draw = torch.Generator().manual_seed(seed)
    learnt = [p for _, p in sorted(network.named_parameters()) if p.requires_grad]
    for parameter in [p for p in learnt if not p.any()] or learnt:
        parameter.add_(0.02 * torch.randn(parameter.shape, generator=draw).to(parameter))


def without_noise(network: Any) -> None:
    """Training mode, in which activations are checkpointed, but with every dropout at 0."""
    network.train()
    holders = [*network.modules(), network.config, network.config.get_text_config()]
    for module in holders:
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            # some models call dropout as a function, with a number of the module or the config
            if isinstance(value, float) and ("drop" in name or "jitter" in name):
                setattr(module, name, 0.0)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what a contract writes, which goes with the block.

    It lies where ``TMPDIR`` says and takes about the room of the model and its optimizer.
    """
    # where a loaded file is still mapped, Windows removes it later
    with TemporaryDirectory(prefix="regimen-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@torch.no_grad()
def trained_logits(model: LanguageModel, rows: Sequence[Row], kept_K: Tensor) -> Tensor:
    """Logits at the kept places, by training's forward of all rows in one batch: (K, V), handed to
    the CPU.
    """
    batch = one_batch(rows).to(model.device)
    hidden_TD = model.hidden(batch, batch.source_row_N)
    rows_K = batch.source_row_N[kept_K.to(model.device)]
    return full_logits(hidden_TD[rows_K], model.head(), torch.float32).cpu()
